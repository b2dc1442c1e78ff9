"""Dispatching, over simulated delegates that keep a real session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from manager.assignment import Assignment
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.routing import Wanted
from shared.documents.answer import AnswerDocument
from shared.errors import Conflict, NotReady, Overloaded, Unavailable
from shared.messages import (
    Cancel,
    Documents,
    FromManager,
    Heartbeat,
    Need,
    Result,
    Task,
)
from shared.task import Life, State
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.fakes.world import World

WORLD = World()
TASK = WORLD.reveal([WORLD.store(WORLD.secret("x"), b"value")])


class Desk:
    """A dispatcher with its fleet."""

    def __init__(self, **limits: Any) -> None:
        self.world, self.clock, self.fleet = WORLD, Clock(), Fleet()
        self.dispatcher = Dispatcher(self.fleet, self.clock, ManagerMetrics("0"), **limits)

    def assignment(self, repeat: str = "any", **wanted: object) -> Assignment:
        return Assignment(
            account=WORLD.id,
            id=TASK.digest,
            compact=TASK.compact,
            op="reveal",
            wanted=Wanted("main", 1, frozenset({"Local"}), frozenset(), **wanted),  # type: ignore[arg-type]
            exp=2**40,
            inputs=(),
            stored=(b"record",),
            documents=[WORLD.keyring_document],
            life=Life(repeat),  # type: ignore[arg-type]
        )

    def run(self, assignment: Assignment) -> asyncio.Task[tuple[Result, AnswerDocument]]:
        return asyncio.create_task(self.dispatcher.run(assignment))


async def test_documents_go_first_and_only_once() -> None:
    desk = Desk()
    one = Simulated(desk, "one", credits=2)
    for _ in range(2):
        running = desk.run(desk.assignment())
        before = len(one.tasks())
        await until(lambda before=before: len(one.tasks()) > before)  # type: ignore[misc]
        one.answer()
        await running
    assert [type(message) for message in one.got] == [Documents, Task, Task]


async def test_an_answer_ends_the_task() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    _, answer = await one.serve(running)
    assert (answer.code, assignment.life.state, assignment.life.attempt) == ("ok", State.DONE, 1)
    assert desk.dispatcher.running(WORLD.id) == {}


async def test_a_lost_delegates_task_goes_to_another_at_once() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    two = Simulated(desk, "two")
    one.leave()
    await two.serve(running)
    assert (assignment.life.attempt, assignment.life.delegate) == (2, two.identity.kid)


async def test_what_may_not_run_twice_ends_as_unknown() -> None:
    desk = Desk()
    one, two = Simulated(desk, "one"), Simulated(desk, "two")
    assignment = desk.assignment("never", to=one.identity.kid)
    running = desk.run(assignment)
    await until(one.tasks)
    one.leave()
    with pytest.raises(Unavailable) as why:
        await running
    assert why.value.code == "outcome_unknown"
    assert assignment.life.state is State.UNKNOWN
    assert two.tasks() == []


async def test_with_no_delegate_the_answer_says_so_at_once() -> None:
    desk = Desk()
    with pytest.raises(NotReady) as why:
        await desk.run(desk.assignment())
    assert (why.value.code, why.value.facts["delegates"]) == ("no_delegate", [])


async def test_the_refusal_names_every_known_delegate_and_why_not() -> None:
    desk = Desk()
    Simulated(desk, "one")
    gone = Simulated(desk, "gone")
    gone.leave()
    assignment = desk.assignment()
    assignment.wanted = Wanted("main", 1, frozenset({"Local"}), frozenset({"zone:x"}))
    with pytest.raises(NotReady) as why:
        await desk.run(assignment)
    reasons = {row["name"]: [one["code"] for one in row["reasons"]] for row in why.value.facts["delegates"]}
    assert reasons == {"one": ["selectors_missing"], "gone": ["offline", "selectors_missing"]}


async def test_a_task_waits_for_a_place_and_the_first_to_wait_is_the_first_served() -> None:
    desk = Desk()
    one = Simulated(desk, "one", credits=1)
    first, second, third = (desk.assignment() for _ in range(3))
    for number, assignment in enumerate((first, second, third)):
        assignment.id = str(number) * 43
    running = [desk.run(assignment) for assignment in (first, second, third)]
    await until(lambda: len(one.tasks()) == 1)
    for served in range(1, 3):
        task = one.tasks()[-1]
        document = AnswerDocument(v=1, acct=WORLD.id, task=task.id, code="ok", iat=1)
        one.reply(Result(task.id, task.attempt, one.identity.sign_document(document)))
        one.credit(1)
        await until(lambda served=served: len(one.tasks()) == served + 1)  # type: ignore[misc]
    assert [task.id for task in one.tasks()] == ["0" * 43, "1" * 43, "2" * 43]
    for under_way in running:
        under_way.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_retryable_answer_tries_another_delegate_and_the_last_one_counts() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    two = Simulated(desk, "two", credits=0)
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    two.credit(1)
    one.answer("unavailable")
    _, answer = await two.serve(running, "unavailable")
    assert (answer.code, assignment.life.state) == ("unavailable", State.FAILED)


async def test_a_delegate_that_lacks_documents_gets_them_and_the_task_again() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    running = desk.run(desk.assignment())
    await until(one.tasks)
    one.reply(Need(TASK.digest, 1, (WORLD.keyring_document.digest,)))
    one.credit(1)
    await until(lambda: len(one.tasks()) == 2)
    assert [type(message) for message in one.got] == [Documents, Task, Documents, Task]
    one.answer()
    await running


async def test_a_delegate_that_never_has_enough_documents_is_given_up() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    running = desk.run(desk.assignment())
    for count in range(1, 5):
        await until(lambda count=count: len(one.tasks()) == count)  # type: ignore[misc]
        one.reply(Need(TASK.digest, 1, ("x" * 43,)))
        one.credit(1)
    with pytest.raises(Unavailable) as why:
        await running
    assert why.value.code == "documents_refused"


async def test_an_answer_to_another_task_is_no_answer() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    running = desk.run(desk.assignment())
    await until(one.tasks)
    document = AnswerDocument(v=1, acct=WORLD.id, task="A" * 43, code="ok", iat=1)
    one.reply(Result(TASK.digest, 1, one.identity.sign_document(document)))
    with pytest.raises(Unavailable) as why:
        await running
    assert why.value.code == "answer_malformed"


async def test_a_delegate_that_is_lost_may_come_back_within_the_grace() -> None:
    desk = Desk(grace_seconds=5)
    one = Simulated(desk, "one")
    running = desk.run(desk.assignment())
    await until(one.tasks)
    one.leave()
    again = Simulated(desk, "again")
    await again.serve(running)


async def test_after_the_grace_the_failure_is_clear() -> None:
    desk = Desk(grace_seconds=0.01)
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    one.leave()
    with pytest.raises(NotReady) as why:
        await running
    assert why.value.code == "no_delegate"
    assert assignment.life.state is State.FAILED


async def test_a_delegate_that_takes_too_long_counts_as_lost() -> None:
    desk = Desk(grace_seconds=0.01, execution_seconds=0.01)
    one = Simulated(desk, "one")
    with pytest.raises(NotReady):
        await desk.run(desk.assignment())
    assert isinstance(one.got[-1], Cancel)


async def test_a_cancelled_task_is_taken_back_from_its_delegate() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    await desk.dispatcher.cancel(assignment)
    with pytest.raises(Conflict) as why:
        await running
    assert why.value.code == "task_cancelled"
    assert isinstance(one.got[-1], Cancel)
    one.answer()  # too late: nobody waits, nothing breaks


async def test_a_task_that_waits_can_be_cancelled() -> None:
    desk = Desk()
    Simulated(desk, "one", credits=0)
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(lambda: assignment.seat is not None)
    await desk.dispatcher.cancel(assignment)
    with pytest.raises(Conflict):
        await running
    assert assignment.life.state is State.CANCELLED


async def test_an_answer_that_is_here_counts_though_the_task_is_given_up_in_the_same_moment() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    one.answer()
    await desk.dispatcher.cancel(assignment)
    _, answer = await running
    assert (answer.code, assignment.life.state) == ("ok", State.DONE)


async def test_a_task_that_is_given_up_as_its_delegate_is_lost_is_cancelled() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    one.leave()
    await desk.dispatcher.cancel(assignment)
    with pytest.raises(Conflict):
        await running
    assert assignment.life.state is State.CANCELLED


async def test_a_task_that_is_given_up_on_its_way_is_taken_back_after_it_was_sent() -> None:
    desk = Desk()
    one = Simulated(desk, "one", credits=0)
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(lambda: assignment.seat is not None)
    one.credit(1)
    await desk.dispatcher.cancel(assignment)
    with pytest.raises(Conflict):
        await running
    assert [type(message) for message in one.got] == [Documents, Task, Cancel]


async def test_a_task_sent_again_waits_for_the_delegate_that_still_owes_its_first_answer() -> None:
    desk = Desk()
    one = Simulated(desk, "one", credits=2)
    first = desk.assignment()
    running = desk.run(first)
    await until(one.tasks)
    await desk.dispatcher.cancel(first)
    with pytest.raises(Conflict):
        await running
    again = desk.run(desk.assignment())
    await asyncio.sleep(0)
    one.credit(1)
    assert len(one.tasks()) == 1
    one.answer()
    one.credit(1)
    await until(lambda: len(one.tasks()) == 2)
    one.answer()
    _, answer = await again
    assert answer.code == "ok"


async def test_a_delegate_that_does_not_read_its_task_is_cut_and_another_gets_it() -> None:
    desk = Desk(execution_seconds=0.05)
    deaf = Simulated(desk, "deaf", credits=2)

    async def never(_: FromManager) -> None:
        await asyncio.get_running_loop().create_future()

    deaf.row.send = never
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(lambda: not deaf.row.online)
    # The other one has all the time that it needs.
    assignment.seconds = 60
    other = Simulated(desk, "other")
    await other.serve(running)


async def test_one_account_holds_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.dispatch.MOST_BYTES", 10)
    desk = Desk()
    one = Simulated(desk, "one", credits=0)
    first = desk.assignment()
    assert first.size == 6
    running = desk.run(first)
    await until(lambda: first.seat is not None)
    with pytest.raises(Overloaded):
        await desk.run(desk.assignment())
    one.credit(1)
    await one.serve(running)


async def test_one_principal_leaves_places_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.dispatch.MOST_RUNNING", 2)
    desk = Desk()
    one = Simulated(desk, "one", credits=0)
    first = desk.assignment()
    first.principal = "first"
    runs = [desk.run(first)]
    await until(lambda: first.seat is not None)
    again, other = desk.assignment(), desk.assignment()
    again.principal, again.id = "first", "again"
    other.principal, other.id = "other", "other"
    with pytest.raises(Overloaded):
        await desk.run(again)
    runs.append(desk.run(other))
    await until(lambda: other.seat is not None)
    one.leave()
    for assignment, run in zip((first, other), runs, strict=True):
        await desk.dispatcher.cancel(assignment)
        with pytest.raises(Conflict):
            await run


async def test_what_is_remembered_of_a_delegate_that_has_gone_holds_no_stream() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    one.leave()
    (gone,) = desk.fleet.known(WORLD.id, Clock().now())
    assert gone.send != one._send
    assert gone.cut != one.leave
    gone.cut()
    await gone.send(Heartbeat())
