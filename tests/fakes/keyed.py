"""A kind of secret manager that can't do without its credentials: what wraps its data keys is made of their values.

    keyed = Keyed()
    Registry(keyed.kinds(), surroundings)          # as the kind `AwsKms`, since that is what may name secrets anyhow
    keyed.made, keyed.asked                        # every manager in its order; whom a key was asked of

With other credentials than those that a value was stored with, it doesn't come out again.
"""

from __future__ import annotations

import asyncio
import secrets as random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, SecretManager, Surroundings
from delegate.secret_managers.registry import BUILT_IN, Loadable
from shared.aad import Aad
from shared.canonical import lp, sha256
from shared.crypto import aead
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.labels import WRAP


class Keyed:
    """The entry point. `failures` are raised by the connector of that identifier instead of an answer."""

    def __init__(self) -> None:
        self.made: list[KeyedManager] = []
        self.asked: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = defaultdict(_opened)
        """A connector's calls wait until its gate is open."""

    def kinds(self) -> Mapping[str, Loadable]:
        """Installed kinds: the built-in one, and this."""
        return {"Local": BUILT_IN["Local"], "AwsKms": self}

    def load(self) -> Any:
        """The kind."""

        def kind(
            connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
        ) -> SecretManager:
            self.made.append(KeyedManager(self, connector, surroundings, secrets))
            return self.made[-1]

        return kind

    def of(self, identifier: str) -> list[KeyedManager]:
        """The managers of that connector, oldest first."""
        return [one for one in self.made if one.identifier == identifier]


class KeyedManager(Enveloped):
    """`secrets` are those that it was made with; `closed` counts."""

    def __init__(
        self,
        keyed: Keyed,
        connector: ConnectorDocument,
        surroundings: Surroundings,
        secrets: Mapping[str, Plaintext],
    ) -> None:
        self.identifier = connector.identifier
        self.secrets = secrets
        self.closed = 0
        service = _Service(keyed, connector.identifier, secrets)
        super().__init__(service, surroundings.zone, surroundings.randomness, surroundings.data_keys)

    async def close(self) -> None:
        self.closed += 1
        await super().close()


class _Service:
    concurrency = 4

    def __init__(self, keyed: Keyed, identifier: str, secrets: Mapping[str, Plaintext]) -> None:
        self._keyed = keyed
        self._name = identifier
        self._key = sha256(lp(*(part for name in sorted(secrets) for part in (name.encode(), secrets[name].reveal()))))

    def accepts(self, key_name: str) -> bool:
        return key_name == self._name

    async def check(self) -> None:
        await self._answer()

    async def generate(self, place: Aad) -> DataKey:
        key = Plaintext(random.token_bytes(32))
        wrapped = aead.encrypt(self._key, key, place.encode(WRAP), random.token_bytes(aead.SALT_BYTES))
        return DataKey(key, self._name, wrapped)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        self._keyed.asked.append(self._name)
        await self._answer()
        return aead.decrypt(self._key, wrapped, place.encode(WRAP))

    async def close(self) -> None:
        """Nothing is open."""

    async def _answer(self) -> None:
        await self._keyed.gates[self._name].wait()
        if self._name in self._keyed.failures:
            raise self._keyed.failures[self._name]


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
