"""Each run of an order begins once in one process."""

from __future__ import annotations

from delegate.begun import Begun
from shared.errors import Conflict, Expired, Overloaded
from shared.trust.authority import SKEW_SECONDS
from tests.fakes.refusal import refused

ONE, OTHER = "A" * 43, "B" * 43


def test_a_run_begins_once_and_the_next_one_after_it() -> None:
    begun = Begun()
    begun.begin(ONE, 0, 1_000, 0)
    with refused(Conflict, "run_replayed"):
        begun.begin(ONE, 0, 1_000, 10)
    begun.begin(ONE, 1, 1_000, 60)
    begun.begin(OTHER, 0, 1_000, 60)


def test_a_run_that_a_later_one_has_overtaken_begins_no_more() -> None:
    begun = Begun()
    begun.begin(ONE, 5, 1_000, 0)
    with refused(Conflict, "run_replayed"):
        begun.begin(ONE, 4, 1_000, 0)


def test_a_clock_that_was_set_back_revives_no_run() -> None:
    begun = Begun()
    begun.begin(ONE, 0, 1_000, 0)
    begun.begin(OTHER, 0, 9_000, 1_000 + SKEW_SECONDS)
    with refused(Expired, "order_expired"):
        begun.begin(ONE, 0, 1_000, 999)


def test_what_has_ended_makes_room_and_what_has_not_is_never_forgotten() -> None:
    begun = Begun(most=1)
    begun.begin(ONE, 0, 1_000, 0)
    with refused(Overloaded, "replays_too_many"):
        begun.begin(OTHER, 0, 2_000, 0)
    begun.begin(ONE, 1, 1_000, 60)
    begun.begin(OTHER, 0, 2_000, 1_000 + SKEW_SECONDS)
