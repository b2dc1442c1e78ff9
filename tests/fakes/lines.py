"""A network of queues: what gRPC does for a stream between a delegate and a manager, in one event loop, with faults to order.

    network = Network()
    network.serve = streams.Connect        # the manager's side takes a gRPC context
    channel = network.channel("alpha")     # the delegate's side makes a stub of it
    line = network.lines[-1]
    line.up.is_held = True                 # nothing more arrives until it is let through, one by one or all
    line.sever()                           # both sides hear that it is broken, or one, or nobody

A `Pipe` holds whole wire messages, as gRPC hands them over: a long message is many of them, its chunks. What a transport
could never do (twice, late, in another order) is done to a pipe by `meddle`; the line says then that it was tampered with.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Literal

import grpc
import grpc.aio

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it
_AbortError: Any = grpc.aio.AbortError

ROOM = 8
"""Messages that are under way in one direction before who writes has to wait."""

MOST_KEPT = 64
"""Messages that have arrived and can be made to arrive once more."""

Fault = Literal["twice", "late", "swapped"]


class Pipe:
    """One direction of a line."""

    def __init__(self) -> None:
        self.under_way: deque[Any] = deque()
        self.arrived: deque[Any] = deque(maxlen=MOST_KEPT)
        self.is_held = self.is_lost = self.is_over = False
        self.let_through = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def write(self, wire: Any) -> None:
        """Puts it on its way, once there is room. Raises InvalidStateError when it is over, as gRPC does."""
        while len(self.under_way) >= ROOM and not (self.is_over or self.is_lost):
            await self._change()
        if self.is_over:
            raise asyncio.InvalidStateError("RPC already finished.")
        if not self.is_lost:
            self.under_way.append(wire)
            self.changed()

    async def read(self) -> Any:
        """The next one that arrives, END after the last."""
        while True:
            if self.under_way and (not self.is_held or self.let_through):
                self.let_through -= self.is_held
                wire = self.under_way.popleft()
                self.arrived.append(wire)
                self.changed()
                return wire
            if self.is_over and not self.under_way:
                return END
            await self._change()

    def end(self, drop: bool = False) -> None:
        """Nothing more is written; with `drop` nothing more arrives either."""
        self.is_over = True
        if drop:
            self.under_way.clear()
        self.changed()

    def lose(self) -> None:
        """Whatever is under way, or will be, arrives nowhere, and nobody is told."""
        self.is_lost = True
        self.under_way.clear()
        self.changed()

    def changed(self) -> None:
        """Whoever waits looks again."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def _change(self) -> None:
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        await change


class Line:
    """One stream: `up` from the delegate to the manager, `down` from the manager to the delegate."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up, self.down = Pipe(), Pipe()
        self.serving: asyncio.Task[None] | None = None
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.is_tampered = False
        self.is_over = False
        """For both sides."""

    def finish(self, code: grpc.StatusCode, details: str) -> None:
        """The manager's side has ended."""
        if self.status is None:
            self.status = code, details
        self.up.end(drop=True)
        if not self.down.is_lost:
            self.down.end()

    def hang_up(self) -> None:
        """The delegate's side has ended."""
        self.is_over = True
        self.down.end(drop=True)
        if not self.up.is_lost and self.serving is not None:
            self.serving.cancel()

    def sever(self, manager_hears: bool = True, delegate_hears: bool = True) -> None:
        """The connection is gone with all that was under way; who doesn't hear of it has to notice."""
        self.up.lose()
        self.down.lose()
        if manager_hears and self.serving is not None:
            self.serving.cancel()
        if delegate_hears:
            self.status = grpc.StatusCode.UNAVAILABLE, "connection reset"
            self.down.end()
            self.is_over = True

    def deliver_again(self, wire: Any) -> None:
        """What came down by a line before comes down by this one once more."""
        self.is_tampered = True
        self.down.under_way.append(wire)
        self.down.changed()

    def meddle(self, down: bool, fault: Fault, at: int) -> None:
        """Does what no transport does to one of the messages."""
        pipe = self.down if down else self.up
        if pipe.is_over or pipe.is_lost:
            return
        if fault == "swapped":
            if len(pipe.under_way) > 1:
                pipe.under_way.rotate(1)
                self.is_tampered = True
        elif pipe.arrived:
            again = pipe.arrived[-1] if fault == "twice" else pipe.arrived[at % len(pipe.arrived)]
            pipe.under_way.append(again)
            self.is_tampered = True
        pipe.changed()


class _Context:
    """gRPC's, for the manager's side."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def read(self) -> Any:
        return await self._line.up.read()

    async def write(self, wire: Any) -> None:
        await self._line.down.write(wire)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        self._line.finish(code, details)
        raise _AbortError(code, details)


class _Call:
    """gRPC's, for the delegate's side."""

    def __init__(self, line: Line | None, requests: AsyncGenerator[Any, None]) -> None:
        self._line = line
        self._is_cancelled = False
        self._pump = asyncio.create_task(self._send(requests))

    async def read(self) -> Any:
        if self._line is None:
            raise _error(grpc.StatusCode.UNAVAILABLE, "connection refused")
        wire = END if self._is_cancelled else await self._line.down.read()
        if self._is_cancelled:
            # gRPC cancels its reader when the call is.
            raise asyncio.CancelledError
        if wire is END:
            self._line.is_over = True
            code, details = self._ended()
            if code is not grpc.StatusCode.OK:
                raise _error(code, details)
        return wire

    def cancel(self) -> None:
        if not self._is_cancelled:
            self._is_cancelled = True
            self._pump.cancel()
            if self._line is not None:
                self._line.hang_up()

    async def code(self) -> grpc.StatusCode:
        return self._ended()[0]

    async def details(self) -> str:
        return self._ended()[1]

    def _ended(self) -> tuple[grpc.StatusCode, str]:
        assert self._line is not None
        return self._line.status or (grpc.StatusCode.OK, "")

    async def _send(self, requests: AsyncGenerator[Any, None]) -> None:
        try:
            if self._line is not None:
                with suppress(asyncio.InvalidStateError):
                    async for wire in requests:
                        await self._line.up.write(wire)
                self._line.up.end()
        finally:
            await requests.aclose()


class _Channel:
    def __init__(self, network: Network, name: str, lines: list[Line]) -> None:
        self._network = network
        self._name = name
        self._lines = lines

    def stream_stream(self, path: str, **_: Any) -> Callable[..., _Call]:
        return lambda requests, **_: _Call(self._dial(), requests)

    def _dial(self) -> Line | None:
        line = self._network.dial(self._name)
        if line is not None:
            self._lines.append(line)
        return line

    async def close(self, grace: float | None = None) -> None:
        """Nothing is left open."""


class Network:
    """All lines to the one manager that serves now; `serve` is None while there is none."""

    def __init__(self) -> None:
        self.serve: Callable[[Any, Any], Awaitable[None]] | None = None
        self.context: Context = copy_context()
        """The manager's process, in which a line is served."""
        self.lines: list[Line] = []
        self.is_cut_off: set[str] = set()
        """Names of those who reach nobody."""

    def channel(self, name: str, lines: list[Line]) -> Any:
        """For a delegate's stub; its lines are added to `lines`."""
        return _Channel(self, name, lines)

    def dial(self, name: str) -> Line | None:
        """A new line, if somebody serves."""
        if self.serve is None or name in self.is_cut_off:
            return None
        line = Line(name)
        self.lines = [one for one in self.lines if not one.is_over or one.serving is not None]
        self.lines.append(line)
        loop = asyncio.get_running_loop()
        line.serving = loop.create_task(_served(line, self.serve), context=self.context.copy())
        return line

    def of(self, name: str) -> Line | None:
        """The newest line of who goes by that name, unless it is over."""
        return next((one for one in reversed(self.lines) if one.name == name and not one.is_over), None)


async def _served(line: Line, serve: Callable[[Any, Any], Awaitable[None]]) -> None:
    try:
        await serve(None, _Context(line))
        line.finish(grpc.StatusCode.OK, "")
    except _AbortError:
        pass
    finally:
        line.finish(grpc.StatusCode.CANCELLED, "the line is down")
        line.serving = None


def _error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)
