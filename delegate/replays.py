"""Which tasks of `repeat: never` this process has begun: each begins once, whatever the manager sends.

A task is noted before it is acted on and forgotten when it has expired beyond doubt. Tasks name one identity, which
lives as long as this process does; so memory is enough.
"""

from __future__ import annotations

from heapq import heappop, heappush

from shared.errors import Conflict, Expired, Overloaded
from shared.trust.authority import SKEW_SECONDS

MOST_REMEMBERED = 100_000


class Replays:
    """The tasks begun, by signer and `jti`."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._begun: set[tuple[str, str]] = set()
        self._ends: list[tuple[int, tuple[str, str]]] = []
        self._latest = 0

    def begin(self, kid: str, jti: str, exp: int, now: int) -> None:
        """Note that the task begins now; times are seconds since 1970.

        Raises Conflict for one that has begun before, Expired when a clock that was set back revives it, Overloaded.
        """
        self._latest = max(self._latest, now)
        while self._ends and self._ends[0][0] <= self._latest:
            self._begun.discard(heappop(self._ends)[1])
        name = (kid, jti)
        if name in self._begun:
            raise Conflict(
                "task_replayed", "the task has begun before on this delegate and must not run twice", "sign a new one"
            )
        if exp + SKEW_SECONDS <= self._latest:
            raise Expired(
                "task_expired", "the task's time to start had run out before this clock was set back", "sign a new one"
            )
        if len(self._begun) >= self._most:
            raise Overloaded(
                "replays_too_many",
                "too many tasks that must not run twice have begun here",
                "try again in a few minutes",
            )
        self._begun.add(name)
        heappush(self._ends, (exp + SKEW_SECONDS, name))
