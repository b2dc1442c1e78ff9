"""How what came of a delegate's tests is told: in few words, with its age and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from manager.probed import MOST_LISTED, Probed, failures, passed, told

FAILED = Probed("vault", "denied", 1_000, 1_300)
PASSED = Probed("kms", "ok", 1_000, 22_600)
TESTS = {"a": FAILED, "b": PASSED}


def test_only_failed_tests_of_the_connectors_in_use_speak_against_a_delegate() -> None:
    assert failures(TESTS, {"a", "b"}) == [FAILED]
    assert failures(TESTS, {"b", "unknown"}) == []
    assert failures({}, {"a"}) == []
    assert failures(TESTS, set()) == []


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (1_000, "its test of vault 0 s ago ended as denied and counts for 5 min more"),
        (1_150, "its test of vault 2 min ago ended as denied and counts for 2 min more"),
        (1_295, "its test of vault 4 min ago ended as denied and counts for 5 s more"),
        (900, "its test of vault 0 s ago ended as denied and counts for 6 min more"),
        (2_000, "its test of vault 16 min ago ended as denied and counts for 0 s more"),
    ],
)
def test_a_failure_is_told_with_its_age_and_how_long_it_counts(now: int, said: str) -> None:
    assert told([FAILED], now) == said


def test_of_many_failures_some_are_told_and_the_others_counted() -> None:
    many = [Probed(f"vault{number}", "denied", 1_000, 1_300) for number in range(MOST_LISTED + 2)]
    assert told(many, 1_000).endswith(", and 2 more")
    assert told(many, 1_000).count("its test of") == MOST_LISTED


def test_what_speaks_against_nobody_is_told_too() -> None:
    assert passed(TESTS, {"b"}, 1_010) == "its test of kms 10 s ago passed and counts for 5 h more"
    assert "none is needed" in passed(TESTS, {"unknown"}, 1_010)
    assert passed(TESTS, set(), 1_010) == "no connector is asked for"


def test_who_asks_for_thousands_of_connectors_costs_no_more_than_the_delegate_has_tested() -> None:
    class Asked(frozenset[str]):
        walks = 0

        def __iter__(self) -> Iterator[str]:
            Asked.walks += 1
            return super().__iter__()

    asked = Asked([*map(str, range(4_000)), "a", "b"])
    assert failures(TESTS, asked) == [FAILED]
    assert passed({"b": PASSED}, asked, 1_000).startswith("its test of kms 0 s ago passed")
    assert Asked.walks == 0
