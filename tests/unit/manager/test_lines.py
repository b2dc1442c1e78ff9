"""Lines of tasks that wait: for a delegate over its limit as for a busy one, bounded, and with the time that they take."""

from __future__ import annotations

import pytest

from shared.errors import Conflict, Overloaded
from shared.messages import Heartbeat, Use
from shared.session import Side
from shared.task import State
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.unit.manager.test_dispatch import WORLD, Desk

OVER = Heartbeat(0, Use(95, 80, True), Use(40, 80, False))
BELOW = Heartbeat(0, Use(60, 80, False), Use(40, 80, False))


async def test_a_delegate_over_its_limit_is_passed_over() -> None:
    desk = Desk()
    one, two = Simulated(desk, "one", credits=5), Simulated(desk, "two", credits=5)
    one.row.session.record(Side.DELEGATE, OVER)
    for _ in range(2):
        before = len(two.tasks())
        running = desk.run(desk.assignment())
        await until(lambda before=before: len(two.tasks()) > before)  # type: ignore[misc]
        two.answer()
        await running
    assert one.tasks() == []


async def test_a_task_waits_for_one_over_its_limit_and_goes_to_it_when_it_is_below() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    one.row.session.record(Side.DELEGATE, OVER)
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(lambda: assignment.seat is not None)
    desk.dispatcher.offer(one.row)
    assert one.tasks() == []
    one.row.session.record(Side.DELEGATE, BELOW)
    desk.dispatcher.offer(one.row)
    await one.serve(running)


async def test_an_overloaded_answer_goes_on_to_another_delegate() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    running = desk.run(desk.assignment())
    await until(one.tasks)
    two = Simulated(desk, "two")
    one.answer("overloaded")
    _, answer = await two.serve(running)
    assert answer.code == "ok"


async def test_beyond_a_bounded_line_tasks_are_refused_at_once_with_the_time_that_it_takes() -> None:
    desk = Desk(most_waiting=4)
    one = Simulated(desk, "one", credits=0)
    waiting = []
    for number in range(4):
        assignment = desk.assignment()
        assignment.id, assignment.principal = f"{number}", f"principal {number}"
        waiting.append((assignment, desk.run(assignment)))
        await until(lambda: assignment.seat is not None)  # noqa: B023
    late = desk.assignment()
    with pytest.raises(Overloaded) as refused:
        await desk.run(late)
    # Nothing has ended yet, so that nobody knows better.
    assert (refused.value.code, refused.value.facts) == ("queue_full", {"retry_after": 60})
    assert late.life.state is State.FAILED
    assert len(desk.dispatcher.running(WORLD.id)) == 4
    for assignment, running in waiting:
        await desk.dispatcher.cancel(assignment)
        with pytest.raises(Conflict):
            await running
    # One that has ended makes a pace.
    one.credit(1)
    done = desk.run(desk.assignment())
    await until(one.tasks)
    one.answer()
    await done
    waiting = []
    for number in range(4):
        assignment = desk.assignment()
        assignment.id, assignment.principal = f"{number}", f"principal {number}"
        waiting.append((assignment, desk.run(assignment)))
        await until(lambda: assignment.seat is not None)  # noqa: B023
    with pytest.raises(Overloaded) as again:
        await desk.run(desk.assignment())
    assert 5 <= again.value.facts["retry_after"] < 60
    for assignment, running in waiting:
        await desk.dispatcher.cancel(assignment)
        with pytest.raises(Conflict):
            await running


async def test_one_principal_takes_half_of_the_line() -> None:
    desk = Desk(most_waiting=2)
    Simulated(desk, "one", credits=0)
    first, again, other = desk.assignment(), desk.assignment(), desk.assignment()
    first.principal = again.principal = "first"
    again.id, other.id, other.principal = "again", "other", "other"
    runs = [desk.run(first)]
    await until(lambda: first.seat is not None)
    with pytest.raises(Overloaded):
        await desk.run(again)
    runs.append(desk.run(other))
    await until(lambda: other.seat is not None)
    for assignment, run in zip((first, other), runs, strict=True):
        await desk.dispatcher.cancel(assignment)
        with pytest.raises(Conflict):
            await run


async def test_what_has_begun_before_is_not_sent_away_from_a_full_line() -> None:
    desk = Desk(most_waiting=1)
    lost = Simulated(desk, "lost")
    begun = desk.assignment()
    begun.id = "begun"
    running = desk.run(begun)
    await until(lost.tasks)
    other = Simulated(desk, "other", credits=0)
    full = desk.assignment()
    waiting = desk.run(full)
    await until(lambda: full.seat is not None)
    lost.leave()
    await until(lambda: begun.seat is not None)
    other.credit(2)
    await until(lambda: len(other.tasks()) == 2)
    for assignment, run in ((full, waiting), (begun, running)):
        await desk.dispatcher.cancel(assignment)
        with pytest.raises(Conflict):
            await run
