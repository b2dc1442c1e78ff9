"""How fast tasks get done lately, and so how long who comes to the end of their line will wait. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from math import ceil

WINDOW_SECONDS = 30
LEAST_SECONDS = 1
MOST_SECONDS = 60
"""Bounds of what is told: nobody comes back at once, and nobody is sent away for longer by a guess."""


class Pace:
    """Counts what has ended in the last half minute; moments are monotonic seconds."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._count = 0

    def ended(self, now: float) -> None:
        """One more has ended, so that a place is free."""
        self._forget(now)
        if self._seconds and self._seconds[-1][0] == int(now):
            self._seconds[-1] = (int(now), self._seconds[-1][1] + 1)
        else:
            self._seconds.append((int(now), 1))
        self._count += 1

    def seconds_for(self, waiting: int, now: float) -> int:
        """Until so many have ended at that pace, 1 to 60; 60 where nothing ends."""
        self._forget(now)
        if not self._count:
            return MOST_SECONDS
        taken = max(1.0, now - self._seconds[0][0])
        return min(MOST_SECONDS, max(LEAST_SECONDS, ceil(waiting * taken / self._count)))

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] + WINDOW_SECONDS < now:
            self._count -= self._seconds.popleft()[1]
