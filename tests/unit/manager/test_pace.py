"""How long who is sent away is told to stay away."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from manager.pace import LEAST_SECONDS, MOST_SECONDS, WINDOW_SECONDS, Pace


def after(moments: Sequence[float]) -> Pace:
    pace = Pace()
    for moment in moments:
        pace.ended(moment)
    return pace


def test_the_line_takes_as_long_as_its_length_at_the_pace_of_the_last_half_minute() -> None:
    pace = after([100 + number / 2 for number in range(41)])  # two a second, for twenty seconds
    assert pace.seconds_for(20, 120.0) == 10
    assert pace.seconds_for(21, 120.0) == 11
    assert pace.seconds_for(1_000, 120.0) == MOST_SECONDS


def test_a_standstill_is_told_as_the_longest_time() -> None:
    assert Pace().seconds_for(1, 5.0) == MOST_SECONDS
    assert after([1.0, 2.0]).seconds_for(1, 2.0 + WINDOW_SECONDS + 1.5) == MOST_SECONDS


def test_a_burst_long_ago_is_no_fast_pace() -> None:
    pace = after([100.0] * 10)
    assert pace.seconds_for(10, 101.0) == 1
    assert pace.seconds_for(10, 125.0) == 25


@given(st.lists(st.floats(0, 100), max_size=60), st.integers(0, 5_000))
def test_it_is_bounded_and_never_shorter_for_a_longer_line(moments: list[float], waiting: int) -> None:
    ordered = sorted(moments)
    now = ordered[-1] if ordered else 0.0
    told = after(ordered).seconds_for(waiting, now)
    assert LEAST_SECONDS <= told <= MOST_SECONDS
    assert after(ordered).seconds_for(waiting + 1, now) >= told


@given(st.lists(st.floats(0, 1_000), max_size=200))
def test_it_remembers_half_a_minute_and_no_more(moments: list[float]) -> None:
    pace = after(sorted(moments))
    assert len(pace._seconds) <= WINDOW_SECONDS + 2
    assert pace._count == sum(count for _, count in pace._seconds)
