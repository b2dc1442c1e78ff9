"""Probes: who failed a test is passed over for a while, never for long where hardly another is left, and never for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import manager.probes
from manager.assignment import Assignment
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.probes import Probes
from shared.documents.answer import AnswerDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import NotReady
from shared.messages import Documents, Probe, Result, Task
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.fakes.world import World
from tests.unit.manager.test_dispatch import WORLD, Desk

VAULT = WORLD.sign(WORLD.connector_document("vault"), WORLD.administrator)
SUCCESS_SECONDS, FAILURE_SECONDS = 1_000.0, 100.0

Running = asyncio.Task[tuple[Result, AnswerDocument]]


class StandingClock(Clock):
    """Both clocks stand."""

    def __init__(self) -> None:
        self.at = float(WORLD.now)

    def now(self) -> int:
        return int(self.at)

    def monotonic(self) -> float:
        return self.at


class Scene(Desk):
    """A dispatcher with its fleet and what delegates' tests came to."""

    clock: StandingClock

    def __init__(self, success: float = SUCCESS_SECONDS, failure: float = FAILURE_SECONDS) -> None:
        self.world, self.clock, self.metrics = WORLD, StandingClock(), ManagerMetrics("0")
        self.fleet = Fleet()
        self.probes = Probes(self.fleet, self.clock, self.metrics, success, failure)
        self.dispatcher = Dispatcher(self.fleet, self.clock, self.metrics, probes=self.probes)

    def task(self, *connectors: Verified[ConnectorDocument], repeat: str = "any", **wanted: Any) -> Assignment:
        digests = frozenset(one.digest for one in connectors or (VAULT,))
        return self.assignment(repeat, connectors=digests, **wanted)

    def tells(self, one: Simulated, code: str, connector: Verified[ConnectorDocument] = VAULT) -> None:
        self.probes.told(one.row, connector.document, connector.digest, code)

    def later(self, seconds: float) -> None:
        self.clock.at += seconds
        self.probes.tidy()

    async def has(self, one: Simulated, *others: Simulated) -> None:
        """The next task goes to that one."""
        before = len(one.tasks())
        running = self.run(self.task())
        await until(lambda: len(one.tasks()) > before)
        one.answer()
        one.credit(1)
        await running


def asked(one: Simulated) -> list[Probe]:
    return [message for message in one.got if isinstance(message, Probe)]


async def test_who_failed_a_test_is_passed_over_until_it_lapses_or_the_next_one_passes() -> None:
    scene = Scene()
    one, two, three = (Simulated(scene, name) for name in ("one", "two", "three"))
    scene.tells(one, "denied")
    assert scene.probes.failing == 1
    for chosen in (two, three, two, three):
        await scene.has(chosen)
    assert asked(one) == []
    scene.later(FAILURE_SECONDS)
    assert scene.probes.failing == 0
    await scene.has(one)
    scene.tells(one, "unavailable")
    await scene.has(two)
    scene.tells(one, "ok")
    await scene.has(three)
    await scene.has(one)


async def test_a_failed_test_says_nothing_of_tasks_that_go_through_another_connector_or_revision() -> None:
    scene = Scene()
    one = Simulated(scene, "one", credits=2)
    scene.tells(one, "denied")
    for other in (WORLD.sign(WORLD.connector_document("other"), WORLD.administrator), WORLD.next(VAULT, name="new")):
        running = scene.run(scene.task(other))
        await until(one.tasks)
        one.answer()
        await running
        one.got.clear()


async def test_a_task_without_a_place_is_told_how_old_the_failure_is_and_when_it_lapses() -> None:
    scene = Scene()
    one = Simulated(scene, "one")
    scene.tells(one, "denied")
    scene.later(40)
    with pytest.raises(NotReady) as why:
        await scene.run(scene.task(to="another"))
    (row,) = why.value.facts["delegates"]
    details = {reason["code"]: reason["detail"] for reason in row["reasons"]}
    assert details["probe_failed"] == "its test of vault 40 s ago ended as denied and counts for 60 s more"


async def test_when_one_is_left_the_others_test_again_at_once_and_the_task_does_not_wait_for_that() -> None:
    scene = Scene()
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    scene.tells(one, "denied")
    scene.later(6)
    await scene.has(two)
    await until(lambda: asked(one))
    assert asked(one) == [Probe((VAULT.digest,))]
    assert asked(two) == []
    scene.tells(one, "ok")
    await scene.has(one)


async def all_have_failed(scene: Scene, assignment: Assignment) -> tuple[Simulated, Simulated, Running]:
    """Two delegates, and what runs: they are asked for another test."""
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    for each in (one, two):
        scene.tells(each, "denied")
    scene.later(6)
    running = scene.run(assignment)
    await until(lambda: asked(one) and asked(two))
    return one, two, running


async def test_when_all_have_failed_they_test_again_at_once_and_the_first_that_passes_gets_the_task() -> None:
    scene = Scene()
    one, two, running = await all_have_failed(scene, scene.task())
    assert [type(message) for message in one.got] == [Documents, Probe]
    scene.tells(one, "denied")
    assert one.tasks() == two.tasks() == []
    scene.tells(two, "ok")
    await until(two.tasks)
    assert one.tasks() == []
    two.answer()
    await running


async def test_when_all_fail_again_one_of_them_has_the_task_and_says_what_is_wrong() -> None:
    scene = Scene()
    assignment = scene.task()
    one, two, running = await all_have_failed(scene, assignment)
    for each in (one, two):
        scene.tells(each, "denied")
    await until(lambda: one.tasks() or two.tasks())
    chosen = one if one.tasks() else two
    chosen.answer("denied")
    _, answer = await running
    assert answer.code == "denied"
    (step,) = [step for step in assignment.trail.told() if step["what"] == "chosen"]
    assert step["why"].startswith("no delegate's test passes")
    # That is new: the next task doesn't have them tested once more.
    await asyncio.sleep(0)
    again = scene.run(scene.task())
    other = two if chosen is one else one
    await until(other.tasks)
    other.answer()
    await again
    assert len(asked(other)) == 1


async def test_who_does_not_answer_in_time_counts_as_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.probes, "WAIT_SECONDS", 0.02)
    scene = Scene()
    one = Simulated(scene, "one", credits=2)
    scene.tells(one, "denied")
    scene.later(6)
    running = scene.run(scene.task())
    await one.serve(running)
    assert scene.probes.failing == 0
    await scene.has(one)
    assert len(asked(one)) == 1


async def test_a_task_waits_for_a_busy_delegate_rather_than_for_one_that_failed() -> None:
    scene = Scene()
    one, busy = Simulated(scene, "one"), Simulated(scene, "busy", credits=0)
    scene.tells(one, "denied")
    scene.later(6)
    running = scene.run(scene.task())
    await until(lambda: asked(one))
    scene.tells(one, "denied")
    await asyncio.sleep(0)
    assert one.tasks() == []
    busy.credit(1)
    await busy.serve(running)
    # When the busy one goes, those that wait have the others tested.
    running = scene.run(scene.task())
    await asyncio.sleep(0)
    scene.later(6)
    busy.leave()
    await until(lambda: len(asked(one)) == 2)
    scene.tells(one, "ok")
    await one.serve(running)


async def test_a_task_that_names_its_delegate_waits_for_its_test_too() -> None:
    scene = Scene()
    one, _ = Simulated(scene, "one"), Simulated(scene, "two")
    scene.tells(one, "denied")
    scene.later(6)
    running = scene.run(scene.task(repeat="never", to=one.identity.kid))
    await until(lambda: asked(one))
    assert one.tasks() == []
    scene.tells(one, "ok")
    await one.serve(running)


@pytest.mark.parametrize("code", ["unavailable", "not_ready", "denied", "unauthenticated"])
async def test_an_answer_that_may_be_for_the_connector_has_it_tested_at_once_and_once(code: Any) -> None:
    scene = Scene()
    one = Simulated(scene, "one", credits=5)
    for number in range(3):
        running = scene.run(scene.task())
        await until(lambda number=number: len(one.tasks()) > number)  # type: ignore[misc]
        one.answer(code)
        await running
    await until(lambda: asked(one))
    assert len(asked(one)) == 1
    assert 'privyseal_manager_probes_asked_total{reason="answer"} 1.0' in scene.metrics.exposition().decode()


@pytest.mark.parametrize("code", ["ok", "not_found", "conflict", "overloaded", "malformed"])
async def test_an_answer_that_says_nothing_of_the_connector_has_nothing_tested(code: Any) -> None:
    scene = Scene()
    one = Simulated(scene, "one")
    running = scene.run(scene.task())
    await one.serve(running, code)
    await asyncio.sleep(0)
    assert asked(one) == []


async def test_a_good_answer_of_one_whose_test_failed_has_it_tested_at_once() -> None:
    scene = Scene()
    one = Simulated(scene, "one")
    running = scene.run(scene.task())
    await until(one.tasks)
    scene.tells(one, "unavailable")
    scene.later(6)
    one.answer()
    await running
    await until(lambda: asked(one))


async def test_a_new_revision_forgets_what_its_older_one_came_to_and_is_tested_by_who_tested_that() -> None:
    scene, world = Scene(), World()
    author = world.identity("author")
    grant = world.grant(author, ["edit", "use"])
    old = world.publish(world.connector_document("vault"), author)
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    scene.tells(one, "denied", old)
    new = world.revise(old, author, name="renamed")
    book = world.book()
    scene.probes.revised(book, [new])
    assert scene.probes.failing == 0 and one.row.probed == {}
    await until(lambda: asked(one))
    assert one.got == [Documents((grant.compact, new.compact)), Probe((new.digest,))]
    assert two.got == []
    # Who is told of it again isn't asked again, and a deleted one is of no interest.
    scene.tells(one, "denied", new)
    scene.probes.revised(book, [new])
    assert scene.probes.failing == 1
    scene.probes.revised(book, [world.revise(new, author, deleted=True)])
    await asyncio.sleep(0)
    assert scene.probes.failing == 0 and len(asked(one)) == 1


async def test_a_new_revision_that_names_a_secret_is_not_asked_for_since_only_a_task_brings_that() -> None:
    scene, world = Scene(), World()
    old = world.publish(world.connector_document("vault"))
    one = Simulated(scene, "one")
    scene.tells(one, "denied", old)
    scene.probes.revised(world.book(), [world.revise(old, secrets=("account.key",)), world.status])
    await asyncio.sleep(0)
    assert (scene.probes.failing, one.got) == (0, [])


async def test_a_new_value_of_a_secret_that_the_connector_names_forgets_its_failures() -> None:
    scene, world = Scene(), World()
    named = world.sign(world.connector_document("named", secrets=("account.key", "account.other")), world.administrator)
    one = Simulated(scene, "one")
    scene.tells(one, "denied", named)
    scene.probes.renewed(WORLD.id, [world.secret("unrelated").document])
    scene.probes.renewed(world.opaque("another account"), [world.secret("key").document])
    assert scene.probes.failing == 1
    running = scene.run(scene.task(named))
    await asyncio.sleep(0)
    scene.probes.renewed(WORLD.id, [world.secret("key").document])
    assert scene.probes.failing == 0
    await one.serve(running)


async def test_a_failure_stays_with_an_identity_that_comes_back_and_lapses_while_it_is_away() -> None:
    scene = Scene()
    one = Simulated(scene, "one")
    scene.tells(one, "denied")
    one.leave()
    again = Simulated(scene, "one")
    two, three = Simulated(scene, "two"), Simulated(scene, "three")
    await scene.has(two)
    await scene.has(three)
    assert again.tasks() == []
    again.leave()
    scene.later(FAILURE_SECONDS)
    assert scene.probes.failing == 0
    third = Simulated(scene, "one")
    await scene.has(third)


async def test_when_a_failure_lapses_who_waits_for_that_delegate_has_it() -> None:
    scene = Scene(failure=0.05)
    one, busy = Simulated(scene, "one"), Simulated(scene, "busy", credits=0)
    scene.tells(one, "denied")
    running = scene.run(scene.task())
    await until(lambda: scene.dispatcher.waiting)
    assert busy.tasks() == one.tasks() == []
    scene.clock.at += 0.05
    await one.serve(running)


async def test_a_lifetime_of_zero_remembers_nothing() -> None:
    scene = Scene(success=0, failure=0)
    one = Simulated(scene, "one")
    scene.tells(one, "denied")
    assert one.row.probed == {}
    await scene.has(one)


async def test_what_is_remembered_is_bounded_and_what_lapses_first_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.probes, "MOST_RESULTS", 3)
    scene = Scene()
    one = Simulated(scene, "one")
    connectors = [WORLD.sign(WORLD.connector_document(f"c{at}"), WORLD.administrator) for at in range(6)]
    for connector in connectors:
        scene.tells(one, "denied", connector)
        scene.tells(one, "unavailable", connector)
        scene.clock.at += 1
    assert scene.probes.failing == 3
    assert set(one.row.probed) == {connector.digest for connector in connectors[3:]}
    assert all(isinstance(message, Task | Documents) for message in one.got)
