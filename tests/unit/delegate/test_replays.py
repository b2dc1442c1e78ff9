"""What must not run twice begins once, whatever the clock does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.replays import Replays
from shared.errors import Conflict, Expired, Overloaded, PrivySealError
from shared.trust.authority import SKEW_SECONDS


def test_a_task_begins_once() -> None:
    replays = Replays()
    replays.begin("signer", "jti", exp=100, now=50)
    with pytest.raises(Conflict, match="must not run twice"):
        replays.begin("signer", "jti", exp=100, now=51)


def test_another_signers_number_is_another_task() -> None:
    replays = Replays()
    replays.begin("one", "jti", exp=100, now=50)
    replays.begin("other", "jti", exp=100, now=50)


def test_a_task_is_remembered_until_it_has_expired_beyond_doubt() -> None:
    replays = Replays()
    replays.begin("signer", "jti", exp=100, now=50)
    with pytest.raises(Conflict):
        replays.begin("signer", "jti", exp=100, now=100 + SKEW_SECONDS - 1)


def test_a_clock_that_is_set_back_revives_nothing() -> None:
    replays = Replays()
    replays.begin("signer", "jti", exp=100, now=50)
    replays.begin("signer", "later", exp=10_000, now=9_990)
    with pytest.raises(Expired, match="set back"):
        replays.begin("signer", "jti", exp=100, now=50)


def test_a_full_memory_refuses_instead_of_forgetting() -> None:
    replays = Replays(most=2)
    replays.begin("signer", "a", exp=100, now=50)
    replays.begin("signer", "b", exp=100, now=50)
    with pytest.raises(Overloaded):
        replays.begin("signer", "c", exp=100, now=50)
    replays.begin("signer", "c", exp=1_000, now=100 + SKEW_SECONDS)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1_000), st.integers(-300, 300))))
def test_no_order_of_times_lets_one_task_begin_twice(tries: list[tuple[int, int, int]]) -> None:
    replays, begun = Replays(), set()
    for number, now, ahead in tries:
        exp = number * 200  # a task's end is signed: it never differs
        try:
            replays.begin("signer", str(number), exp, now + ahead)
        except PrivySealError:
            continue
        assert number not in begun
        begun.add(number)
