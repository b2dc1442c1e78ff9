"""A delegate that stays broken is asked for tests less and less often, and from the beginning once something has changed."""

from __future__ import annotations

import asyncio

from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.unit.manager.test_dispatch import WORLD
from tests.unit.manager.test_probes import Scene, asked

LIFETIME = 300.0


class Scarce(Scene):
    """One delegate is sound, one is broken, and each second a task comes."""

    def __init__(self) -> None:
        super().__init__(1_000.0, LIFETIME)
        self.broken, self.sound = Simulated(self, "broken"), Simulated(self, "sound")

    async def goes_by(self, seconds: int, code: str = "denied") -> list[int]:
        """After how many seconds each test was asked for, that ended so at once."""
        moments = []
        for second in range(seconds):
            before = len(asked(self.broken))
            self.later(1)
            # The sound one has it whatever comes of that.
            self.probes.rescue(WORLD.id, self.task().wanted, [], None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if len(asked(self.broken)) > before:
                moments.append(second + 1)
                self.tells(self.broken, code)
        return moments


def pauses(moments: list[int]) -> list[int]:
    return [after - before for before, after in zip([0, *moments], moments, strict=False)]


async def test_while_it_fails_the_pause_doubles_up_to_the_lifetime_of_a_failure() -> None:
    scene = Scarce()
    scene.tells(scene.broken, "denied")
    assert pauses(await scene.goes_by(5 + 10 + 20 + 40 + 80 + 160)) == [5, 10, 20, 40, 80, 160]
    # What lapses isn't asked for: it gets the next task, whose answer says how it is.
    assert await scene.goes_by(int(LIFETIME) - 1) == []
    assert scene.probes.failing == 1
    scene.later(1)
    assert scene.probes.failing == 0


async def test_a_test_that_passes_begins_anew() -> None:
    scene = Scarce()
    scene.tells(scene.broken, "denied")
    assert pauses(await scene.goes_by(35)) == [5, 10, 20]
    scene.tells(scene.broken, "ok")
    scene.tells(scene.broken, "denied")
    assert pauses(await scene.goes_by(35)) == [5, 10, 20]


async def test_a_new_value_or_revision_begins_anew() -> None:
    scene = Scarce()
    named = WORLD.sign(WORLD.connector_document("vault", secrets=("account.key",)), WORLD.administrator)
    for change in ("value", "revision"):
        scene.tells(scene.broken, "denied", named)
        wanted = scene.task(named).wanted
        for seconds in (5, 10):
            scene.later(seconds)
            before = len(asked(scene.broken))
            assert scene.probes.rescue(WORLD.id, wanted, [], None)
            await until(lambda before=before: len(asked(scene.broken)) > before)  # type: ignore[misc]
            scene.tells(scene.broken, "denied", named)
        scene.later(10)
        assert not scene.probes.rescue(WORLD.id, wanted, [], None)
        if change == "value":
            scene.probes.renewed(WORLD.id, [WORLD.secret("key").document])
        else:
            named = WORLD.next(named, name="renamed")
            scene.tells(scene.broken, "denied", named)
            wanted = scene.task(named).wanted
            scene.later(5)
            assert scene.probes.rescue(WORLD.id, wanted, [], None)


async def test_tests_of_its_own_make_no_pause_longer() -> None:
    scene = Scarce()
    for _ in range(5):
        scene.tells(scene.broken, "denied")
        scene.later(1)
    assert pauses(await scene.goes_by(14)) == [4, 10]


async def test_where_nobody_is_left_it_is_asked_as_before() -> None:
    scene = Scarce()
    scene.tells(scene.broken, "denied")
    assert pauses(await scene.goes_by(35)) == [5, 10, 20]
    scene.sound.leave()
    assert pauses(await scene.goes_by(15)) == [5, 5, 5]


async def test_who_waits_for_tests_that_are_being_made_waits_for_them_whatever_the_pause() -> None:
    scene = Scarce()
    scene.tells(scene.broken, "denied")
    scene.later(5)
    # Asked while the other was there, which goes before it has answered.
    assert scene.probes.rescue(WORLD.id, scene.task().wanted, [], None)
    await until(lambda: asked(scene.broken))
    scene.sound.leave()
    running = scene.run(scene.task())
    await until(lambda: scene.dispatcher.waiting == 1)
    assert scene.broken.tasks() == []
    scene.tells(scene.broken, "ok")
    await scene.broken.serve(running)
    assert len(asked(scene.broken)) == 1
