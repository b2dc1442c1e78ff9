"""Single stories of the dispatch protocol, on the stage of its state machine: each is one that went wrong, or nearly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from manager.outcomes import Finished
from shared.messages import Credit
from tests.fakes.dispatch_invariants import ALWAYS
from tests.fakes.dispatch_stage import Stage
from tests.fakes.lines import ROOM

EU: dict[str, Any] = {"by_ben": False, "selector": "eu", "priority": "normal", "to": 0}


@pytest.fixture(name="stage")
def _stage() -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
        for one in ALWAYS:
            one(stage)
    finally:
        stage.close()


def told(stage: Stage) -> list[str]:
    """What the requests were answered, in their order; "" for those that wait."""
    return [run.outcomes[0].code if run.outcomes else "" for run in stage.runs]


def one_is_under_way(stage: Stage, capacity: int = 1) -> None:
    """With `alpha`, and it doesn't end."""
    stage.start_delegate("alpha", capacity, ("eu",))
    stage.gate.is_shut = True
    stage.submit("check", **EU)


def sever(stage: Stage) -> None:
    """The first delegate's line breaks."""
    line = stage.line(0)
    assert line is not None
    line.sever()


def it_is_told_and_began_once(stage: Stage) -> None:
    stage.gate.open()
    stage.advance(1.0)
    assert told(stage) == ["ok"]
    assert stage.gate.begun["check", ""] == 1


def test_a_delegate_with_a_new_certificate_gets_what_waited_for_one_like_it(stage: Stage) -> None:
    stage.start_delegate("alpha", 1, ("eu",))
    stage.gate.is_shut = True
    stage.start_rogue("mallory", ())
    rogue = stage.rogues[0]
    rogue.say(Credit(2))
    for _ in range(2):
        stage.submit("check", **EU)
    assert not rogue.tasks
    rogue.renew(("eu",))
    stage.loop.settle()
    assert len(rogue.tasks) == 1


@pytest.mark.parametrize("op", ["check", "exec"])
def test_who_gives_up_a_task_waits_for_no_delegate_that_does_not_read(stage: Stage, op: Any) -> None:
    stage.start_rogue("mallory", ("eu",))
    rogue = stage.rogues[0]
    rogue.say(Credit(5))
    stage.loop.settle()
    assert rogue.line is not None
    # It doesn't read, and is never silent.
    rogue.line.down.is_held = True
    rogue.line.down.under_way.extend([object()] * ROOM)
    stage.submit(op, **EU)
    assert told(stage) == [""]
    began = stage.loop.moment
    stage.cancel(0)
    while not stage.runs[0].is_over:
        stage.advance(1.0)
        rogue.say(Credit(1))
    assert told(stage) == ["task_cancelled"]
    # As long as `Delegate.tell` has patience; then it is cut.
    assert stage.loop.moment - began <= 31
    assert not isinstance(stage.runs[0].outcomes[0], Finished)


def test_a_delegate_whose_line_broke_goes_on_with_its_task_where_nobody_else_could(stage: Stage) -> None:
    one_is_under_way(stage)
    sever(stage)
    stage.advance(3.0)
    it_is_told_and_began_once(stage)


def test_a_lost_task_waits_for_who_is_back_and_busy(stage: Stage) -> None:
    one_is_under_way(stage)
    sever(stage)
    # It is back soon; what it has begun still takes its only place.
    stage.advance(9.0)
    assert told(stage) == [""]
    it_is_told_and_began_once(stage)


def test_another_delegate_takes_what_one_lost_by_a_broken_line(stage: Stage) -> None:
    one_is_under_way(stage)
    stage.start_delegate("beta", 1, ("eu",))
    sever(stage)
    stage.loop.settle()
    assert stage.manager.dispatcher.given[0].name == "beta-1"
    stage.gate.open()
    stage.advance(1.0)
    assert told(stage) == ["ok"]


def test_a_line_that_always_breaks_costs_three_attempts(stage: Stage) -> None:
    one_is_under_way(stage, capacity=3)
    for _ in range(3):
        sever(stage)
        stage.advance(3.0)
    assert told(stage) == ["delegate_lost"]
