"""The far end of one delegate's stream: messages to and fro, kept in order by their session.

Promises: what has no place in the protocol ends the stream, whoever says it; a stream that was cut keeps nobody waiting. Must
not decide what a message means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc

from manager.clock import Clock
from manager.fleet import Delegate
from shared.codec import DelegateReader, manager_messages
from shared.errors import Malformed
from shared.messages import Documents, FromDelegate, FromManager, Task
from shared.session import Session, Side

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


NOTHING = Documents(())
"""Said to a delegate that is only to be sent what it is owed."""


class Cut(Exception):
    """The stream was ended from this side."""


class Peer:
    """Reads and writes one stream, keeping its session."""

    __slots__ = ("_clock", "_context", "_is_cut", "_lock", "_number", "_reader", "_waiting", "delegate", "session")

    def __init__(self, context: Any, clock: Clock, number: Callable[[], int]) -> None:
        """`context` is gRPC's; `number` gives a number for a chunked message."""
        self._context = context
        self._clock = clock
        self._number = number
        self._reader = DelegateReader()
        self._lock: asyncio.Lock | None = None
        self._is_cut = False
        self._waiting: set[asyncio.Task[Any]] = set()
        self.session = Session()
        self.delegate: Delegate | None = None

    async def send(self, message: FromManager) -> None:
        """Sends it; a stream that is gone is noticed by its reader, not here."""
        if not isinstance(message, Task):  # the dispatcher has recorded it when it took the place
            self.session.record(Side.MANAGER, message)
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            try:
                await self._settle()
                if message != NOTHING:
                    await self._write(message)
            except (asyncio.InvalidStateError, grpc.RpcError, grpc.aio.BaseError, Cut):
                return
        if self.delegate is not None:
            self.delegate.spoke = self._clock.monotonic()

    async def _settle(self) -> None:
        """What the delegate is owed: it was published before whatever waits for the lock was decided."""
        while self.delegate is not None and self.delegate.owed:
            owed = tuple(self.delegate.owed)
            await self._write(Documents(owed))
            # Not before: whoever sends this for his own message's sake may be cancelled.
            del self.delegate.owed[: len(owed)]

    async def _write(self, message: FromManager) -> None:
        for wire in manager_messages(message, self._number()):
            await self._unless_cut(self._context.write(wire))

    async def read(self) -> FromDelegate | None:
        """The next message that is known; None at the end. Raises Malformed."""
        while True:
            wire = await self._unless_cut(self._context.read())
            if wire is _EOF:
                return None
            if self.delegate is not None:
                self.delegate.heard = self._clock.monotonic()
                self.delegate.last_seen = self._clock.now()
            # Only an answer is ever so long that it comes in chunks; nobody else makes the manager hold any.
            if not self.session.outstanding and wire.WhichOneof("message") == "chunk":
                raise Malformed("protocol_violation", "a delegate that owes no answer sends a part of a long message")
            message = self._reader.read(wire)
            if message is not None:
                self.session.record(Side.DELEGATE, message)
                return message

    def cut(self) -> None:
        """Ends the stream from this side, with everybody who waits for the peer."""
        if not self._is_cut:
            self._is_cut = True
            for task in self._waiting:
                task.cancel()

    async def _unless_cut(self, waiting: Awaitable[Any]) -> Any:
        """Waits for the peer. Raises Cut. gRPC's servicers have no way to cancel a call, so its waiters are cancelled."""
        if self._is_cut:
            if isinstance(waiting, Coroutine):
                waiting.close()
            raise Cut
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            return await waiting
        except asyncio.CancelledError:
            # Somebody else may have cancelled the same task: that one goes on as usual.
            if not self._is_cut or task.uncancel():
                raise
            raise Cut from None
        finally:
            self._waiting.discard(task)
