"""One stream: messages in and out, recorded for both sides, with the manager's silence noticed.

Promises: what has no place in the protocol ends the stream, whoever says it; a long message goes in chunks, so that
heartbeats pass. Must not decide what a message means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from delegate.clock import Clock
from shared.codec import ManagerReader, delegate_messages
from shared.errors import CLASSES, PrivySealError, Unavailable
from shared.liveness import Liveness
from shared.messages import (
    Checked,
    Credit,
    FromDelegate,
    FromManager,
    Heartbeat,
    Need,
    Output,
    Progress,
    Result,
    Welcome,
)
from shared.session import Session, Side
from shared.wire import delegate_pb2, delegate_pb2_grpc

HELLO_SECONDS = 20.0
"""From dialling to the manager's welcome."""

CREDIT_SECONDS = 0.02
"""How long a place may be free before the manager hears of it, while it knows of enough others."""

_HEARTBEAT_SECONDS = (0.02, 60.0)
_SILENCE_SECONDS = (0.1, 300.0)
"""What a manager may ask for: one that asks for less would keep this process busy with nothing."""

_STATUSES: dict[grpc.StatusCode, type[PrivySealError]] = {
    grpc.StatusCode[error.grpc_status]: error for error in reversed(list(CLASSES.values()))
}


_MOST_WAITING = 1_000
"""Messages that wait to be sent before heartbeats are left out: nobody reads them."""

MOST_UNSENT_BYTES = 256 * 1024
"""Of output, in all: what a command writes meanwhile stays in its pipe, and heartbeats don't wait long behind it."""

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


class Lost(Exception):
    """The stream has ended; `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stream:
    """Reads and writes one stream, keeping its session."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._clock = clock
        self._session = Session()
        self._reader = ManagerReader()
        self._queue: asyncio.Queue[FromDelegate | None] = asyncio.Queue()
        self._numbers = 0
        self._unsent = 0
        """Replies that are still in the queue: each keeps its task's place, so that a manager that doesn't read is given
        no more of them than there are places."""
        self._unsent_bytes = 0
        self._sent = asyncio.Event()
        self._heard = clock.monotonic()
        self._silent = False
        self._ended = asyncio.Event()
        self._crediting: asyncio.TimerHandle | None = None
        self.replenish: Callable[[], None] = lambda: None
        """Called when a place has become free, also after this stream has ended: the one after it is to hear of it."""
        stub = delegate_pb2_grpc.DelegatesStub(channel)  # type: ignore[no-untyped-call]
        # The stubs know neither this call's methods nor EOF.
        self._call: Any = stub.Connect(self._outgoing())

    def say(self, message: FromDelegate) -> None:
        """Send it when its turn comes. Raises Malformed, a bug, for what has no place now."""
        self._session.record(Side.DELEGATE, message)
        self._queue.put_nowait(message)

    def reply(self, message: Result | Need) -> None:
        """The reply to a task that came by this stream; on one that has ended it only frees its place."""
        if self._ended.is_set():
            self.replenish()
        else:
            self.say(message)
            self._unsent += 1

    def report(self, message: Progress) -> None:
        """How far a task is that came by this stream."""
        if not self._ended.is_set():
            self.say(message)

    async def emit(self, message: Output) -> None:
        """A part of the output of a task that came by this stream, once there is room for it.

        Raises Unavailable on a stream that has ended.
        """
        while self._unsent_bytes >= MOST_UNSENT_BYTES and not self._ended.is_set():
            self._sent.clear()
            await self._sent.wait()
        if self._ended.is_set():
            raise Unavailable("stream_lost", "the stream to the manager broke while the command ran")
        self.say(message)
        self._unsent_bytes += len(message.data)

    async def ended(self) -> None:
        """Waits until nothing more can be said."""
        await self._ended.wait()

    def mention(self, message: Checked | Heartbeat) -> None:
        """What may be left out: nobody waits for it."""
        if not self._ended.is_set() and self._queue.qsize() < _MOST_WAITING:
            self.say(message)

    def credit(self, places: Callable[[], int]) -> None:
        """Let the manager know of free places that it doesn't know of: at once while it knows of half of them or fewer, else
        soon, together with others, since a message costs as much as a small task.
        """
        free = places() - self._session.credits - self._unsent
        if free > 0 and free >= self._session.credits:
            self._say_credit(places)
        elif free > 0 and self._crediting is None:
            self._crediting = asyncio.get_running_loop().call_later(CREDIT_SECONDS, self._say_credit, places)

    def _say_credit(self, places: Callable[[], int]) -> None:
        if self._crediting is not None:
            self._crediting.cancel()
            self._crediting = None
        free = places() - self._session.credits - self._unsent
        if free > 0 and not self._ended.is_set():
            self.say(Credit(free))

    async def read(self) -> FromManager:
        """The next message that is known. Raises Malformed for a breach of the protocol, Lost, and why it was refused."""
        while True:
            try:
                wire = await self._call.read()
            except grpc.aio.AioRpcError as error:
                raise self._why(error.code(), error.details()) from None
            except asyncio.CancelledError:
                # gRPC cancels its reader when the call was cancelled: by `_watch`, or from outside.
                if self._silent:
                    raise Lost("the manager was silent for too long") from None
                raise
            if wire is END:
                raise self._why(await self._call.code(), await self._call.details())
            self._heard = self._clock.monotonic()
            message = self._reader.read(wire)
            if message is not None:
                self._session.record(Side.MANAGER, message)
                return message

    @asynccontextmanager
    async def beating(self, welcome: Welcome, heartbeat: Callable[[], Heartbeat]) -> AsyncIterator[None]:
        """Send heartbeats and notice the manager's silence meanwhile."""
        beat = _within(welcome.heartbeat_ms / 1000, _HEARTBEAT_SECONDS)
        silence = max(_within(welcome.silence_ms / 1000, _SILENCE_SECONDS), 2 * beat)
        watch = asyncio.create_task(self._watch(Liveness(beat, silence), heartbeat))
        try:
            yield
        finally:
            watch.cancel()

    def close(self) -> None:
        """End the stream here and now. Left alone, the coroutine that feeds it would wait for ever."""
        self._ended.set()
        self._sent.set()
        self._call.cancel()
        self._queue.put_nowait(None)

    def finish(self) -> None:
        """Say nothing more; the manager ends the stream when it has read everything."""
        self._ended.set()
        self._sent.set()
        self._queue.put_nowait(None)

    async def _watch(self, liveness: Liveness, heartbeat: Callable[[], Heartbeat]) -> None:
        looked = spoke = self._clock.monotonic()
        while True:
            await asyncio.sleep(liveness.look_seconds)
            moment = self._clock.monotonic()
            # What the manager said while this process hung is still unread.
            self._heard = min(moment, self._heard + liveness.held_up(moment - looked))
            looked = moment
            if liveness.is_silent(moment - self._heard):
                self._silent = True
                self._call.cancel()
                return
            if self._ended.is_set():
                return
            if liveness.is_due(moment - spoke):
                spoke = moment
                self.mention(heartbeat())

    async def _outgoing(self) -> AsyncIterator[delegate_pb2.FromDelegate]:
        while (message := await self._queue.get()) is not None:
            self._numbers += 1
            for wire in delegate_messages(message, self._numbers):
                yield wire
            if isinstance(message, Output):
                self._unsent_bytes -= len(message.data)
                self._sent.set()
            elif isinstance(message, Result | Need):
                self._unsent -= 1
                if not self._ended.is_set():
                    self.replenish()

    def _why(self, status: grpc.StatusCode, details: str | None) -> PrivySealError | Lost:
        """Why the stream ended, in our words; `details` is `CODE: TEXT` when the manager refused us."""
        text = (details or "")[:300]
        code, colon, rest = text.partition(": ")
        known = _STATUSES.get(status)
        if known is not None and colon and code.isidentifier() and code.islower():
            return known(code, rest)
        if status is grpc.StatusCode.OK:
            return Lost("the manager ended the stream")
        if status is grpc.StatusCode.CANCELLED:
            return Lost("the manager was silent for too long" if self._silent else "the stream was cut")
        if status is grpc.StatusCode.UNAVAILABLE:
            return _unreachable(text)
        return Lost(f"{status.name}: {text}")


def _unreachable(text: str) -> PrivySealError:
    if any(word in text.lower() for word in ("certificate", "verification")):
        return Unavailable(
            "manager_untrusted",
            "the manager's TLS certificate isn't one that this delegate trusts",
            "set ca_file to the authority that issued it, and check the host name in the manager's URL",
        )
    return Unavailable(
        "manager_unreachable", f"the manager can't be reached: {text}", "check its URL, the firewall and the proxy"
    )


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
