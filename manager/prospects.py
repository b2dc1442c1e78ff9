"""Whether those that wait still have somebody to wait for: looked at again whenever fewer delegates may have them than before.

Promises: who waits for nobody is told so after a grace, in which somebody may come; and where failed tests alone are in the way,
they are made again, and one that failed gets the task rather than none. However often something changes, an account's line is
looked through a few times a second. Must not decide who gets a place that is free: that is asked of whoever serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from manager.assignment import Assignment
from manager.fleet import Delegate, Fleet
from manager.probes import Probes
from manager.routing import Wanted
from manager.waiting import NoPlace, Waiting
from shared.errors import NotReady

LOOK_SECONDS = 0.2
"""From one look through a line to the next, which is for all that changes meanwhile."""


def wanted_by(assignment: Assignment) -> Wanted:
    """What it wants of a delegate now: none of those that failed it already."""
    if not assignment.tried and not assignment.is_forgiving:
        return assignment.wanted
    return replace(assignment.wanted, tried=frozenset(assignment.tried), forgiving=assignment.is_forgiving)


class Prospects:
    """Of all accounts' lines. `seat` puts a task on a delegate's books, for the reason given; `refuse` says that nobody can have it."""

    def __init__(
        self,
        fleet: Fleet,
        probes: Probes,
        waiting: Waiting,
        grace_seconds: float,
        seat: Callable[[Assignment, Delegate, str], Delegate],
        refuse: Callable[[Assignment], NotReady],
    ) -> None:
        self._fleet = fleet
        self._probes = probes
        self._waiting = waiting
        self._grace_seconds = grace_seconds
        self._seat = seat
        self._refuse = refuse
        self._looked: dict[str, bool | None] = {}
        """Accounts that were just looked at, and what has changed since: whether those who wait for nobody are to be told."""
        self._rescued: set[Assignment] = set()
        self._leaving: set[Assignment] = set()

    def narrowed(self, account: str, *, ends: bool = True) -> None:
        """Fewer may have what waits there. Not `ends`: those who could have it are only shutting down, and others may come for them."""
        if not self._waiting.count(account):
            return
        if account in self._looked:
            self._looked[account] = self._looked[account] or ends
            return
        self._looked[account] = None
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._again, account)
        self._look(account, ends)

    def _again(self, account: str) -> None:
        ends = self._looked.pop(account)
        if ends is not None:
            self.narrowed(account, ends=ends)

    def failed(self, account: str, connector: str) -> None:
        """One delegate less may have what goes through that connector."""
        if any(connector in one.wanted.connectors for one in self._waiting.of(account)):
            self.narrowed(account, ends=False)

    def _look(self, account: str, ends: bool) -> None:
        hopeful: dict[Wanted, bool] = {}
        for assignment in self._waiting.of(account):
            wanted = wanted_by(assignment)
            if wanted not in hopeful:
                hopeful[wanted] = self._fleet.could_wait(account, wanted)
            if hopeful[wanted]:
                self.rescue(assignment)
            elif ends and assignment not in self._leaving:
                self._leaving.add(assignment)
                asyncio.get_running_loop().call_later(self._grace_seconds, self._give_up, assignment)

    def _give_up(self, assignment: Assignment) -> None:
        self._leaving.discard(assignment)
        seat = assignment.seat
        if seat is None or seat.done() or self._fleet.could_wait(assignment.account, wanted_by(assignment)):
            return
        if assignment.is_kept:
            seat.set_exception(NoPlace())
            return
        assignment.life = assignment.life.refused("no_delegate")
        seat.set_exception(self._refuse(assignment))

    def rescue(self, assignment: Assignment) -> None:
        """Those whom failed tests alone keep from it are asked to test again, where hardly another is left."""
        if assignment in self._rescued:
            return
        over = partial(self._forgive, assignment)
        if self._probes.rescue(assignment.account, wanted_by(assignment), assignment.documents, over):
            self._rescued.add(assignment)

    def _forgive(self, assignment: Assignment) -> None:
        """Nobody is left whose test passes: one of the others tells what is wrong, better than a refusal could."""
        self._rescued.discard(assignment)
        seat = assignment.seat
        if seat is None or seat.done() or self._fleet.has_sound(assignment.account, wanted_by(assignment)):
            return
        assignment.is_forgiving = True
        chosen = self._fleet.choose(assignment.account, wanted_by(assignment), assignment.id)
        if chosen is not None:
            why = f"no delegate's test passes, or none has the right clock: {self._fleet.why(chosen)}"
            seat.set_result(self._seat(assignment, chosen, why))
