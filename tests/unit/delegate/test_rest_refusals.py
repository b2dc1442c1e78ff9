"""A refusal is told by the provider's own code, else by its status; earlier tables count first."""

from __future__ import annotations

import pytest

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest_refusals import OTHER, refusal
from shared.errors import Conflict, Denied, NotFound, Overloaded, PrivySealError, Unavailable

FIRST: Refusals = {404: Refusal(Conflict, "first", "{about} goes before", "do {about}")}
SECOND: Refusals = {
    "X1": Refusal(Overloaded, "by_code", "{about}", "wait"),
    404: Refusal(NotFound, "by_status", "{about}", "look"),
    500: Refusal(Unavailable, "failing", "{about}", "try again"),
    OTHER: Refusal(Denied, "other", "{about}", "see"),
}


@pytest.mark.parametrize(
    ("status", "said", "tables", "kind", "code"),
    [
        (404, "", (FIRST, SECOND), Conflict, "first"),
        (404, "X1", (FIRST, SECOND), Overloaded, "by_code"),
        (404, "X2", (SECOND,), NotFound, "by_status"),
        (500, "", (SECOND,), Unavailable, "failing"),
        (599, "", (SECOND,), Unavailable, "failing"),
        (418, "", (FIRST, SECOND), Denied, "other"),
        (418, "", (FIRST,), Denied, "refused"),
        (503, "", (FIRST,), Unavailable, "refused"),
    ],
)
def test_the_row_that_fits_best_says_what_it_means(
    status: int, said: str, tables: tuple[Refusals, ...], kind: type[PrivySealError], code: str
) -> None:
    why = refusal(status, said, "the {thing}", *tables)
    assert (type(why), why.code) == (kind, code)
    assert "the {thing}" in why.detail and why.hint
