"""A certified delegate whose program does what a test says: it greets properly, hears everything, and then anything goes.

    rogue = Rogue(loop, network, world, "mallory")
    rogue.say(Credit(3))
    rogue.answer(rogue.tasks[-1])          # signed with its own identity, as is its certificate by the keyring
    rogue.say_anything(Result(...))        # whether or not it has a place

It counts what it is given, so that it notices a manager that gives it more than it said it would take.
"""

from __future__ import annotations

import itertools
from typing import Any

from shared.codec import ManagerReader, delegate_messages
from shared.documents.answer import AnswerDocument, Code
from shared.documents.task import EXEC
from shared.errors import Malformed
from shared.hello import hello_message
from shared.messages import (
    Cancel,
    Challenge,
    Credit,
    FromDelegate,
    FromManager,
    Hello,
    Need,
    NewCertificate,
    Result,
    Task,
)
from tests.fakes.lines import END, Line, Network
from tests.fakes.steered import SteeredLoop
from tests.fakes.world import World

MOST_CREDITS = 10_000


class Rogue:
    """One stream of it. `tasks` are those that it got and said nothing about yet; `heard` is all that it was told."""

    def __init__(
        self, loop: SteeredLoop, network: Network, world: World, name: str, url: str, tags: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.identity = world.identity(f"rogue {name}")
        self.heard: list[FromManager] = []
        self.tasks: list[Task] = []
        self.past: list[Task] = []
        """Tasks that it has answered, or that came by an earlier stream."""
        self.begun: list[str] = []
        """Ids of the tasks that it could have begun, one for each time that it got one and didn't ask for documents."""
        self.answered: dict[str, int] = {}
        """The answers that it gave to what it had, as they were signed, and for which attempt."""
        self.credits = 0
        self.excess = 0
        """Tasks that it was given without having said that it takes them."""
        self._loop, self._network, self._world, self._url, self._tags = loop, network, world, url, tags
        self._numbers = itertools.count(1)
        self._times = itertools.count(world.now)
        self.line: Line | None = None
        self.lines: list[Line] = []
        self.dial()

    @property
    def is_open(self) -> bool:
        """Whether its stream lives."""
        return self.line is not None and not self.line.is_over and self.line.serving is not None

    def dial(self) -> None:
        """A new stream; the one before is forgotten, and not closed."""
        with self._loop.process(self.name):
            self._loop.create_task(self._live())
        self._loop.settle()

    async def _live(self) -> None:
        line = self.line = self._network.dial(self.name)
        if line is None:
            return
        self.lines.append(line)
        self.past += self.tasks
        self.tasks, self.credits = [], 0
        reader = ManagerReader()
        while (wire := await line.down.read()) is not END:
            try:
                message = reader.read(wire)
            except Malformed:
                # Somebody meddled with the line.
                line.hang_up()
                break
            if message is not None and line is self.line:
                self.heard.append(message)
                self._hear(message)
        line.is_over = True

    def _hear(self, message: FromManager) -> None:
        match message:
            case Challenge():
                compact = self._certificate()
                proof = self.identity.sign(hello_message(self._url, message.nonce, compact))
                self.say(Hello(compact, proof, self._url, "0", ("Local", EXEC), (1,), 4))
            case Task():
                self.credits -= 1
                self.excess += self.credits < 0
                self.tasks.append(message)
                self.begun.append(message.id)
            case Cancel():
                pass

    def renew(self, tags: tuple[str, ...]) -> None:
        """Other tags by a new certificate."""
        self._tags = tags
        self.say(NewCertificate(self._certificate()))

    def _certificate(self) -> str:
        tags = tuple(sorted({self.name, *self._tags}))
        return self._world.certificate(key=self.identity.key, name=self.name, tags=tags).compact

    def say(self, message: FromDelegate) -> None:
        """Puts it on its way, however much is there already."""
        if self.line is None or self.line.up.is_over or self.line.up.is_lost:
            return
        if isinstance(message, Credit) and 0 < message.tasks <= MOST_CREDITS:
            self.credits += message.tasks
        self.line.up.under_way.extend(delegate_messages(message, next(self._numbers)))
        self.line.up.changed()

    def say_wire(self, wire: Any) -> None:
        """What is no message."""
        if self.line is not None and not self.line.up.is_over:
            self.line.up.under_way.append(wire)
            self.line.up.changed()

    def answer(self, task: Task, code: Code = "ok") -> None:
        """The answer to a task that it has."""
        result = self.result(task, task.attempt, code)
        self.answered[result.answer] = task.attempt
        self.tasks.remove(task)
        self.past.append(task)
        self.say(result)

    def need(self, task: Task, digests: tuple[str, ...]) -> None:
        """It asks for documents, and hasn't begun."""
        self.tasks.remove(task)
        self.begun.remove(task.id)
        self.say(Need(task.id, task.attempt, digests))

    def result(self, task: Task, attempt: int, code: Code = "ok") -> Result:
        """A signed answer to a task; no two are the same."""
        document = AnswerDocument(v=1, acct=self._world.id, task=task.id, code=code, iat=next(self._times))
        return Result(task.id, attempt, self.identity.sign_document(document))

    def leave(self) -> None:
        """Hangs up."""
        if self.line is not None:
            self.line.hang_up()
        self._loop.settle()
