"""Liveness: whoever goes silent is noticed within what was set, and nobody is blamed for what this end missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.liveness import Liveness

USUAL = Liveness(2.0, 5.0)

liveness = st.floats(0.1, 60).flatmap(
    lambda beat: st.builds(Liveness, st.just(beat), st.floats(2 * beat, max(300.0, 2 * beat)))
)


def test_with_the_usual_settings_it_looks_four_times_a_second() -> None:
    assert USUAL.look_seconds == 0.25
    assert USUAL.limit_seconds == 4.5


@given(liveness)
def test_a_silence_is_noticed_within_what_was_set_even_by_a_look_that_comes_late(one: Liveness) -> None:
    # The last word came just before the network broke; the look that finds it too long may be one interval late.
    assert one.limit_seconds + 2 * one.look_seconds <= one.silence_seconds * 1.000_001


@given(liveness)
def test_a_heartbeat_that_is_late_by_more_than_half_of_itself_is_no_silence(one: Liveness) -> None:
    assert not one.is_silent(1.5 * one.heartbeat_seconds)


@given(liveness)
def test_whoever_is_looked_after_hears_something_within_a_heartbeat(one: Liveness) -> None:
    """At each look either he is told, or the next look is no later than his heartbeat."""
    quiet = 0.0
    while not one.is_due(quiet):
        quiet += one.look_seconds
    assert quiet <= one.heartbeat_seconds * 1.000_001


@pytest.mark.parametrize(
    ("since", "held_up"), [(0.0, 0.0), (0.25, 0.0), (0.4, 0.0), (0.5, 0.0), (0.75, 0.5), (6.25, 6.0)]
)
def test_what_this_end_slept_through_is_nobodys_silence(since: float, held_up: float) -> None:
    assert USUAL.held_up(since) == held_up


@pytest.mark.parametrize(("quiet", "silent"), [(0.0, False), (4.5, False), (4.51, True), (100.0, True)])
def test_silence_begins_after_nine_tenths_of_what_was_set(quiet: float, silent: bool) -> None:
    assert USUAL.is_silent(quiet) is silent
