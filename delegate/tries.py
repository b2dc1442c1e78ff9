"""Asking a provider: each try has its time, and what may pass is tried again a little later, three times in all.

Promises: a try that takes too long is ended, so that its connection and place are free again; only what may pass
(`Unavailable`, `Overloaded`) is tried again; pauses are drawn by lot up to a bound that doubles, so that delegates that
failed together don't come back together. Must not know any provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import Overloaded, PrivySealError, Unavailable

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Tries:
    """How often and how long: `seconds` for one try, pauses of up to `pause_seconds`, doubled each time."""

    seconds: float
    randomness: Callable[[int], bytes]
    most: int = 3
    pause_seconds: float = 2.0

    async def of(self, call: Callable[[], Awaitable[R]], slow: Callable[[], PrivySealError]) -> R:
        """What `call` gives; raises what it raised the last time, or `slow()` for a try that took too long."""
        for number in range(1, self.most):
            try:
                return await self._one(call, slow)
            except (Unavailable, Overloaded):
                await asyncio.sleep(self.pause(number))
        return await self._one(call, slow)

    def pause(self, number: int) -> float:
        """Seconds to wait after the try of that number, from 1."""
        share = int.from_bytes(self.randomness(4), "big") / 2**32
        return self.pause_seconds * (1 << (number - 1)) * share

    async def _one(self, call: Callable[[], Awaitable[R]], slow: Callable[[], PrivySealError]) -> R:
        try:
            async with asyncio.timeout(self.seconds) as bound:
                return await call()
        except TimeoutError:
            if not bound.expired():
                raise
            raise slow() from None
