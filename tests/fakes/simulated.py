"""A delegate as the manager's dispatcher sees it, without a process or a network: a real session, and what it was sent.

    one = Simulated(desk, "one", credits=2)
    await until(one.tasks)
    one.answer()                                     # the newest task, as this delegate would sign it

`desk` is whatever has a fleet, its dispatcher, their clock and a world.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Delegate, Fleet
from shared.documents.answer import AnswerDocument, Code
from shared.messages import Challenge, Credit, FromManager, Hello, Need, Result, Task, Welcome
from shared.session import Session, Side
from tests.fakes.manager import until
from tests.fakes.world import World

T = TypeVar("T")


class Floor(Protocol):
    """What a delegate connects to."""

    @property
    def world(self) -> World:
        """Whose keys sign."""

    @property
    def fleet(self) -> Fleet:
        """Which it joins."""

    @property
    def dispatcher(self) -> Dispatcher:
        """Which gives it tasks."""

    @property
    def clock(self) -> Clock:
        """When it leaves."""


class Simulated:
    """A delegate's side of the conversation: it keeps what it is sent and answers when told to."""

    def __init__(self, desk: Floor, name: str, credits: int = 1, tags: frozenset[str] = frozenset()) -> None:
        self._desk, world = desk, desk.world
        self.identity = world.identity(name)
        self.got: list[FromManager] = []
        session = Session()
        session.record(Side.MANAGER, Challenge(bytes(32)))
        session.record(Side.DELEGATE, Hello("", b"", "", "", (), (), 0))
        session.record(Side.MANAGER, Welcome(1, 1, 1))
        self.row = Delegate(
            account=world.id,
            kid=self.identity.kid,
            certificate=world.certificate(key=self.identity.key, name=name),
            tags=tags | {name},
            generations=frozenset({1}),
            kinds=frozenset({"Local"}),
            version="",
            capacity=10,
            session=session,
            send=self._send,
            cut=self.leave,
            connected_at=0,
            last_seen=0,
        )
        desk.fleet.join(self.row)
        self.credit(credits)

    async def _send(self, message: FromManager) -> None:
        self.got.append(message)

    def credit(self, tasks: int) -> None:
        """It takes so many more; 0 says nothing."""
        if tasks:
            self.row.session.record(Side.DELEGATE, Credit(tasks))
            self._desk.dispatcher.offer(self.row)

    def tasks(self) -> list[Task]:
        """All that it was given, in their order."""
        return [one for one in self.got if isinstance(one, Task)]

    def answer(self, code: Code = "ok", sealed: bytes = b"", at: int = -1) -> None:
        """That task has ended so."""
        task, world = self.tasks()[at], self._desk.world
        document = AnswerDocument(v=1, acct=world.id, task=task.id, code=code, iat=self._desk.clock.now())
        self.reply(Result(task.id, task.attempt, self.identity.sign_document(document), sealed))

    async def serve(self, running: Awaitable[T], code: Code = "ok") -> T:
        """It is given a task and answers; what then comes of what waits for that."""
        await until(self.tasks)
        self.answer(code)
        return await running

    def reply(self, message: Result | Need) -> None:
        """It says exactly that."""
        self.row.session.record(Side.DELEGATE, message)
        self._desk.dispatcher.replied(self.row, message)

    def leave(self) -> None:
        """Its line breaks."""
        self._desk.fleet.leave(self.row, self._desk.clock.now())
        self._desk.dispatcher.lost(self.row)
