"""Limits that are told before anything is sent."""

from __future__ import annotations

from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed


def too_long() -> Malformed:
    """The error for a value that can't be stored."""
    return Malformed(
        "value_too_long",
        f"the value has more than {LARGEST_VALUE_BYTES} bytes (10 MB)",
        "store a key to it instead, and the data elsewhere",
    )
