"""The order of those that wait for a delegate's place: by priority, and principals in turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from manager.assignment import Assignment
from shared.errors import Conflict
from shared.task import Priority
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.unit.manager.test_dispatch import Desk


class Line(Desk):
    """A desk that remembers what it has running."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[asyncio.Task[object]] = []

    def start(self, assignment: Assignment) -> None:
        self.runs.append(asyncio.create_task(self.dispatcher.run(assignment)))


async def wait(desk: Line, id: str, principal: str = "p", priority: Priority = "normal") -> Assignment:
    assignment = desk.assignment()
    assignment.id, assignment.principal, assignment.priority = id, principal, priority
    desk.start(assignment)
    await until(lambda: assignment.seat is not None)
    return assignment


async def served(desk: Line, one: Simulated, count: int) -> list[str]:
    """The ids of the next ones to be served, each after the one before."""
    ids = []
    for _ in range(count):
        before = len(one.tasks())
        one.credit(1)
        await until(lambda before=before: len(one.tasks()) > before)  # type: ignore[misc]
        ids.append(one.tasks()[-1].id)
    return ids


@pytest.fixture
def desk() -> Line:
    return Line()


async def end(desk: Line) -> None:
    for assignment in list(desk.dispatcher.running(desk.assignment().account).values()):
        await desk.dispatcher.cancel(assignment)
    results = await asyncio.gather(*desk.runs, return_exceptions=True)
    assert {type(one) for one in results} <= {Conflict}


async def test_the_higher_priority_is_served_first_and_then_who_came_first(desk: Line) -> None:
    one = Simulated(desk, "one", credits=0)
    for id, priority in (("a", "low"), ("b", "normal"), ("c", "high"), ("d", "normal")):
        await wait(desk, id, priority=priority)  # type: ignore[arg-type]
    assert await served(desk, one, 4) == ["c", "b", "d", "a"]
    await end(desk)


async def test_principals_take_turns_however_many_tasks_each_has(desk: Line) -> None:
    one = Simulated(desk, "one", credits=0)
    for number in range(5):
        await wait(desk, f"flood {number}", "flooding")
    await wait(desk, "other", "other")
    assert await served(desk, one, 3) == ["flood 0", "other", "flood 1"]
    await end(desk)


async def test_what_no_delegate_with_a_place_may_have_keeps_nobody_behind_it_waiting(desk: Line) -> None:
    one = Simulated(desk, "one", credits=0)
    Simulated(desk, "two", credits=0, tags=frozenset({"zone:b"}))
    stuck = desk.assignment()
    stuck.id, stuck.priority = "stuck", "high"
    stuck.wanted = replace(stuck.wanted, selectors=frozenset({"zone:b"}))
    desk.start(stuck)
    await until(lambda: stuck.seat is not None)
    await wait(desk, "next")
    assert await served(desk, one, 1) == ["next"]
    await end(desk)


async def test_several_places_at_once_go_to_several(desk: Line) -> None:
    one = Simulated(desk, "one", credits=0)
    for id in ("a", "b", "c"):
        await wait(desk, id)
    one.credit(2)
    await until(lambda: len(one.tasks()) == 2)
    assert [task.id for task in one.tasks()] == ["a", "b"]
    assert desk.dispatcher.waiting == 1
    await end(desk)
