"""Simulated delegates, any number in one process, over the real protocol to a real manager: each with a connection of its own.

    stray = Stray(world, url, "mute")
    stray.on_task = stray.answer           # what it does with a task; by default it keeps it and says nothing
    async with stray: ...                  # dials again when its stream ends, after a pause, as delegates do

They answer as delegates do, with nothing sealed: enough for a manager, who can't read it anyway. They don't verify what they are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import SystemRandom
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from delegate.link import CHANNEL_OPTIONS, Pause
from shared.codec import ManagerReader, delegate_messages
from shared.documents.answer import AnswerDocument
from shared.hello import hello_message
from shared.messages import Cancel, Challenge, Credit, FromDelegate, Heartbeat, Hello, Result, Task, Welcome
from shared.wire import delegate_pb2_grpc
from tests.fakes.world import World

CAPACITY = 8
PAUSE = Pause(0.5, 2.0)
_LOST = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, AssertionError, TimeoutError)


class Stray:
    """One delegate; `tasks` are all that it was ever given, `cancels` the ids that it was told to give up."""

    def __init__(self, world: World, url: str, name: str) -> None:
        self.world = world
        self.name = name
        self.identity = world.identity(f"stray {name}")
        self.tasks: list[Task] = []
        self.cancels: list[str] = []
        self.welcomes = 0
        self.is_open = False
        self.on_task: Callable[[Task], None] = lambda task: None
        self._url = url
        self._certificate = world.certificate(key=self.identity.key, name=name, tags=(name,)).compact
        self._outgoing: asyncio.Queue[FromDelegate] = asyncio.Queue()
        self._number = 0
        self._living: asyncio.Task[None] | None = None

    def say(self, message: FromDelegate) -> None:
        """Sends it as soon as the stream takes it."""
        self._outgoing.put_nowait(message)

    def result(self, task: Task) -> Result:
        """That the task went well."""
        document = AnswerDocument(v=1, acct=self.world.id, task=task.id, code="ok", iat=self.world.now)
        return Result(task.id, task.attempt, self.identity.sign_document(document))

    def answer(self, task: Task) -> None:
        """Says that it went well, and that there is a place again."""
        self.say(self.result(task))
        self.say(Credit(1))

    async def __aenter__(self) -> Self:
        self._living = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._living is not None
        self._living.cancel()
        await asyncio.gather(self._living, return_exceptions=True)

    async def _live(self) -> None:
        failures = 0
        while True:
            channel = grpc.aio.insecure_channel(self._url.removeprefix("http://"), [*CHANNEL_OPTIONS])
            try:
                await self._stay(channel)
            except* _LOST:
                pass
            finally:
                failures = 0 if self.is_open else failures + 1
                self.is_open = False
                await channel.close(None)
            await asyncio.sleep(PAUSE.after(failures, SystemRandom().uniform))

    async def _stay(self, channel: grpc.aio.Channel) -> None:
        call: Any = delegate_pb2_grpc.DelegatesStub(channel).Connect()  # type: ignore[no-untyped-call]
        reader = ManagerReader()
        # What an earlier stream didn't take is of no use on this one.
        self._outgoing = asyncio.Queue()
        async with asyncio.timeout(20):
            challenge = await self._hear(call, reader)
            assert isinstance(challenge, Challenge)
            proof = self.identity.sign(hello_message(self._url, challenge.nonce, self._certificate))
            hello = Hello(self._certificate, proof, self._url, "0", ("Local",), (1,), CAPACITY)
            await self._write(call, hello)
            welcome = await self._hear(call, reader)
            assert isinstance(welcome, Welcome)
        self.is_open, self.welcomes = True, self.welcomes + 1
        self.say(Credit(CAPACITY))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat(welcome.heartbeat_ms / 1000))
            group.create_task(self._send(call))
            group.create_task(self._listen(call, reader))

    async def _listen(self, call: Any, reader: ManagerReader) -> None:
        while True:
            message = await self._hear(call, reader)
            if isinstance(message, Task):
                self.tasks.append(message)
                self.on_task(message)
            elif isinstance(message, Cancel):
                self.cancels.append(message.id)

    async def _send(self, call: Any) -> None:
        while True:
            await self._write(call, await self._outgoing.get())

    async def _beat(self, seconds: float) -> None:
        await asyncio.sleep(SystemRandom().uniform(0, seconds))
        while True:
            self.say(Heartbeat())
            await asyncio.sleep(seconds)

    async def _write(self, call: Any, message: FromDelegate) -> None:
        self._number += 1
        for wire in delegate_messages(message, self._number):
            await call.write(wire)

    @staticmethod
    async def _hear(call: Any, reader: ManagerReader) -> Any:
        while True:
            wire = await call.read()
            if wire is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
                with suppress(grpc.aio.AioRpcError):
                    raise AssertionError(f"{await call.code()}: {await call.details()}")
            message = reader.read(wire)
            if message is not None:
                return message
