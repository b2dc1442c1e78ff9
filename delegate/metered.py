"""A secret manager whose calls are timed: how long each took and whether it failed, by its kind.

Promises: it gives and raises what the manager itself does. Must not look at what goes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from delegate.clock import Clock
from delegate.metrics import Call, DelegateMetrics
from delegate.secret_managers.interface import SecretManager, SecretVersion
from shared.crypto.plaintext import Plaintext
from shared.errors import PrivySealError
from shared.values import Stored


class Calls:
    """Times the calls of one delegate's secret managers."""

    def __init__(self, metrics: DelegateMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    def of(self, manager: SecretManager, kind: str) -> SecretManager:
        """The manager, its calls counted under `kind`."""
        return _Metered(manager, kind, self)

    @contextmanager
    def timed(self, kind: str, call: Call) -> Iterator[None]:
        """One call."""
        began, error = self._clock.monotonic(), ""
        try:
            yield
        except PrivySealError as why:
            # The class alone: there are a dozen of them, and codes without number.
            error = type(why).__name__.lower()
            raise
        except asyncio.CancelledError:
            error = "cancelled"
            raise
        except Exception:
            error = "internal"
            raise
        finally:
            self._metrics.called(kind, call, self._clock.monotonic() - began, error)


class _Metered:
    def __init__(self, manager: SecretManager, kind: str, calls: Calls) -> None:
        self._manager = manager
        self._kind = kind
        self._timed = calls.timed

    @property
    def concurrency(self) -> int:
        return self._manager.concurrency

    async def check(self) -> None:
        with self._timed(self._kind, "check"):
            await self._manager.check()

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Stored:
        with self._timed(self._kind, "store"):
            return await self._manager.store(secret, plaintext)

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        with self._timed(self._kind, "fetch"):
            return await self._manager.fetch(secret, stored)

    async def look_up(self, secret: SecretVersion) -> Plaintext:
        with self._timed(self._kind, "look_up"):
            return await self._manager.look_up(secret)

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        with self._timed(self._kind, "delete"):
            await self._manager.delete(secret, stored)

    async def close(self) -> None:
        await self._manager.close()
