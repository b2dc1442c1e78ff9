"""What the manager remembers of tests ends in time by itself, takes no more room than there are tests, and wakes who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, ClassVar

import pytest

import manager.probes
import manager.prospects
from manager.probes import MOST_ASKED, MOST_TOLD
from manager.stream import Streams
from shared.errors import NotReady
from shared.messages import Drain, FromDelegate
from shared.session import Side
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.fakes.world import World
from tests.unit.manager.test_dispatch import WORLD, Desk
from tests.unit.manager.test_probes import VAULT, Running, Scene, asked


async def test_a_failure_lapses_in_its_own_time_though_a_success_that_lasts_longer_came_before_it() -> None:
    scene = Scene(failure=0.05)
    one, two = Simulated(scene, "one"), Simulated(scene, "two")
    scene.tells(two, "ok")
    scene.tells(one, "denied")
    scene.clock.at += 0.05
    await until(lambda: not scene.probes.failing)
    assert set(two.row.probed) == {VAULT.digest}


async def waiting_for_the_last(scene: Scene) -> tuple[Simulated, Simulated, Running]:
    """One that failed its test, one that didn't and is busy, and what waits for that."""
    one, busy = Simulated(scene, "one"), Simulated(scene, "busy", credits=0)
    scene.tells(one, "denied")
    running = scene.run(scene.task())
    await until(lambda: scene.dispatcher.waiting)
    await asyncio.sleep(0)
    return one, busy, running


async def it_is_tested_and_has_it(scene: Scene, one: Simulated, running: Running) -> None:
    await until(lambda: asked(one))
    scene.tells(one, "ok")
    await one.serve(running)


async def test_who_waits_for_the_last_one_whose_test_passed_has_the_others_tested_when_that_fails_too() -> None:
    scene = Scene()
    one, busy, running = await waiting_for_the_last(scene)
    scene.later(6)
    scene.tells(busy, "unavailable")
    await it_is_tested_and_has_it(scene, one, running)


async def test_who_waits_for_the_last_one_whose_test_passed_has_the_others_tested_when_that_shuts_down() -> None:
    scene = Scene()
    one, busy, running = await waiting_for_the_last(scene)
    scene.later(6)

    class Says:
        """The stream of one that is about to shut down."""

        messages: ClassVar[list[FromDelegate]] = [Drain()]

        async def read(self) -> FromDelegate | None:
            if not self.messages:
                return None
            busy.row.session.record(Side.DELEGATE, self.messages[0])
            return self.messages.pop(0)

    unused: Any = None
    streams = Streams(unused, scene.fleet, scene.dispatcher, unused, scene.clock, scene.metrics, ())
    stream: Any = Says()
    await streams._listen(stream, busy.row)
    await it_is_tested_and_has_it(scene, one, running)


async def test_a_test_that_passes_as_the_one_before_it_offers_nothing_anew() -> None:
    scene = Scene()
    one = Simulated(scene, "one", credits=0)
    offered: list[object] = []
    scene.probes.mended = offered.append
    for code in ("ok", "ok", "denied", "denied", "ok", "ok"):
        scene.tells(one, code)
    assert offered == [one.row]


async def test_an_account_that_has_many_tests_pushes_out_its_own_and_not_those_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager.probes, "MOST_RESULTS", 10)
    scene = Scene()
    one, theirs = Simulated(scene, "one"), Simulated(scene, "theirs")
    scene.fleet.leave(theirs.row, 0)
    theirs.row.account, theirs.row.online = WORLD.opaque("another account"), True
    scene.fleet.join(theirs.row)
    scene.tells(one, "denied")
    for number in range(30):
        scene.tells(theirs, "ok", WORLD.sign(WORLD.connector_document(f"c{number}"), WORLD.administrator))
    assert scene.probes.failing == 1
    assert (set(one.row.probed), len(theirs.row.probed)) == ({VAULT.digest}, 9)


async def test_a_task_that_waits_for_tags_that_its_delegate_loses_is_told_that_nobody_has_them() -> None:
    desk = Desk(grace_seconds=0.02)
    busy = Simulated(desk, "busy", credits=0, tags=frozenset({"disk:fast"}))
    assignment = desk.assignment()
    assignment.wanted = replace(assignment.wanted, selectors=frozenset({"disk:fast"}))
    running = desk.run(assignment)
    await until(lambda: desk.dispatcher.waiting)
    desk.fleet.renew(busy.row, busy.row.certificate)
    desk.dispatcher.prospects.narrowed(WORLD.id)
    with pytest.raises(NotReady) as why:
        await running
    (row,) = why.value.facts["delegates"]
    assert [reason["code"] for reason in row["reasons"]] == ["selectors_missing", "busy"]


async def test_a_line_is_looked_through_a_few_times_a_second_however_often_fewer_may_have_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager.prospects, "LOOK_SECONDS", 0.05)
    scene = Scene()
    _, busy, running = await waiting_for_the_last(scene)
    looks = []
    monkeypatch.setattr(scene.dispatcher.prospects, "_look", lambda account, ends: looks.append(ends))
    for _ in range(100):
        for code in ("unavailable", "ok"):
            scene.tells(busy, code)
    assert looks == [False]
    await until(lambda: len(looks) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_of_what_connectors_name_there_is_one_record_whoever_tests_them_and_none_once_nobody_does() -> None:
    scene, world = Scene(), World()
    many = tuple(sorted(f"account.key_{number}" for number in range(64)))
    old = world.sign(world.connector_document("named", secrets=many), world.administrator)
    new = world.next(old, secrets=("account.key_0",))
    for name in "abc":
        scene.tells(Simulated(scene, name), "denied", old)
    assert len(scene.probes._named) == 1 + 64
    scene.tells(Simulated(scene, "d"), "denied", new)
    assert len(scene.probes._named) == 2
    scene.probes.renewed(WORLD.id, [world.secret("key_0").document])
    assert (scene.probes.failing, len(scene.probes._named)) == (0, 0)


async def test_a_new_revision_is_tested_by_a_few_at_once_however_many_tested_the_older_one() -> None:
    scene, world = Scene(), World()
    old = world.publish(world.connector_document("vault"))
    fleet = [Simulated(scene, f"d{number}") for number in range(MOST_ASKED + 5)]
    for each in fleet:
        scene.tells(each, "denied", old)
    scene.probes.revised(world.book(), [world.revise(old, name="renamed")])
    await until(lambda: sum(bool(asked(each)) for each in fleet) == MOST_ASKED)
    await asyncio.sleep(0)
    assert sum(bool(asked(each)) for each in fleet) == MOST_ASKED
    assert scene.probes.failing == 0


async def test_a_delegate_is_asked_about_no_more_connectors_at_once_than_it_takes() -> None:
    scene = Scene()
    one = Simulated(scene, "one")
    connectors = [WORLD.sign(WORLD.connector_document(f"c{at}"), WORLD.administrator) for at in range(MOST_TOLD + 5)]
    running = scene.run(scene.task(*connectors))
    await one.serve(running, "unavailable")
    await until(lambda: asked(one))
    assert [len(probe.connectors) for probe in asked(one)] == [MOST_TOLD]
