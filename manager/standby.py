"""When tasks that wait in the queue are tried: as soon as some delegate might take them, a few of each account at once.

Promises: one is never tried twice at once; of the higher priority first, and principals in turn; the line of what waits keeps a
delegate's place from nobody who asks now. One whose time to start is over ends as expired. It knows nothing of what trying
means, and keeps nothing: that is `manager.queue`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from manager.clock import Clock
from manager.line import Line
from manager.queue import Entry
from manager.routing import Wanted
from shared.errors import PrivySealError

MOST_TRIED = 16
"""Of each account and priority at once, that no delegate has yet; each holds what was submitted in memory. Where they all stand in
line, as many more whose place is free: what waits for a busy delegate keeps nothing from another."""

STIR_SECONDS = 0.02
"""A delegate's free places come one by one: all that come within this are looked at together."""

LOOK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
EXPIRED_AT_ONCE = 64

_log = structlog.get_logger()


class Places(Protocol):
    """What delegates have room for."""

    def could_wait(self, account: str, wanted: Wanted) -> bool:
        """Whether some delegate may have it, now or later."""

    def has_place(self, account: str, wanted: Wanted) -> bool:
        """Whether some delegate may have it now."""

    def is_served(self, account: str, task: str) -> bool:
        """Whether a delegate has that task."""


class Standby:
    """One manager's. `resume` tries one that waits, and `leave` must follow.

    `expire` writes down that a task's time is over, and raises where that fails.
    """

    def __init__(
        self,
        clock: Clock,
        places: Places,
        resume: Callable[[Entry], None],
        expire: Callable[[Entry], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._places = places
        self._resume = resume
        self._expire = expire
        self._lines: dict[str, Line[Entry]] = {}
        self._trying: dict[str, set[Entry]] = {}
        self._stirred: set[str] = set()
        self._is_closed = False

    def enter(self, entry: Entry, *, again: bool = False) -> None:
        """It waits from now on; one that was tried, or comes back `again`, has its pause first."""
        if again or entry in self._trying.get(entry.account, ()):
            self._leave(entry)
            entry.pause = min(LONGEST_PAUSE_SECONDS, max(0.25, entry.pause * 2))
            entry.not_before = self._clock.monotonic() + entry.pause
        line = self._lines.setdefault(entry.account, Line())
        if entry not in line:
            line.add(entry, entry.principal, entry.priority)
        self.stir(entry.account)

    def leave(self, entry: Entry) -> None:
        """It waits no more; there is room for another one to be tried."""
        self._leave(entry)
        line = self._lines.get(entry.account)
        if line is not None:
            line.remove(entry)
            if not line:
                del self._lines[entry.account]
            self.stir(entry.account)

    def stir(self, account: str) -> None:
        """There may be a place for some of that account: they are tried in a moment."""
        if account in self._lines and account not in self._stirred and not self._is_closed:
            self._stirred.add(account)
            asyncio.get_running_loop().call_later(STIR_SECONDS, self._try, account)

    async def watch(self) -> None:
        """Looks after all of them, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Ends those whose time is over, and tries the others: what nobody told of may have changed."""
        await self._end_expired()
        for account in list(self._lines):
            self.stir(account)

    def close(self) -> None:
        """No more of them are tried."""
        self._is_closed = True

    async def _end_expired(self) -> None:
        now = self._clock.now()
        expired = [entry for line in self._lines.values() for entry in line if entry.exp <= now][:EXPIRED_AT_ONCE]
        for done in await asyncio.gather(*map(self._expire, expired), return_exceptions=True):
            if isinstance(done, PrivySealError):
                # A full disk, say: the next look tries again.
                _log.warning("queue.unwritten", code=done.code)
            elif isinstance(done, BaseException):
                _log.error("queue.crashed", error_type=type(done).__name__, exc_info=done)

    def _try(self, account: str) -> None:
        self._stirred.discard(account)
        line, now, moment = self._lines.get(account), self._clock.now(), self._clock.monotonic()
        trying = self._trying.get(account, ())
        tried = Counter(
            (one.priority, one.is_patient) for one in trying if not self._places.is_served(account, one.task)
        )
        known: dict[Wanted, tuple[bool, bool]] = {}
        for entry in list(line or ()):
            if self._is_closed or entry.not_before > moment or entry.exp <= now:
                continue
            is_patient = tried[entry.priority, True] < MOST_TRIED
            if not is_patient and tried[entry.priority, False] >= MOST_TRIED:
                continue
            if entry.wanted is not None:
                if entry.wanted not in known:
                    could = self._places.could_wait(account, entry.wanted)
                    known[entry.wanted] = could, could and self._places.has_place(account, entry.wanted)
                if not known[entry.wanted][0 if is_patient else 1]:
                    continue
            assert line is not None
            line.take(entry)
            entry.is_patient = is_patient
            tried[entry.priority, is_patient] += 1
            self._trying.setdefault(account, set()).add(entry)
            self._resume(entry)
        if line is not None and not line:
            self._lines.pop(account, None)

    def _leave(self, entry: Entry) -> None:
        trying = self._trying.get(entry.account)
        if trying is not None:
            trying.discard(entry)
            if not trying:
                del self._trying[entry.account]
