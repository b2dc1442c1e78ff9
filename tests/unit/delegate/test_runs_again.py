"""A run of an order that is handed over again, since its answer was lost on the way: it begins once, and is answered again."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from delegate.clock import Clock
from delegate.metrics import DelegateMetrics
from delegate.runner import Runner
from delegate.tasks import Performed, Tasks
from shared.documents.answer import Code
from shared.messages import FromDelegate, Result, Task


class Beginning:
    """Does each run once, as the heart does, and refuses it when it comes again."""

    def __init__(self, op: str, code: Code) -> None:
        self._op = op
        self._code = code
        self.begun: list[str] = []

    async def perform(self, message: Task, *_: Any) -> Performed:
        if message.id in self.begun:
            return Performed(Result(message.id, message.attempt, "run_replayed", b"", ()), "conflict", self._op)
        self.begun.append(message.id)
        return Performed(
            Result(message.id, message.attempt, "signed", b"sealed", ()), self._code, self._op, began_at=1.0
        )


class Line:
    """What the manager hears."""

    def __init__(self) -> None:
        self.replies: list[Result] = []

    def reply(self, message: FromDelegate) -> None:
        assert isinstance(message, Result)
        self.replies.append(message)


async def answered(runner: Runner, message: Task) -> Result:
    line = Line()
    runner.accept(message, cast("Any", line))
    async with asyncio.timeout(30):
        while not line.replies:
            await asyncio.sleep(0)
    return line.replies[0]


@pytest.mark.parametrize(("op", "code"), [("exec", "ok"), ("exec", "unavailable"), ("check", "denied")])
async def test_a_run_whose_answer_was_lost_is_answered_again_with_what_came_of_it(op: str, code: Code) -> None:
    beginning = Beginning(op, code)
    runner = Runner(cast("Tasks", beginning), 4, 60.0, Clock(), DelegateMetrics("0"), "alpha")
    first = await answered(runner, Task("a run", 1, "x.y.z", (), (), run=1))
    again = await answered(runner, Task("a run", 2, "x.y.z", (), (), run=1))
    assert (first.answer, again.answer, again.attempt) == ("signed", "signed", 2)
    assert beginning.begun == ["a run"]


async def test_a_task_that_may_run_only_once_is_not_answered_again() -> None:
    runner = Runner(cast("Tasks", Beginning("exec", "ok")), 4, 60.0, Clock(), DelegateMetrics("0"), "alpha")
    await answered(runner, Task("a task", 1, "x.y.z", (), ()))
    assert (await answered(runner, Task("a task", 2, "x.y.z", (), ()))).answer == "run_replayed"
