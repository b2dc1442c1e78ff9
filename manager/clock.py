"""The manager's clock: seconds since 1970 for documents, monotonic seconds for waiting. An argument, so that tests have theirs."""

from __future__ import annotations

import time


class Clock:
    """The machine's own."""

    def now(self) -> int:
        """Seconds since 1970."""
        return int(time.time())

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
