"""A run: one process group from its start to its end, its input given and its output taken as it comes.

Promises: the group ends with its process, at its time limit, and when it is told to stop (SIGTERM, a while, SIGKILL); an
untaken output makes it wait; what it leaves behind doesn't hold it up. Must not know what the output is, nor what started.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from delegate.processes import Pipe, Process
from shared.crypto.stream import STDERR, STDOUT
from shared.errors import Unavailable

TERM_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""

LINGER_SECONDS = 1.0
"""What a process in the group may still write after the command itself has ended."""

_LEFT_BYTES = 1024 * 1024
"""What a pipe holds at most."""

_SILENT_SECONDS = 0.1

Take = Callable[[int, bytes], Awaitable[None]]
"""Takes a piece of output: stream (1 or 2) and bytes, none at its end. It may wait; what it raises ends the run."""


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended: its exit status, or the signal that ended it."""

    exit: int | None
    signal: int | None
    reason: Literal["exited", "timed_out", "cancelled"]


class Run:
    """One process from its start to its end."""

    def __init__(
        self,
        process: Process,
        take: Take,
        stop: asyncio.Event,
        *,
        stdin: bytes = b"",
        term_seconds: float = TERM_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._process = process
        self._take = take
        self._stop = stop
        self._stdin = stdin
        self._term_seconds = term_seconds
        self._linger_seconds = linger_seconds
        self._swept = asyncio.Event()

    async def until_end(self, seconds: float) -> End:
        """(1) Until it exits, its time is over or it has to stop; (2) what belongs to it ends; (3) the rest of its output."""
        exited = self._process.watch()
        pumps: set[asyncio.Future[Any]] = set()
        feeding = asyncio.ensure_future(self._feed())
        try:
            for number, pipe in zip((STDOUT, STDERR), self._process.outputs, strict=True):
                pumps.add(asyncio.create_task(self._pump(number, pipe)))
            reason = await self._wait(exited, pumps, seconds)
            if reason == "exited":
                await asyncio.wait(pumps, timeout=self._linger_seconds)
            if reason != "exited" or not all(pump.done() for pump in pumps):
                self._process.signal(signal.SIGTERM)
                await asyncio.wait({exited, *pumps}, timeout=self._term_seconds)
            self._process.signal(signal.SIGKILL)
            await asyncio.wait({exited}, timeout=self._term_seconds)
            if not exited.done():
                raise Unavailable(
                    "command_stuck", "the command doesn't end although it was killed", "look for what it waits for"
                )
            self._swept.set()
            await self._hand_over(pumps)
        finally:
            self._process.signal(signal.SIGKILL)
            for pump in (feeding, *pumps):
                pump.cancel()
            await asyncio.gather(feeding, *pumps, return_exceptions=True)
            await asyncio.wait({exited}, timeout=self._term_seconds)
            self._process.close(exited.done())
        status = exited.result()
        return End(status if status >= 0 else None, -status if status < 0 else None, reason)

    async def _wait(
        self, exited: asyncio.Future[int], pumps: set[asyncio.Future[Any]], seconds: float
    ) -> Literal["exited", "timed_out", "cancelled"]:
        """Why it ends. Where nobody takes its output any more, that is as if it were told to stop."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        stopped = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Future[Any]] = {exited, stopped, *pumps}
        try:
            while True:
                done, waiting = await asyncio.wait(
                    waiting, timeout=until - clock(), return_when=asyncio.FIRST_COMPLETED
                )
                if exited in done:
                    return "exited"
                if stopped in done or any(one.exception() is not None for one in done):
                    return "cancelled"
                if not done:
                    return "timed_out"
        finally:
            stopped.cancel()

    async def _hand_over(self, pumps: set[asyncio.Future[Any]]) -> None:
        """The rest of its output, for as long as it takes unless it was told to stop."""
        rest = asyncio.ensure_future(asyncio.wait(pumps))
        stopped = asyncio.create_task(self._stop.wait())
        either: set[asyncio.Future[Any]] = {rest, stopped}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not rest.done():
                await asyncio.wait({rest}, timeout=self._term_seconds)
            if not rest.done():
                raise Unavailable(
                    "output_stuck", "nobody takes the rest of the command's output", "look at the manager"
                )
        finally:
            rest.cancel()
            stopped.cancel()
        for pump in pumps:
            pump.result()

    async def _feed(self) -> None:
        if self._process.inlet is not None:
            await self._process.inlet.write(self._stdin)

    async def _pump(self, number: int, pipe: Pipe) -> None:
        after = 0
        while after < _LEFT_BYTES and (data := await self._read(pipe)):
            if self._swept.is_set():
                # Only what left the group can still be writing.
                after += len(data)
            await self._take(number, data)
        await self._take(number, b"")

    async def _read(self, pipe: Pipe) -> bytes:
        """What has come; nothing at the end, and when all that could write is gone and has left nothing."""
        reading = asyncio.create_task(pipe.read())
        swept = asyncio.create_task(self._swept.wait())
        try:
            await asyncio.wait({reading, swept}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_SILENT_SECONDS)
            return reading.result() if reading.done() else b""
        finally:
            reading.cancel()
            swept.cancel()
            # It must have let go of the pipe before that is closed.
            await asyncio.gather(reading, swept, return_exceptions=True)
