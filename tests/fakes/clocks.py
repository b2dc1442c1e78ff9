"""Clocks that a test sets."""

from __future__ import annotations

from delegate.clock import Clock


class SetClock(Clock):
    """It stands until a test sets it."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> int:
        """Seconds since 1970."""
        return self.seconds
