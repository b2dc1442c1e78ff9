"""Time as an argument: what says which second it is."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Seconds since 1970."""


def system_clock() -> int:
    """This machine's."""
    return int(time.time())
