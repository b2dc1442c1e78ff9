"""Which runs of orders this process has begun: each once, in their order, whatever the manager sends.

A run is noted before it is acted on. Of an order only the last run is remembered, since none before it may begin any more, of an
older revision neither. An order is forgotten when it has ended beyond doubt. One owner's orders take half of the room at most,
however often he renews them, so that he keeps nobody else's from beginning. Memory only: a process that begins anew has begun nothing.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

from shared.errors import Conflict, Expired, Overloaded
from shared.trust.authority import SKEW_SECONDS

MOST_REMEMBERED = 100_000

_Name = tuple[str, str]
"""Owner and id of an order."""


class Begun:
    """The last run begun of each order."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._last: dict[_Name, tuple[int, int, int]] = {}
        """Revision and number of it, and when the order has ended beyond doubt."""
        self._ends: list[tuple[int, _Name]] = []
        self._held: Counter[str] = Counter()
        self._latest = 0

    def begin(self, owner: str, order: str, rev: int, n: int, exp: int, now: int) -> None:
        """Note that run `n` of that revision, which ends at `exp`, begins now; times are seconds since 1970.

        Raises Conflict for one that has begun, or that a later one has overtaken; Expired when a clock that was set back
        revives it; Overloaded.
        """
        self._latest = max(self._latest, now)
        self._forget()
        name = (owner, order)
        last = self._last.get(name)
        if last is not None and (rev, n) <= last[:2]:
            raise Conflict(
                "run_replayed",
                "that run of the order, or a later one, has begun before on this delegate",
                "each run begins once; the next one has its own time",
            )
        end = exp + SKEW_SECONDS
        if end <= self._latest:
            raise Expired("order_expired", "the order's time was over before this clock was set back", "sign it anew")
        if last is None:
            if len(self._last) >= self._most or self._held[owner] >= (self._most + 1) // 2:
                raise Overloaded(
                    "replays_too_many",
                    "runs of too many orders have begun here",
                    "let a part of them end, or use another delegate",
                )
            heappush(self._ends, (end, name))
            self._held[owner] += 1
        # A revision that ends sooner doesn't bring back the one before it.
        self._last[name] = (rev, n, end if last is None else max(end, last[2]))

    def _forget(self) -> None:
        while self._ends and self._ends[0][0] <= self._latest:
            _, name = heappop(self._ends)
            end = self._last[name][2]
            if end > self._latest:
                # Renewed meanwhile.
                heappush(self._ends, (end, name))
                continue
            del self._last[name]
            self._held[name[0]] -= 1
            if not self._held[name[0]]:
                del self._held[name[0]]
