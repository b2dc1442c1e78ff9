"""What counts for a while, by account: each thing with the moment (seconds, of one clock) until which it does.

Promises: takes no more room than there are things, however often one is set anew; and where all accounts together have too
much, the one that has most gives way, so that nobody can push out what others keep. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

SLACK = 64
"""Ends that no longer count and are kept all the same, besides as many as there are that do."""


@dataclass(slots=True)
class _Account(Generic[T]):
    """`ends` is a heap; one that isn't the thing's in `numbers` was set anew, or dropped."""

    ends: list[tuple[float, int, T]] = field(default_factory=list)
    numbers: dict[T, int] = field(default_factory=dict)

    def settle(self) -> bool:
        """Whether there is anything; what lapses first stands first then."""
        while self.ends and self.numbers.get(self.ends[0][2]) != self.ends[0][1]:
            heappop(self.ends)
        return bool(self.ends)


class Lapses(Generic[T]):
    """All accounts'."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account[T]] = {}
        self._numbers = count()

    def set(self, account: str, thing: T, until: float) -> None:
        """It counts until then, and no longer as was said before."""
        one = self._accounts.setdefault(account, _Account())
        number = one.numbers[thing] = next(self._numbers)
        heappush(one.ends, (until, number, thing))
        if len(one.ends) > 2 * len(one.numbers) + SLACK:
            one.ends = [end for end in one.ends if one.numbers.get(end[2]) == end[1]]
            heapify(one.ends)

    def drop(self, account: str, thing: T) -> None:
        """It counts no more; nothing where it didn't."""
        one = self._accounts.get(account)
        if one is not None:
            one.numbers.pop(thing, None)
            if not one.numbers:
                del self._accounts[account]

    def next(self) -> float:
        """When the first one lapses; never where there is none."""
        return min((one.ends[0][0] for one in self._accounts.values() if one.settle()), default=inf)

    def due(self, now: float) -> Iterator[T]:
        """Those that have lapsed. They are dropped with that."""
        for account, one in list(self._accounts.items()):
            while one.settle() and one.ends[0][0] <= now:
                thing = one.ends[0][2]
                self.drop(account, thing)
                yield thing

    def surplus(self) -> T:
        """Of the account that has most, what lapses first. There must be one."""
        one = max(self._accounts.values(), key=lambda account: len(account.numbers))
        one.settle()
        return one.ends[0][2]
