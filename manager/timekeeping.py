"""Whose clock differs from the manager's: by what delegates say themselves, in heartbeats and in what they sign.

Promises: a delegate whose clock is wrong is the last choice for as long as it is, and no longer; and what it refuses meanwhile counts as
its own fault, so that another one is asked where the task allows it: each at most once. A delegate that lies about its
clock keeps tasks from itself, or has them. Must not judge whose clock is right: by the manager's they only differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from manager.clock import Clock
from manager.fleet import Delegate, Fleet
from shared.documents.answer import AnswerDocument
from shared.trust.authority import SKEW_SECONDS

REFUSALS = frozenset({"expired", "denied", "unauthenticated"})
"""Answers that may be for the clock by which a delegate judges times: those of tasks, statuses, grants and certificates."""

PAUSE_SECONDS = 60.0
"""How often it is told of one delegate at most."""

_log = structlog.get_logger()


class Narrowed(Protocol):
    """Told of an account in which fewer may have what waits."""

    def __call__(self, account: str, *, ends: bool) -> None: ...


class Timekeeping:
    """All accounts'. `offer` gives what waits to a delegate whose clock is right again."""

    def __init__(self, fleet: Fleet, clock: Clock, offer: Callable[[Delegate], None], narrowed: Narrowed) -> None:
        self._fleet = fleet
        self._clock = clock
        self._offer = offer
        self._narrowed = narrowed

    def told(self, delegate: Delegate, now: int) -> None:
        """It is `now` by its clock; 0 where it doesn't say."""
        if not now:
            return
        was = delegate.is_off
        self._fleet.clock(delegate, now - self._clock.now())
        if was == delegate.is_off:
            return
        moment = self._clock.monotonic()
        if moment - delegate.clock_told >= PAUSE_SECONDS:
            delegate.clock_told = moment
            _log.warning("clock.differs", account=delegate.account, delegate=delegate.name, seconds=delegate.clock)
        if delegate.is_off:
            self._narrowed(delegate.account, ends=False)
        else:
            self._offer(delegate)

    def is_at_fault(self, delegate: Delegate, answer: AnswerDocument) -> bool:
        """Whether it refused by a clock that differs; what it signed says by which."""
        if delegate.clock is not None:
            self.told(delegate, answer.iat)
        return answer.code in REFUSALS and abs(answer.iat - self._clock.now()) > SKEW_SECONDS
