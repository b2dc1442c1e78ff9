"""What a task's trail says after what can happen to it, over simulated delegates that keep a real session."""

from __future__ import annotations

import asyncio

import pytest

from manager.assignment import Assignment
from manager.routing import Wanted
from shared.errors import NotReady
from shared.messages import Need
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.unit.manager.test_dispatch import TASK, WORLD, Desk


def told(assignment: Assignment) -> list[tuple[str, str]]:
    return [(step.what, step.name) for step in assignment.trail.steps]


def passed_over(assignment: Assignment, step: int = -1) -> dict[str, list[str]]:
    refused = assignment.trail.steps[step].passed_over.refused
    return {name: [one.code for one in group.reasons] for group in refused for name in group.delegates}


async def test_a_choice_is_kept_with_its_figures_and_those_who_could_not() -> None:
    desk = Desk()
    one = Simulated(desk, "one", tags=frozenset({"zone:x"}))
    Simulated(desk, "two")
    Simulated(desk, "full", credits=0, tags=frozenset({"zone:x"}))
    Simulated(desk, "gone", tags=frozenset({"zone:x"})).leave()
    assignment = desk.assignment()
    assignment.wanted = Wanted("main", 1, frozenset({"Local"}), frozenset({"zone:x"}))
    running = desk.run(assignment)
    await until(one.tasks)
    assert told(assignment) == [("chosen", "one")]
    assert assignment.trail.steps[0].why == "the only one that can take it now (0 of 10 tasks)"
    await until(lambda: passed_over(assignment))
    assert passed_over(assignment) == {"two": ["selectors_missing"], "full": ["busy"], "gone": ["offline"]}
    one.answer()
    await running
    assert told(assignment) == [("chosen", "one")]


async def test_who_was_lost_is_kept_and_who_got_it_then() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    two = Simulated(desk, "two")
    one.leave()
    await two.serve(running)
    assert told(assignment) == [("chosen", "one"), ("lost", "one"), ("chosen", "two")]
    assert passed_over(assignment) == {"one": ["offline", "tried"]}


async def test_an_answer_after_which_another_may_do_better_is_kept_with_its_code() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    two = Simulated(desk, "two", credits=0)
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    two.credit(1)
    one.answer("unavailable")
    await two.serve(running)
    assert told(assignment) == [("chosen", "one"), ("answered", "one"), ("chosen", "two")]
    assert assignment.trail.steps[1].code == "unavailable"


async def test_what_waits_says_for_whom_and_who_had_room_first() -> None:
    desk = Desk()
    one = Simulated(desk, "one", credits=0)
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(lambda: assignment.seat)
    assert (told(assignment), passed_over(assignment)) == ([("waits", "")], {"one": ["busy"]})
    one.credit(1)
    await one.serve(running)
    assert told(assignment) == [("waits", ""), ("chosen", "one")]
    assert "first to have room" in assignment.trail.steps[1].why


async def test_documents_that_were_lacking_are_no_failure_of_the_delegate() -> None:
    desk = Desk()
    one = Simulated(desk, "one")
    assignment = desk.assignment()
    running = desk.run(assignment)
    await until(one.tasks)
    one.reply(Need(TASK.digest, 1, (WORLD.keyring_document.digest,)))
    one.credit(1)
    await until(lambda: len(one.tasks()) == 2)
    one.answer()
    await running
    assert told(assignment) == [("chosen", "one"), ("needs", "one"), ("chosen", "one")]


async def test_a_refusal_ends_the_trail_with_everybodys_reasons() -> None:
    desk = Desk()
    Simulated(desk, "one")
    assignment = desk.assignment(to="x" * 43)
    with pytest.raises(NotReady) as caught:
        await desk.run(assignment)
    assert (told(assignment), passed_over(assignment)) == ([("refused", "")], {"one": ["not_chosen"]})
    (row,) = caught.value.facts["delegates"]
    assert [rule["rule"] for rule in row["rules"] if rule["verdict"] == "fail"] == ["named"]
    assert "others" not in caught.value.facts


async def test_a_refusal_by_a_large_fleet_tells_of_some_and_counts_the_others() -> None:
    desk = Desk()
    for n in range(40):
        Simulated(desk, f"d{n}")
    assignment = desk.assignment(to="x" * 43)
    with pytest.raises(NotReady) as caught:
        await desk.run(assignment)
    assert len(caught.value.facts["delegates"]) == 32
    assert caught.value.facts["others"] == {"not_chosen": 8}
    assert len(passed_over(assignment)) == 32
    assert assignment.trail.steps[-1].passed_over.others == {"not_chosen": 8}


async def test_predicting_takes_nobodys_turn() -> None:
    desk = Desk()
    simulated = [Simulated(desk, name, credits=5) for name in ("one", "two", "three")]
    got = []
    for number in range(6):
        assignment = desk.assignment()
        assignment.id = str(number) * 43
        predicted = [desk.fleet.choose(WORLD.id, assignment.wanted, "") for _ in range(3)]
        winner = predicted[0]
        assert winner is not None and predicted == [winner] * 3
        why = desk.fleet.why(winner)
        running = desk.run(assignment)
        await until(lambda assignment=assignment: assignment.delegate)  # type: ignore[misc]
        assert (assignment.life.delegate, assignment.trail.steps[0].why) == (winner.kid, why)
        got.append(assignment.name)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert set(got) == {one.row.name for one in simulated}
