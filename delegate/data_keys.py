"""Data keys that were unwrapped a short while ago, so that a value that is used often isn't asked of its provider each time.

Promises: a key is kept for so long, so many uses and so many bytes, whichever is first; those who want the same key at the
same moment share one call; a failure isn't kept. What a revised connector, or one with other credentials, unwraps is never
served from what was kept for it before (`owner`). Must not decide who may have a key: the warrant, the policy and the
record's HMAC were checked before anybody comes here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from delegate.clock import Clock
from shared.crypto.plaintext import Plaintext

SECONDS = 300.0
USES = 10_000
BYTES = 64 * 1024 * 1024
"""Of values that one key opens before it is asked for anew."""

MOST_KEYS = 10_000


@dataclass(slots=True)
class _Kept:
    key: Plaintext
    until: float
    uses: int
    bytes: int


class DataKeys:
    """One delegate's. `seconds` 0 keeps nothing; calls in flight are shared all the same."""

    def __init__(
        self,
        clock: Clock,
        seconds: float = SECONDS,
        uses: int = USES,
        size: int = BYTES,
        most: int = MOST_KEYS,
    ) -> None:
        self._clock = clock
        self._seconds, self._uses, self._size, self._most = seconds, uses, size, most
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._calls: dict[bytes, asyncio.Task[Plaintext]] = {}
        self.hits = 0
        self.misses = 0

    async def key(self, name: bytes, size: int, unwrap: Callable[[], Awaitable[Plaintext]]) -> Plaintext:
        """The key of that name, to open `size` bytes with. Raises what `unwrap` raises."""
        kept = self._kept.get(name)
        if kept is not None:
            if kept.until > self._clock.monotonic() and kept.uses < self._uses and kept.bytes + size <= self._size:
                kept.uses += 1
                kept.bytes += size
                self._kept.move_to_end(name)
                self.hits += 1
                return kept.key
            del self._kept[name]
        self.misses += 1
        call = self._calls.get(name)
        if call is None:
            call = asyncio.ensure_future(self._call(name, size, unwrap))
            self._calls[name] = call
            call.add_done_callback(lambda done: self._over(name, done))
        # Whoever asked first may leave; the others still wait.
        return await asyncio.shield(call)

    async def _call(self, name: bytes, size: int, unwrap: Callable[[], Awaitable[Plaintext]]) -> Plaintext:
        began = self._clock.monotonic()
        key = await unwrap()
        if self._seconds > 0 and size <= self._size:
            self._kept[name] = _Kept(key, began + self._seconds, 1, size)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return key

    def _over(self, name: bytes, done: asyncio.Task[Plaintext]) -> None:
        del self._calls[name]
        if not done.cancelled():
            done.exception()  # each who waits hears of it; nobody may be left

    def forget(self) -> None:
        """Drops all that is kept."""
        self._kept.clear()
