"""Data keys are kept for a while and no longer, shared by who asks at once, and never served to another owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from delegate.data_keys import DataKeys
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Unavailable
from tests.fakes.closing import StandingClock


class Provider:
    """Unwraps when its gate is open; `calls` counts, `ended` counts those that came to their end or were cancelled."""

    def __init__(self) -> None:
        self.calls = 0
        self.ended = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def __call__(self) -> Plaintext:
        self.calls += 1
        number = self.calls
        try:
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            return Plaintext(number.to_bytes(32, "big"))
        finally:
            self.ended += 1


async def so(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


async def test_a_key_is_asked_for_once_within_its_time_and_anew_after_it(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, seconds=300), Provider()
    first = await keys.key(1, b"a", 10, provider)
    clock.at += 299.9
    assert await keys.key(1, b"a", 10, provider) == first
    clock.at += 0.1
    assert await keys.key(1, b"a", 10, provider) != first
    assert (provider.calls, keys.hits, keys.misses) == (2, 1, 2)


async def test_a_keys_time_counts_from_the_moment_that_it_was_asked_for(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, seconds=300), Provider()
    provider.gate.clear()
    asking = asyncio.create_task(keys.key(1, b"a", 1, provider))
    await so(lambda: provider.calls == 1)
    clock.at += 200
    provider.gate.set()
    await asking
    clock.at += 100
    await keys.key(1, b"a", 1, provider)
    assert provider.calls == 2


async def test_a_key_has_so_many_uses_and_no_more(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, uses=3), Provider()
    for _ in range(7):
        await keys.key(1, b"a", 1, provider)
    assert provider.calls == 3


async def test_those_who_shared_a_call_have_used_the_key_each(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, uses=3), Provider()
    await asyncio.gather(*(keys.key(1, b"a", 1, provider) for _ in range(3)))
    assert provider.calls == 1
    await keys.key(1, b"a", 1, provider)
    assert provider.calls == 2


async def test_a_key_opens_so_many_bytes_and_no_more(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, size=100), Provider()
    for size in (60, 40, 1, 99, 1):
        await keys.key(1, b"a", size, provider)
    assert provider.calls == 3
    for _ in range(2):
        await keys.key(1, b"large", 101, provider)
    assert provider.calls == 5


async def test_nothing_is_kept_where_that_is_turned_off(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, seconds=0), Provider()
    for _ in range(3):
        await keys.key(1, b"a", 1, provider)
    assert (provider.calls, len(keys)) == (3, 0)


async def test_the_number_of_keys_is_bounded_and_those_used_last_stay(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, most=2), Provider()
    for name in (b"a", b"b", b"a", b"c", b"a"):
        await keys.key(1, name, 1, provider)
    assert (provider.calls, len(keys)) == (3, 2)
    await keys.key(1, b"b", 1, provider)
    assert provider.calls == 4


async def test_identical_requests_in_flight_share_one_call_and_others_do_not(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    provider.gate.clear()
    same = [asyncio.create_task(keys.key(1, b"a", 1, provider)) for _ in range(50)]
    other = asyncio.create_task(keys.key(1, b"b", 1, provider))
    elsewhere = asyncio.create_task(keys.key(2, b"a", 1, provider))
    await so(lambda: provider.calls == 3)
    provider.gate.set()
    first, *rest = await asyncio.gather(*same)
    assert all(one == first for one in rest)
    assert await other != first != await elsewhere
    assert provider.calls == 3


async def test_calls_in_flight_are_shared_even_where_nothing_is_kept(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, seconds=0), Provider()
    await asyncio.gather(*(keys.key(1, b"a", 1, provider) for _ in range(10)))
    assert (provider.calls, len(keys)) == (1, 0)


async def test_the_first_who_waits_may_leave_and_the_others_are_served(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    provider.gate.clear()
    first = asyncio.create_task(keys.key(1, b"a", 1, provider))
    await so(lambda: provider.calls == 1)
    second = asyncio.create_task(keys.key(1, b"a", 1, provider))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    provider.gate.set()
    assert len(await second) == 32
    assert provider.calls == 1


async def test_a_call_that_nobody_waits_for_any_more_has_ended_when_the_last_has_left(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    provider.gate.clear()
    waiting = [asyncio.create_task(keys.key(1, b"a", 1, provider)) for _ in range(2)]
    await so(lambda: provider.calls == 1)
    for one in waiting:
        one.cancel()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
    ]
    assert (provider.ended, len(keys)) == (1, 0)
    provider.gate.set()
    await keys.key(1, b"a", 1, provider)
    assert provider.calls == 2


async def test_who_comes_after_a_call_was_given_up_makes_another(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    provider.gate.clear()
    left = asyncio.create_task(keys.key(1, b"a", 1, provider))
    await so(lambda: provider.calls == 1)
    left.cancel()
    await asyncio.sleep(0)
    came = asyncio.create_task(keys.key(1, b"a", 1, provider))
    await so(lambda: provider.calls == 2)
    provider.gate.set()
    assert (await came).reveal()[-1] == 2
    assert await keys.key(1, b"a", 1, provider) == await came
    assert provider.calls == 2


async def test_a_call_that_is_given_up_before_it_began_is_not_waited_for(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    left = asyncio.create_task(keys.key(1, b"a", 1, provider))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert len(await keys.key(1, b"a", 1, provider)) == 32


async def test_a_failure_is_everybodys_who_waits_and_is_not_kept(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    provider.failure = Unavailable("unavailable", "gone", "later")
    failed = await asyncio.gather(*(keys.key(1, b"a", 1, provider) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in failed] == [Unavailable] * 5
    assert (provider.calls, len(keys)) == (1, 0)
    provider.failure = None
    await keys.key(1, b"a", 1, provider)
    assert provider.calls == 2


async def test_a_provider_that_says_no_is_asked_again_once_a_kept_key_is_over(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, seconds=300), Provider()
    await keys.key(1, b"a", 1, provider)
    provider.failure = Denied("denied", "no", "ask")
    clock.at += 301
    with pytest.raises(Denied):
        await keys.key(1, b"a", 1, provider)
    with pytest.raises(Denied):
        await keys.key(1, b"a", 1, provider)


async def test_what_is_kept_for_one_owner_is_not_served_to_another(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    one, other = keys.owner(), keys.owner()
    assert await keys.key(one, b"a", 1, provider) != await keys.key(other, b"a", 1, provider)
    assert provider.calls == 2


async def test_an_owner_who_goes_takes_his_keys_along(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock), Provider()
    one, other = keys.owner(), keys.owner()
    await keys.key(one, b"a", 1, provider)
    await keys.key(one, b"b", 1, provider)
    await keys.key(other, b"a", 1, provider)
    keys.forget(one)
    assert len(keys) == 1
    await keys.key(other, b"a", 1, provider)
    assert provider.calls == 3


async def test_tidying_drops_what_is_over_and_nothing_else(clock: StandingClock) -> None:
    keys, provider = DataKeys(clock, seconds=300), Provider()
    await keys.key(1, b"old", 1, provider)
    clock.at += 200
    await keys.key(1, b"young", 1, provider)
    clock.at += 100
    keys.tidy()
    assert len(keys) == 1
    await keys.key(1, b"young", 1, provider)
    assert provider.calls == 2


async def test_kept_keys_are_not_shown(clock: StandingClock) -> None:
    keys = DataKeys(clock)

    async def unwrap() -> Plaintext:
        return Plaintext(b"k" * 32)

    await keys.key(1, b"a", 1, unwrap)
    assert "kkkk" not in repr(vars(keys))


async def test_a_key_that_comes_after_its_call_was_given_up_is_not_kept(clock: StandingClock) -> None:
    keys, began = DataKeys(clock), asyncio.Event()

    async def obstinate() -> Plaintext:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Plaintext(b"k" * 32)  # as a library does that answered already when it heard of it
        raise AssertionError

    asking = asyncio.create_task(keys.key(1, b"a", 1, obstinate))
    await began.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(keys) == 0
