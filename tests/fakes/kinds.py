"""A kind of secret manager that waits at a gate: for tests of what happens meanwhile.

Values are kept as `Local` keeps them; only the time it takes is different. `Gate` is also its entry point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings
from delegate.secret_managers.local import KeyringKeys
from delegate.secret_managers.registry import BUILT_IN, Loadable
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.values import Stored


class Gate:
    """Opens when a test says so. `waiting` calls stand before it; `most` is how many ever did at once."""

    def __init__(self, concurrency: int = 100) -> None:
        self.concurrency = concurrency
        self.opened = asyncio.Event()
        self.waiting = 0
        self.most = 0
        self.failure: Exception | None = None

    def load(self) -> object:
        """The kind, as an entry point gives it."""
        return self.kind

    def kind(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> SecretManager:
        """A manager before this gate."""
        return _Gated(self, surroundings)

    def kinds(self) -> Mapping[str, Loadable]:
        """Installed kinds: the built-in one, and this as `Gated`."""
        return {**BUILT_IN, "Gated": self}

    async def passed(self) -> None:
        """Wait at the gate."""
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.opened.wait()
        finally:
            self.waiting -= 1
        if self.failure is not None:
            raise self.failure


class _Gated(Enveloped):
    def __init__(self, gate: Gate, surroundings: Surroundings) -> None:
        super().__init__(
            KeyringKeys(surroundings.zone, surroundings.randomness), surroundings.zone, surroundings.randomness
        )
        self._gate = gate

    @property
    def concurrency(self) -> int:
        return self._gate.concurrency

    async def check(self) -> None:
        await self._gate.passed()

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        await self._gate.passed()
        return await super().fetch(secret, stored)

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        await self._gate.passed()
