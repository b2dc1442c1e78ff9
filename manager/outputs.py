"""What commands write, on its way from the delegate to whoever asked for it: chunks that nobody here can read.

Promises: a chunk is kept until its reader asks for those after it, and not long after the task's end; memory is bounded,
and a chunk for which there is no room is dropped (the reader notices: chunks are numbered and counted under encryption).
Where all of it is taken, who holds the most loses his own first, what has ended before what runs. Must not look into a chunk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from manager.clock import Clock
from shared.messages import Output

TASK_BYTES = 12 * 1024 * 1024
"""Of one task: the 8 MiB that a delegate lets a command write, and what its chunks take besides."""

ALL_BYTES = 64 * 1024 * 1024
PART_BYTES = 512
"""What a chunk takes besides its data: a delegate might send millions of empty ones."""

KEPT_SECONDS = 300.0
PAGE_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Buffer:
    principal: str
    chunks: OrderedDict[int, Output] = field(default_factory=OrderedDict)
    size: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Chunks in order of their index; `over` says that there will be no more than these."""

    chunks: tuple[Output, ...]
    over: bool


class Outputs:
    """Buffers of the tasks that run and of those that ended a short while ago, by account and task."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buffers: dict[tuple[str, str], _Buffer] = {}
        self._bytes = 0

    def begin(self, account: str, task: str, principal: str) -> None:
        """A command is about to run for `principal`."""
        self._drop_old()
        self._drop((account, task))
        self._buffers[account, task] = _Buffer(principal)

    def add(self, account: str, chunk: Output) -> None:
        """Keeps what a delegate sent; what isn't expected, or too much, is dropped."""
        buffer = self._buffers.get((account, chunk.id))
        if buffer is None or buffer.ended_at is not None or chunk.index in buffer.chunks:
            return
        size = _size(chunk)
        if buffer.size + size > TASK_BYTES or not self._has_room(account, buffer.principal, size):
            return
        buffer.chunks[chunk.index] = chunk
        buffer.size += size
        self._bytes += size
        buffer.news.set()

    def end(self, account: str, task: str) -> None:
        """The task is over; its reader may still fetch what is here."""
        buffer = self._buffers.get((account, task))
        if buffer is not None:
            buffer.ended_at = self._clock.monotonic()
            buffer.news.set()

    async def read(self, account: str, task: str, principal: str, first: int, wait: float) -> Page | None:
        """The chunks from index `first` on, waited for; those before it are let go.

        None for a task that isn't known or isn't that principal's.
        """
        buffer = self._buffers.get((account, task))
        if buffer is None or buffer.principal != principal:
            return None
        for index in [index for index in buffer.chunks if index < first]:
            self._release(buffer, buffer.chunks.pop(index))
        if not buffer.chunks and buffer.ended_at is None:
            buffer.news.clear()
            try:
                async with asyncio.timeout(wait):
                    await buffer.news.wait()
            except TimeoutError:
                return Page((), False)
        chunks: list[Output] = []
        size = 0
        for chunk in sorted(buffer.chunks.values(), key=lambda one: one.index):
            if chunks and size + len(chunk.data) > PAGE_BYTES:
                return Page(tuple(chunks), False)
            chunks.append(chunk)
            size += len(chunk.data)
        return Page(tuple(chunks), buffer.ended_at is not None)

    def _has_room(self, account: str, principal: str, size: int) -> bool:
        """Whether there is room for him, if need be at the cost of who holds more."""
        if self._bytes + size > ALL_BYTES:
            self._drop_old()
        while self._bytes + size > ALL_BYTES:
            held: dict[tuple[str, str], int] = {}
            for (owner, _), one in self._buffers.items():
                held[owner, one.principal] = held.get((owner, one.principal), 0) + one.size
            most = max(held, key=held.__getitem__)
            if held.get((account, principal), 0) + size >= held[most]:
                return False
            theirs = [name for name, one in self._buffers.items() if (name[0], one.principal) == most and one.size]
            self._drop(min(theirs, key=lambda name: (self._buffers[name].ended_at is None, -self._buffers[name].size)))
        return True

    def _drop_old(self) -> None:
        since = self._clock.monotonic() - KEPT_SECONDS
        for name in [name for name, one in self._buffers.items() if one.ended_at is not None and one.ended_at < since]:
            self._drop(name)

    def _drop(self, name: tuple[str, str]) -> None:
        buffer = self._buffers.pop(name, None)
        if buffer is not None:
            for chunk in buffer.chunks.values():
                self._release(buffer, chunk)
            buffer.chunks.clear()
            buffer.ended_at = buffer.ended_at or self._clock.monotonic()
            buffer.news.set()

    def _release(self, buffer: _Buffer, chunk: Output) -> None:
        size = _size(chunk)
        buffer.size -= size
        self._bytes -= size


def _size(chunk: Output) -> int:
    return PART_BYTES + len(chunk.data) + len(chunk.opening)
