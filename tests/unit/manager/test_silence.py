"""The manager's look at its streams: who is silent is cut in time, and nobody for what held the manager up."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

from structlog.testing import capture_logs

from manager.clock import Clock
from manager.fleet import Delegate, Fleet
from manager.metrics import ManagerMetrics
from manager.stream import Streams
from shared.documents.certificate import LIFETIME_SECONDS
from shared.messages import FromManager, Heartbeat
from shared.session import Session
from tests.fakes.world import World

WORLD = World()


class SetClock(Clock):
    """Goes on when a test says so."""

    moment = 1_000.0
    ahead = 0

    def now(self) -> int:
        return WORLD.now + self.ahead

    def monotonic(self) -> float:
        return self.moment


class Site:
    """The streams of a manager, and delegates on them that say what a test says."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.fleet = Fleet()
        self.cut: list[str] = []
        self.told: list[tuple[str, float]] = []
        nobody = cast(Any, None)
        metrics = ManagerMetrics("0")
        self.streams = Streams(nobody, self.fleet, nobody, nobody, self.clock, metrics, ["http://127.0.0.1:1"])

    def join(self, name: str) -> Delegate:
        identity = WORLD.identity(name)

        async def send(message: FromManager) -> None:
            assert isinstance(message, Heartbeat)
            self.told.append((name, self.clock.moment))
            one.spoke = self.clock.moment

        one = Delegate(
            account=WORLD.id,
            kid=identity.kid,
            certificate=WORLD.certificate(key=identity.key, name=name),
            tags=frozenset(),
            generations=frozenset({1}),
            kinds=frozenset({"Local"}),
            version="",
            capacity=1,
            session=Session(),
            send=send,
            cut=lambda: self.cut.append(name),
            connected_at=0,
            last_seen=0,
            heard=self.clock.moment,
            spoke=self.clock.moment,
        )
        self.fleet.join(one)
        return one

    async def passes(self, seconds: float, *talking: Delegate) -> None:
        """So much time with all its looks; `talking` are heard before each."""
        until = self.clock.moment + seconds
        while self.clock.moment < until - 1e-9:
            self.clock.moment += self.streams.look_seconds
            for one in talking:
                one.heard = self.clock.moment
            await self.look()

    async def look(self) -> None:
        await self.streams.beat()
        # The heartbeats that it began.
        async with asyncio.timeout(30):
            while self.streams._beaten:
                await asyncio.sleep(0.001)


async def test_a_delegate_that_falls_silent_is_cut_within_five_seconds_and_the_others_stay() -> None:
    site = Site()
    silent, talking = site.join("one"), site.join("two")
    await site.passes(20.0, silent, talking)
    assert site.cut == []
    began = site.clock.moment
    while not site.cut:
        await site.passes(0.25, talking)
    assert site.cut == ["one"]
    assert 4.5 < site.clock.moment - began <= 5.0


async def test_a_manager_that_was_held_up_cuts_nobody_whose_words_it_has_not_read_yet() -> None:
    site = Site()
    silent, talking = site.join("one"), site.join("two")
    await site.passes(2.0, silent, talking)
    # Suspended, or at something long: nothing is read, and the next look comes first.
    site.clock.moment += 60.0
    with capture_logs() as logs:
        await site.look()
    assert site.cut == []
    assert [(one["event"], one["seconds"]) for one in logs] == [("heartbeat.late", 59.75)]
    await site.passes(4.0, talking)
    assert site.cut == []
    # Who says nothing from then on is noticed as usual.
    await site.passes(1.0, talking)
    assert set(site.cut) == {"one"}


async def test_looks_that_are_each_a_little_late_notice_silence_all_the_same() -> None:
    site = Site()
    site.join("one")
    await site.look()
    began = site.clock.moment
    while not site.cut:
        site.clock.moment += 2 * site.streams.look_seconds
        await site.look()
    assert site.clock.moment - began <= 5.0


async def test_a_delegate_hears_of_the_manager_every_two_seconds_and_not_more_often() -> None:
    site = Site()
    one = site.join("one")
    await site.passes(60.0, one)
    moments = [1_000.0, *(moment for _, moment in site.told)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(gaps) >= 29
    assert all(1.5 <= gap <= 2.0 for gap in gaps), gaps


async def test_the_wall_clock_cuts_nobody_but_by_the_end_of_a_certificate() -> None:
    site = Site()
    one = site.join("one")
    for ahead in (3_600, -3_600, 0):
        site.clock.ahead = ahead
        await site.passes(10.0, one)
        assert site.cut == []
    site.clock.ahead = LIFETIME_SECONDS
    await site.passes(0.25, one)
    assert site.cut == ["one"]
