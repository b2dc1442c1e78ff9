"""Tries: what may pass is tried three times, what is slow is ended, and the pauses are by lot and bounded."""

from __future__ import annotations

import asyncio

import pytest

from delegate.tries import Tries
from shared.errors import Denied, Expired, Overloaded, PrivySealError, Unavailable


def slow() -> PrivySealError:
    return Unavailable("slow", "too slow")


class Calls:
    """Fails as told, then gives its number."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.made = 0

    async def __call__(self) -> int:
        self.made += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.made


@pytest.mark.parametrize("error", [Unavailable("a", "b"), Overloaded("a", "b")])
async def test_what_may_pass_is_tried_three_times(error: PrivySealError) -> None:
    assert await Tries(5, bytes).of(Calls(), slow) == 1
    assert await Tries(5, bytes).of(Calls(error, error), slow) == 3
    calls = Calls(error, error, error)
    with pytest.raises(type(error)):
        await Tries(5, bytes).of(calls, slow)
    assert calls.made == 3


@pytest.mark.parametrize("error", [Denied("a", "b"), Expired("a", "b"), ValueError(), TimeoutError()])
async def test_what_does_not_pass_is_tried_once(error: Exception) -> None:
    calls = Calls(error)
    with pytest.raises(type(error)):
        await Tries(5, bytes).of(calls, slow)
    assert calls.made == 1


async def test_a_try_that_takes_too_long_is_ended_and_tried_again() -> None:
    ended: list[int] = []

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    with pytest.raises(Unavailable, match="too slow"):
        await Tries(0.01, bytes).of(call, slow)
    assert len(ended) == 3


def test_pauses_are_drawn_by_lot_up_to_a_bound_that_doubles() -> None:
    most = Tries(5, lambda count: b"\xff" * count)
    assert [round(most.pause(number), 6) for number in (1, 2)] == [2, 4]
    assert [Tries(5, bytes).pause(number) for number in (1, 2)] == [0, 0]
