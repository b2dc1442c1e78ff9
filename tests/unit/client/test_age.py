"""How long ago something was, in words."""

from __future__ import annotations

import pytest

from client.cli.output import age


@pytest.mark.parametrize(
    ("passed", "told"),
    [(0, "0s ago"), (59, "59s ago"), (60, "1m ago"), (3_599, "59m ago"), (86_399, "23h ago"), (200_000, "2d ago")],
)
def test_an_age_is_told_in_the_largest_unit_that_fits(passed: int, told: str) -> None:
    assert age(1_000_000, 1_000_000 + passed) == told


def test_what_is_to_come_is_now() -> None:
    assert age(1_000_010, 1_000_000) == "0s ago"
