"""Which runs of orders this process has begun: each once, in their order, whatever the manager sends.

A run is noted before it is acted on. Of an order only the last run is remembered, since none before it may begin any more. An
order is forgotten when it has ended beyond doubt. Memory only: a process that begins anew has begun nothing.
"""

from __future__ import annotations

from heapq import heappop, heappush

from shared.errors import Conflict, Expired, Overloaded
from shared.trust.authority import SKEW_SECONDS

MOST_REMEMBERED = 100_000


class Begun:
    """The last run begun of each order, by the digest of its revision."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._last: dict[str, int] = {}
        self._ends: list[tuple[int, str]] = []
        self._latest = 0

    def begin(self, order: str, n: int, exp: int, now: int) -> None:
        """Note that run `n` of that order, which ends at `exp`, begins now; times are seconds since 1970.

        Raises Conflict for one that has begun, or that a later one has overtaken; Expired when a clock that was set back
        revives it; Overloaded.
        """
        self._latest = max(self._latest, now)
        while self._ends and self._ends[0][0] <= self._latest:
            self._last.pop(heappop(self._ends)[1], None)
        last = self._last.get(order)
        if last is not None and n <= last:
            raise Conflict(
                "run_replayed",
                "that run of the order, or a later one, has begun before on this delegate",
                "each run begins once; the next one has its own time",
            )
        if exp + SKEW_SECONDS <= self._latest:
            raise Expired("order_expired", "the order's time was over before this clock was set back", "sign it anew")
        if last is None:
            if len(self._last) >= self._most:
                raise Overloaded(
                    "replays_too_many",
                    "runs of too many orders have begun here",
                    "let a part of them end, or cancel it",
                )
            heappush(self._ends, (exp + SKEW_SECONDS, order))
        self._last[order] = n
