"""When tasks that wait in the queue are tried: as soon as some delegate might take them, a few of each account at once.

Promises: one is never tried twice at once; of the higher priority first, and principals in turn; the line of what waits keeps a
delegate's place from nobody who asks now. One whose time to start is over ends as expired. It knows nothing of what trying
means, and keeps nothing: that is `manager.queue`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from manager.clock import Clock
from manager.line import Line
from manager.queue import Entry
from manager.routing import Wanted
from shared.errors import PrivySealError

MOST_TRIED = 16
"""Of each account and priority at once; each holds what was submitted in memory."""

STIR_SECONDS = 0.02
"""A delegate's free places come one by one: all that come within this are looked at together."""

LOOK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
EXPIRED_AT_ONCE = 64

_log = structlog.get_logger()


class Standby:
    """One manager's. `could_wait` says whether some delegate may have it, now or later; `resume` tries, and `leave` must follow.

    `expire` writes down that a task's time is over, and raises where that fails.
    """

    def __init__(
        self,
        clock: Clock,
        could_wait: Callable[[str, Wanted], bool],
        resume: Callable[[Entry], None],
        expire: Callable[[Entry], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._could_wait = could_wait
        self._resume = resume
        self._expire = expire
        self._lines: dict[str, Line[Entry]] = {}
        self._tried: Counter[tuple[str, str]] = Counter()
        self._trying: set[Entry] = set()
        self._stirred: set[str] = set()
        self._is_closed = False

    def enter(self, entry: Entry, *, again: bool = False) -> None:
        """It waits from now on; one that was tried, or comes back `again`, has its pause first."""
        if again or entry in self._trying:
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

    @property
    def is_stirred(self) -> bool:
        """Whether some are about to be tried."""
        return bool(self._stirred)

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
        known: dict[Wanted, bool] = {}
        for entry in list(line or ()):
            tried = self._tried[account, entry.priority]
            if self._is_closed or tried >= MOST_TRIED or entry.not_before > moment or entry.exp <= now:
                continue
            if entry.wanted is not None:
                if entry.wanted not in known:
                    known[entry.wanted] = self._could_wait(account, entry.wanted)
                if not known[entry.wanted]:
                    continue
            assert line is not None
            line.take(entry)
            self._tried[account, entry.priority] += 1
            self._trying.add(entry)
            self._resume(entry)
        if line is not None and not line:
            self._lines.pop(account, None)

    def _leave(self, entry: Entry) -> None:
        if entry in self._trying:
            self._trying.discard(entry)
            self._tried[entry.account, entry.priority] -= 1
            self._tried = +self._tried
