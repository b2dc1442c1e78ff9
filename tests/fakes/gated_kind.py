"""A kind of secret manager whose calls wait while the file `shut` exists in its folder; what a delegate process imports.

Values are kept as `Local` keeps them. While a call waits, the file `PID-OPERATION` says so. See `tests.fakes.gated`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings
from delegate.secret_managers.local import KeyringKeys
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.values import Stored, Wrapped

POLL_SECONDS = 0.01


class _Gated(Enveloped):
    def __init__(self, folder: Path, surroundings: Surroundings) -> None:
        keys = KeyringKeys(surroundings.zone, surroundings.randomness)
        super().__init__(keys, surroundings.zone, surroundings.randomness)
        self._folder = folder

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Wrapped:
        await self._passed("store")
        return await super().store(secret, plaintext)

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        await self._passed("fetch")
        return await super().fetch(secret, stored)

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        await self._passed("delete")
        (self._folder / f"deleted.{secret.secret.identifier}.{os.getpid()}").touch()

    async def _passed(self, op: str) -> None:
        standing = self._folder / f"{os.getpid()}-{op}"
        standing.touch()
        while (self._folder / "shut").exists():
            await asyncio.sleep(POLL_SECONDS)
        standing.unlink(missing_ok=True)


def gated(connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]) -> SecretManager:
    """The entry point."""
    return _Gated(Path(str(connector.spec["folder"])), surroundings)
