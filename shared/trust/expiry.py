"""When what an account stands on ends, for whoever watches it. No decision: those are `authority` and `status`."""

from __future__ import annotations

from shared.documents.jws import thumbprint
from shared.trust.book import Book


def soonest_grant(book: Book, now: int) -> int | None:
    """When the first of the account's grants ends (seconds since 1970) that neither has ended nor is revoked; None for none."""
    status = book.status.document if book.status else None
    grants, keys = (set(status.grants), set(status.keys)) if status else (set(), set())
    return min(
        (
            one.document.exp
            for one in book.grants.values()
            if one.document.exp > now
            and one.document.id not in grants
            and thumbprint(one.document.principal.key) not in keys
        ),
        default=None,
    )
