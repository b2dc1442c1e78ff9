"""How long a renewed order lasts, as it is said on the command line."""

from __future__ import annotations

import pytest

from client.cli.order import days_of
from shared.errors import Malformed
from tests.fakes.refusal import refused


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("2w", 14), ("48h", 2), ("3", 3), ("90d", 90)])
def test_an_order_is_renewed_for_a_time_as_it_was_given_for(text: str, days: int) -> None:
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["", "soon", "36h", "0", "0d", "91d", "-1", "1.5d", "\u0663d", "9999999999"])
def test_a_time_that_is_no_whole_number_of_days_is_refused(text: str) -> None:
    with refused(Malformed, "time_malformed"):
        days_of(text)
