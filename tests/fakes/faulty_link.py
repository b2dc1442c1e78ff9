"""A TCP proxy on loopback whose network breaks when a test says so: reset, swallowed in one direction or both, slow, mended.

    async with FaultyLink() as link:
        link.target = ("127.0.0.1", port)      # what stands behind it; programs dial `link.address`
        link.hold(UP, DOWN)                    # a black hole: nothing passes, nobody is told; new connections too
        link.hold(UP)                          # only what clients send is swallowed
        link.slow(bytes_per_second=50_000, latency_seconds=0.2)
        link.reset()                           # every connection ends with RST, new ones as soon as they come
        link.mend()                            # as on a real network, what was held arrives late

What passes is not looked at. Faults are those of a path: an end that hangs is made with SIGSTOP.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import Literal, Self

from tests.fakes.listening import Listening

UP: Literal["up"] = "up"
"""From who dialled to the target."""
DOWN: Literal["down"] = "down"
Way = Literal["up", "down"]

_LARGEST_PIECE = 16_384
_PIECES_A_SECOND = 20
_RESET = struct.pack("ii", 1, 0)


class FaultyLink(Listening):
    """One listening port; without a fault it passes bytes both ways."""

    def __init__(self) -> None:
        super().__init__(_LARGEST_PIECE)
        self.target: tuple[str, int] | None = None
        self.passed: dict[Way, int] = {UP: 0, DOWN: 0}
        """Bytes, since it began."""
        self.connections = 0
        """How often somebody dialled."""
        self._open: dict[Way, asyncio.Event] = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._rate = self._latency = 0.0
        self._resetting = False

    # ---- faults

    def hold(self, *ways: Way) -> None:
        """Nothing passes in these directions from now on, and nobody is told."""
        for way in ways:
            self._open[way].clear()

    def slow(self, bytes_per_second: float = 0.0, latency_seconds: float = 0.0) -> None:
        """Each connection and direction passes no more than that (0 is no limit), and each piece that late."""
        self._rate, self._latency = bytes_per_second, latency_seconds

    def reset(self) -> None:
        """Ends all connections with RST, and each that is dialled until it is mended."""
        self._resetting = True
        for writers in self._serving.values():
            for writer in writers:
                _reset(writer)

    def mend(self) -> None:
        """No faults any more."""
        self._resetting = False
        self._rate = self._latency = 0.0
        for event in self._open.values():
            event.set()

    # ---- life

    async def __aenter__(self) -> Self:
        self.mend()
        return await super().__aenter__()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        if self._resetting:
            _reset(writer)
            return
        super()._accept(reader, writer)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        assert self.target is not None
        try:
            # One that is dialled into a black hole comes through when that has gone, if its dialler still waits.
            await self._passes(UP)
            far_reader, far_writer = await asyncio.open_connection(*self.target, limit=_LARGEST_PIECE)
            this = asyncio.current_task()
            assert this is not None
            self._serving[this].append(far_writer)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._carry(UP, reader, far_writer))
                    group.create_task(self._carry(DOWN, far_reader, writer))
            finally:
                _reset(far_writer)
        except (OSError, ExceptionGroup):
            pass
        finally:
            _reset(writer)

    async def _carry(self, way: Way, source: StreamReader, sink: StreamWriter) -> None:
        """One direction of one connection, in order: read here, delivered when it is due."""
        # As much as may be on its way; more stays with its sender.
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(16)
        delivering = asyncio.create_task(self._deliver(way, travelling, sink))
        try:
            data = b"-"
            while data:
                await self._passes(way)
                data = await source.read(self._piece())
                await travelling.put((time.monotonic() + self._latency, data))
            await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _deliver(self, way: Way, travelling: asyncio.Queue[tuple[float, bytes]], sink: StreamWriter) -> None:
        while True:
            due, data = await travelling.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            # Also what was on its way when the fault came.
            await self._passes(way)
            if not data:
                with suppress(OSError):
                    sink.write_eof()
                return
            sink.write(data)
            await sink.drain()
            self.passed[way] += len(data)
            if self._rate:
                await asyncio.sleep(len(data) / self._rate)

    def _piece(self) -> int:
        return max(1, min(_LARGEST_PIECE, int(self._rate / _PIECES_A_SECOND))) if self._rate else _LARGEST_PIECE

    async def _passes(self, way: Way) -> None:
        await self._open[way].wait()


def _reset(writer: StreamWriter) -> None:
    """RST, not FIN: the other end learns of it at its next word or read."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and not writer.transport.is_closing():
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
