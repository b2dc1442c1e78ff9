"""What refusals of a REST interface mean: rows of a kind's own table, by a code in the answer or by HTTP status.

Promises: an error repeats nothing of the answer. Must not know any provider.
"""

from __future__ import annotations

from delegate.credentials.refusals import Refusals
from shared.errors import Denied, PrivySealError, Unavailable

OTHER = 0
"""The row of a status that has none; that of 500 also stands for what is above it."""


def refusal(status: int, said: str, about: str, *tables: Refusals) -> PrivySealError:
    """The error for an answer of that status and with that code ("" for none); earlier tables count first."""
    for key in (said, status, 500 if status > 500 else OTHER, OTHER):
        for table in tables:
            row = table.get(key)
            if row is not None:
                return row.error(row.code, row.detail.format(about=about), row.hint.format(about=about))
    kind = Unavailable if status >= 500 else Denied
    return kind("refused", f"the provider refuses {about}", "see the provider's log for the reason")
