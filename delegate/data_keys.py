"""Data keys that were unwrapped a short while ago, so that a value that is used often isn't asked of its provider each time.

Promises: a key is kept for so long, so many uses and so many bytes, whichever is first; those who want the same key at the
same moment share one call, which ends when the last of them has left; a failure isn't kept. What one owner (a secret manager
made of one revision of a connector and its credentials) unwraps is never served to another, and goes with it. Must not
decide who may have a key: the warrant, the policy and the record's HMAC were checked before anybody comes here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

from delegate.clock import Clock
from shared.crypto.plaintext import Plaintext

SECONDS = 300.0
USES = 10_000
BYTES = 64 * 1024 * 1024
"""Of values that one key opens before it is asked for anew."""

MOST_KEYS = 10_000

Place = tuple[int, bytes]
"""An owner, and a digest of what was wrapped and where it belongs."""


@dataclass(slots=True)
class _Kept:
    key: Plaintext
    until: float
    uses: int = 0
    bytes: int = 0


@dataclass(slots=True, eq=False)
class _Call:
    """An unwrapping under way and how many wait for it."""

    task: asyncio.Task[Plaintext]
    waiting: int = 0


class DataKeys:
    """One delegate's. `seconds` 0 keeps nothing; calls in flight are shared all the same.

    `hits` and `misses` count who found a key kept and who had to wait for a call.
    """

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
        self._kept: OrderedDict[Place, _Kept] = OrderedDict()
        self._calls: dict[Place, _Call] = {}
        self._owners = count(1)
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def owner(self) -> int:
        """A new one, whom nothing is kept for."""
        return next(self._owners)

    async def key(self, owner: int, name: bytes, size: int, unwrap: Callable[[], Awaitable[Plaintext]]) -> Plaintext:
        """The key of that name, to open `size` bytes with. Raises what `unwrap` raises."""
        place = (owner, name)
        kept = self._kept.get(place)
        if kept is not None and self._lasts(kept, size):
            self.hits += 1
            self._kept.move_to_end(place)
        else:
            self._kept.pop(place, None)
            self.misses += 1
            key = await self._shared(place, unwrap)
            kept = self._kept.get(place)
            if kept is None or kept.key is not key:
                return key
        kept.uses += 1
        kept.bytes += size
        return kept.key

    def forget(self, owner: int) -> None:
        """Drop what is kept for an owner."""
        for place in [one for one in self._kept if one[0] == owner]:
            del self._kept[place]

    def tidy(self) -> None:
        """Drop what nobody will be served with any more: a key in memory is one that can be stolen from there."""
        now = self._clock.monotonic()
        for place in [one for one, kept in self._kept.items() if kept.until <= now]:
            del self._kept[place]

    def _lasts(self, kept: _Kept, size: int) -> bool:
        return kept.until > self._clock.monotonic() and kept.uses < self._uses and kept.bytes + size <= self._size

    async def _shared(self, place: Place, unwrap: Callable[[], Awaitable[Plaintext]]) -> Plaintext:
        call = self._calls.get(place)
        if call is None:
            call = self._calls[place] = _Call(asyncio.create_task(self._unwrapped(place, unwrap)))
            call.task.add_done_callback(_looked_at)
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)  # whoever asked first may leave: the others still wait
        finally:
            call.waiting -= 1
            if not call.waiting and not call.task.done():
                del self._calls[place]
                call.task.cancel()
                # The connector may be closed once all have left, and nothing may be called after that.
                await asyncio.wait({call.task})

    async def _unwrapped(self, place: Place, unwrap: Callable[[], Awaitable[Plaintext]]) -> Plaintext:
        began = self._clock.monotonic()
        wanted = False
        try:
            key = await unwrap()
        finally:
            # Who gave it up has taken it out, and perhaps another is there by now, or the owner has gone.
            call = self._calls.get(place)
            if call is not None and call.task is asyncio.current_task():
                del self._calls[place]
                wanted = True
        if wanted and self._seconds > 0:
            self._kept[place] = _Kept(key, began + self._seconds)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return key


def _looked_at(task: asyncio.Task[Plaintext]) -> None:
    # Everybody may have left; that it failed is then nobody's concern, nor a line in the log.
    if not task.cancelled():
        task.exception()
