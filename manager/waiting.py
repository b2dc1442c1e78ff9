"""Tasks that wait for a place at a delegate: one line for each account, of the higher priority first and its principals in turn.

Promises: bounded, and one principal has at most half of a line, so that there is always a place for another. Who is next
`manager.line` says; who may have which place is asked of whoever serves. It waits for nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from manager.assignment import Assignment
from manager.line import Line

MOST_WAITING = 1_000
"""Tasks of one account that may wait for a free delegate."""


class NoPlace(Exception):
    """Nobody can take a task now that is kept where it can wait: its time will come."""


class Waiting:
    """One manager's lines, by account."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._lines: dict[str, Line[Assignment]] = {}

    def is_full_for(self, assignment: Assignment) -> bool:
        """Whether there is no place left in the account's line for that principal."""
        return is_full(self.of(assignment.account), assignment.principal, self._most)

    def enter(self, assignment: Assignment) -> None:
        """It waits from now on."""
        line = self._lines.setdefault(assignment.account, Line())
        line.add(assignment, assignment.principal, assignment.priority)

    def leave(self, assignment: Assignment) -> None:
        """It waits no more, for whatever reason; nothing where it didn't."""
        line = self._lines.get(assignment.account)
        if line is not None:
            line.remove(assignment)
            if not line:
                del self._lines[assignment.account]

    def of(self, account: str) -> list[Assignment]:
        """Those of an account, the next first."""
        return list(self._lines.get(account, ()))

    def serve(self, account: str, places: int, give: Callable[[Assignment], bool]) -> None:
        """Offers so many places in turn; `give` says whether the task took one, and what it refuses isn't offered again."""
        passed: set[Assignment] = set()
        while places > 0 and (line := self._lines.get(account)) is not None:
            served = False
            for assignment in line:
                if assignment in passed:
                    continue
                served = give(assignment)
                if served:
                    break
                passed.add(assignment)
            if not served:
                return
            line.take(assignment)
            if not line:
                del self._lines[account]
            places -= 1

    def count(self, account: str) -> int:
        """How many of an account wait."""
        return len(self._lines.get(account, ()))

    def __iter__(self) -> Iterator[Assignment]:
        for account in list(self._lines):
            yield from self.of(account)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))


def is_full(places: Collection[Assignment], principal: str, most: int) -> bool:
    """One principal may take half of the places, so that there is always one for another."""
    half = (most + 1) // 2
    if len(places) < half:
        return False
    return len(places) >= most or sum(one.principal == principal for one in places) >= half
