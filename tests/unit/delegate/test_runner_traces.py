"""What a manager calls a task stands in the delegate's own traces: no longer than a task's name is."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from delegate.clock import Clock
from delegate.metrics import DelegateMetrics
from delegate.runner import Runner
from delegate.tasks import Performed, Tasks
from shared.messages import Result, Task
from shared.tracing import UNRECORDED, Attribute, Span, Untraced


class Told(Untraced):
    """Keeps what spans begin with."""

    def __init__(self) -> None:
        self.attributes: list[dict[str, Attribute]] = []

    def begin(self, name: str, traceparent: str = "", **attributes: Attribute) -> Span:
        self.attributes.append(attributes)
        return UNRECORDED


class Refusing:
    """The heart, to which a task under another name than its own is malformed."""

    async def perform(self, message: Task, *_: Any) -> Performed:
        return Performed(Result(message.id, message.attempt, "signed", b"", ()), "malformed")


class Line:
    """What the manager hears."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def reply(self, _: Result) -> None:
        self.heard.set()


async def test_a_name_of_a_megabyte_fills_no_collector() -> None:
    runner = Runner(cast("Tasks", Refusing()), 4, 60.0, Clock(), DelegateMetrics("0"), "alpha")
    tracer = runner.tracer = Told()
    for name in ("x" * 1_000_000, "y" * 43):
        line = Line()
        runner.accept(Task(name, 1, "x.y.z", (), ()), cast("Any", line))
        async with asyncio.timeout(30):
            await line.heard.wait()
    assert [one["task"] for one in tracer.attributes] == ["x" * 64, "y" * 43]
