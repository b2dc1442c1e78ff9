"""Time, handed to whoever needs it, so that tests set it and deciding stays pure."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks."""

    def now(self) -> int:
        """Seconds since 1970."""
        return int(time.time())

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()
