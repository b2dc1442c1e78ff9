"""A delegate whose clock is wrong: the last choice while it is, and what it refuses meanwhile another one is asked, once."""

from __future__ import annotations

from typing import Any, cast

import pytest

from manager.assignment import Assignment
from manager.routing import explain
from shared.documents.answer import AnswerDocument
from shared.messages import Result
from shared.task import State
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.unit.manager.test_dispatch import WORLD
from tests.unit.manager.test_probes import Scene

HOUR = 3_600


class Timed(Scene):
    """Delegates that say what time it is by their clocks."""

    def beats(self, one: Simulated, ahead: int) -> None:
        self.dispatcher.clocks.told(one.row, self.clock.now() + ahead)

    def refuses(self, one: Simulated, code: str, ahead: int) -> None:
        """It answers the task that it has, and signs by its clock."""
        task = one.tasks()[-1]
        document: Any = AnswerDocument(v=1, acct=WORLD.id, task=task.id, code=code, iat=self.clock.now() + ahead)  # type: ignore[arg-type]
        one.reply(Result(task.id, task.attempt, one.identity.sign_document(document)))

    @property
    def off(self) -> list[str]:
        return sorted(one.name for one in self.fleet if one.is_off)


def steps(assignment: Assignment) -> list[tuple[str, str]]:
    return [(str(one["what"]), str(one.get("code"))) for one in assignment.trail.told()]


@pytest.mark.parametrize(("ahead", "words"), [(HOUR, "3600 seconds ahead of"), (-HOUR, "3600 seconds behind")])
async def test_one_whose_clock_is_wrong_is_passed_over_until_it_is_right(ahead: int, words: str) -> None:
    scene = Timed()
    one, two, three = (Simulated(scene, name) for name in ("one", "two", "three"))
    scene.beats(one, ahead)
    for chosen in (two, three, two):
        await scene.has(chosen)
    (row,), _ = explain([one.row.candidate(scene.clock.now())], scene.task().wanted)
    (reason,) = cast("list[dict[str, str]]", row["reasons"])
    assert (row["verdict"], reason["code"]) == ("waits", "clock_wrong")
    assert words in reason["detail"] and "NTP" in reason["remedy"]
    assert scene.off == ["one"]
    scene.beats(one, 60)
    assert scene.off == []
    await scene.has(one)


async def test_two_minutes_are_tolerated_and_who_says_nothing_is_taken_at_his_word() -> None:
    scene = Timed()
    one, _two = Simulated(scene, "one"), Simulated(scene, "two")
    scene.beats(one, 120)
    await scene.has(one)
    silent = Simulated(scene, "silent")
    scene.dispatcher.clocks.told(silent.row, 0)
    assert (scene.off, silent.row.clock) == ([], None)


async def test_where_all_clocks_differ_one_has_the_task_all_the_same() -> None:
    """It may be the manager's that is wrong; and if not, the signed answer says what is."""
    scene = Timed()
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    for each in (one, two):
        scene.beats(each, -HOUR)
    assignment = scene.task()
    running = scene.run(assignment)
    await until(lambda: bool(one.tasks() or two.tasks()))
    (has := one if one.tasks() else two).answer()
    assert (await running)[1].code == "ok"
    assert assignment.life.delegate == has.identity.kid


async def test_a_task_that_waits_for_the_last_right_one_gets_one_whose_clock_becomes_right() -> None:
    scene = Timed()
    one, two = Simulated(scene, "one"), Simulated(scene, "two", credits=0)
    scene.beats(one, HOUR)
    running = scene.run(scene.task())
    await until(lambda: scene.dispatcher.waiting == 1)
    assert one.tasks() == []
    scene.beats(one, 0)
    await until(one.tasks)
    one.answer()
    await running
    assert two.tasks() == []


@pytest.mark.parametrize(("code", "ahead"), [("expired", HOUR), ("denied", -HOUR), ("unauthenticated", -HOUR)])
async def test_what_a_wrong_clock_refuses_another_one_is_asked(code: str, ahead: int) -> None:
    scene = Timed()
    one = Simulated(scene, "one")
    scene.beats(one, 0)
    assignment = scene.task()
    running = scene.run(assignment)
    await until(one.tasks)
    two = Simulated(scene, "two")
    scene.refuses(one, code, ahead)
    assert (await two.serve(running))[1].code == "ok"
    assert ("answered", "clock_wrong") in steps(assignment)
    # What it signed says it sooner than the next heartbeat.
    assert scene.off == ["one"]
    assert assignment.life.attempt == 2


async def test_one_refusal_ends_the_task_where_the_clock_is_right() -> None:
    scene = Timed()
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    assignment = scene.task()
    running = scene.run(assignment)
    await until(one.tasks)
    scene.refuses(one, "expired", 120)
    assert (await running)[1].code == "expired"
    assert (two.tasks(), assignment.life.state, assignment.life.code) == ([], State.FAILED, "expired")


async def test_clocks_that_lie_have_no_task_more_than_once_and_three_at_most() -> None:
    scene = Timed()
    liars = [Simulated(scene, f"liar{number}") for number in range(6)]
    assignment = scene.task()
    running = scene.run(assignment)
    for _ in range(3):
        await until(lambda: any(assignment.id in one.row.session.outstanding for one in liars))
        (has,) = [one for one in liars if assignment.id in one.row.session.outstanding]
        scene.refuses(has, "expired", HOUR)
    assert (await running)[1].code == "expired"
    assert sorted(len(one.tasks()) for one in liars) == [0, 0, 0, 1, 1, 1]
    assert (assignment.life.state, assignment.life.code) == (State.FAILED, "expired")


async def test_what_may_not_run_twice_stays_with_its_one_delegate() -> None:
    scene = Timed()
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    assignment = scene.task(repeat="never", to=one.identity.kid)
    running = scene.run(assignment)
    await until(one.tasks)
    scene.refuses(one, "expired", HOUR)
    assert (await running)[1].code == "expired"
    assert (two.tasks(), assignment.life.state, assignment.life.code) == ([], State.FAILED, "expired")


async def test_a_clock_that_flickers_fills_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Timed()
    one = Simulated(scene, "one")
    for number in range(50):
        scene.beats(one, HOUR if number % 2 else 0)
    assert capsys.readouterr().out.count("clock.differs") == 1
