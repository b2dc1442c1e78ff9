"""A store that is silent: readiness says so in its time, asks it once however many ask, and again as soon as it speaks."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from manager import condition as module
from manager.clock import Clock
from manager.condition import Condition
from manager.store import Store
from shared.errors import Unavailable


class SteppedClock(Clock):
    """Goes on where a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


class Silenced:
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = self.at_once = self.most = 0
        self.speaks = asyncio.Event()
        self.why: Exception | None = None

    async def check(self) -> None:
        self.asked += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.speaks.wait()
            if self.why is not None:
                raise self.why
        finally:
            self.at_once -= 1


@pytest.fixture
def store() -> Silenced:
    return Silenced()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    # What is waited is the loop's time, what is told the clock's.
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)
    return SteppedClock()


async def codes(condition: Condition) -> list[str]:
    return [one.code for one in await condition.faults()]


async def test_a_silent_store_is_told_in_its_time_and_asked_once_however_many_ask(
    store: Silenced, clock: SteppedClock
) -> None:
    condition = Condition(cast(Store, store), clock)
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(codes(condition) for _ in range(50))) == [["store_silent"]] * 50
    assert condition.store_seconds is None
    clock.seconds += 12
    (fault,) = await condition.faults()
    assert (fault.part, fault.code) == ("store", "store_silent")
    assert "12 seconds" in fault.detail and fault.hint
    assert (store.asked, store.most) == (1, 1)


async def test_the_last_verdict_and_its_age_are_told_while_one_asks(store: Silenced, clock: SteppedClock) -> None:
    condition = Condition(cast(Store, store), clock)
    store.speaks.set()
    assert await codes(condition) == []
    store.speaks.clear()
    clock.seconds += 3
    first = asyncio.create_task(codes(condition))
    while store.asked == 1:
        await asyncio.sleep(0)
    assert await codes(condition) == []
    assert condition.store_seconds == 3
    assert store.asked == 2
    assert await first == ["store_silent"]
    clock.seconds += 1
    assert await codes(condition) == ["store_silent"]
    assert store.asked == 2


async def test_a_store_that_speaks_again_is_believed_at_once(store: Silenced, clock: SteppedClock) -> None:
    condition = Condition(cast(Store, store), clock)
    assert await codes(condition) == ["store_silent"]
    store.speaks.set()
    async with asyncio.timeout(20):
        while store.at_once:
            await asyncio.sleep(0)
    assert condition.store_seconds == 0
    assert await codes(condition) == []
    store.why = Unavailable("store_unavailable", "it can't be written", "free space")
    assert await codes(condition) == ["store_unavailable"]
    store.why = None
    assert await codes(condition) == []
    assert (store.asked, store.most) == (4, 1)


async def test_who_asked_and_went_leaves_no_second_question(store: Silenced, clock: SteppedClock) -> None:
    condition = Condition(cast(Store, store), clock)
    gone = asyncio.create_task(condition.faults())
    while not store.asked:
        await asyncio.sleep(0)
    gone.cancel()
    assert await codes(condition) == ["store_silent"]
    assert store.asked == 1
    store.speaks.set()


async def test_a_bug_of_the_store_is_no_verdict(store: Silenced, clock: SteppedClock) -> None:
    condition = Condition(cast(Store, store), clock)
    store.speaks.set()
    store.why = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        await condition.faults()
    store.why = None
    assert await codes(condition) == []
