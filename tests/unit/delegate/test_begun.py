"""Each run of an order begins once in one process."""

from __future__ import annotations

from delegate.begun import Begun
from shared.errors import Conflict, Expired, Overloaded
from shared.trust.authority import SKEW_SECONDS
from tests.fakes.refusal import refused

ONE, OTHER = ("ann", "one", 1), ("ben", "other", 1)


def test_a_run_begins_once_and_the_next_one_after_it() -> None:
    begun = Begun()
    begun.begin(*ONE, 0, 1_000, 0)
    with refused(Conflict, "run_replayed"):
        begun.begin(*ONE, 0, 1_000, 10)
    begun.begin(*ONE, 1, 1_000, 60)
    begun.begin(*OTHER, 0, 1_000, 60)


def test_a_run_that_a_later_one_has_overtaken_begins_no_more() -> None:
    begun = Begun()
    begun.begin(*ONE, 5, 1_000, 0)
    with refused(Conflict, "run_replayed"):
        begun.begin(*ONE, 4, 1_000, 0)


def test_a_clock_that_was_set_back_revives_no_run() -> None:
    begun = Begun()
    begun.begin(*ONE, 0, 1_000, 0)
    begun.begin(*OTHER, 0, 9_000, 1_000 + SKEW_SECONDS)
    with refused(Expired, "order_expired"):
        begun.begin(*ONE, 0, 1_000, 999)


def test_what_has_ended_makes_room_and_what_has_not_is_never_forgotten() -> None:
    begun = Begun(most=1)
    begun.begin(*ONE, 0, 1_000, 0)
    with refused(Overloaded, "replays_too_many"):
        begun.begin(*OTHER, 0, 2_000, 0)
    begun.begin(*ONE, 1, 1_000, 60)
    begun.begin(*OTHER, 0, 2_000, 1_000 + SKEW_SECONDS)


def test_who_renews_an_order_again_and_again_takes_one_place() -> None:
    begun = Begun(most=3)
    for rev in range(1, 100):
        begun.begin("ann", "one", rev, 0, 1_000, 0)
    begun.begin(*OTHER, 0, 1_000, 0)
    with refused(Conflict, "run_replayed"):
        begun.begin("ann", "one", 98, 5, 1_000, 0)
    begun.begin("ann", "one", 99, 1, 1_000, 0)


def test_one_owners_orders_leave_room_for_anothers() -> None:
    begun = Begun(most=4)
    begun.begin("ann", "one", 1, 0, 1_000, 0)
    begun.begin("ann", "two", 1, 0, 1_000, 0)
    with refused(Overloaded, "replays_too_many"):
        begun.begin("ann", "three", 1, 0, 1_000, 0)
    begun.begin("ann", "two", 1, 1, 1_000, 0)
    begun.begin(*OTHER, 0, 1_000, 0)
    begun.begin("ann", "three", 1, 0, 9_000, 1_000 + SKEW_SECONDS)


def test_a_renewed_order_is_remembered_until_it_ends_and_one_that_ends_sooner_brings_back_nothing() -> None:
    begun = Begun()
    begun.begin("ann", "later", 1, 7, 1_000, 0)
    begun.begin("ann", "later", 2, 0, 5_000, 0)
    begun.begin("ann", "sooner", 1, 7, 5_000, 0)
    begun.begin("ann", "sooner", 2, 0, 1_000, 0)
    for name in ("later", "sooner"):
        with refused(Conflict, "run_replayed"):
            begun.begin("ann", name, 1, 8, 5_000, 2_000)
    begun.begin("ann", "later", 2, 1, 5_000, 2_000)
