"""A kind of secret manager that says whether it was closed, and a clock that stands: for tests of what is kept how long.

Values are kept as `Local` keeps them. `Closings` is also its entry point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from delegate.clock import Clock
from delegate.secret_managers.interface import SecretManager, Surroundings
from delegate.secret_managers.local import Local
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument

PATIENCE_SECONDS = 45.0


class Closing(Local):
    """Says how often it was closed; `secrets` are those that it was made with. It closes when `may_close`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(connector, surroundings, secrets)
        self.secrets = secrets
        self.closed = 0
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def close(self) -> None:
        await self.may_close.wait()
        self.closed += 1


class Closings:
    """The entry point; `made` are all managers, in their order."""

    def __init__(self) -> None:
        self.made: list[Closing] = []

    def load(self) -> Any:
        """The kind."""

        def kind(
            connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
        ) -> SecretManager:
            self.made.append(Closing(connector, surroundings, secrets))
            return self.made[-1]

        return kind


async def times_closed(manager: SecretManager, least: int = 1) -> int:
    """How often it was closed, once that is at least so often. Raises TimeoutError."""
    assert isinstance(manager, Closing)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while manager.closed < least:
            await asyncio.sleep(0)
    return manager.closed


class StandingClock(Clock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at
