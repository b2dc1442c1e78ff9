"""A task's life in the manager's hands, as a pure state machine.

                 dispatched          answered
    QUEUED  ------------------> LEASED -------> DONE | FAILED
      ^   \\                     |  \\
      |    +--> EXPIRED          |   +--> CANCELLED
      +------- lost (any) -------+
                                 +-- lost (never) --> UNKNOWN

The lease is for liveness, never for safety: what may happen twice says so itself (`repeat`), and what may not names its
one delegate, so a lost one is never queued again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Literal, get_args

Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
"""How a manager serves tasks that wait, the first served first. Nobody signs or verifies it."""

MOST_ATTEMPTS = 3
RETRYABLE_CODES = frozenset({"unavailable", "overloaded", "not_ready"})
"""Answers after which another delegate may do better."""


class State(Enum):
    """Where a task is."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({State.DONE, State.FAILED, State.UNKNOWN, State.CANCELLED, State.EXPIRED})


class WrongTransition(Exception):
    """A bug in the caller: the task isn't in a state in which that can happen."""


@dataclass(frozen=True, slots=True)
class Life:
    """One task's state. Each method gives the next one."""

    repeat: Literal["any", "never"]
    state: State = State.QUEUED
    attempt: int = 0
    delegate: str = ""
    tried: frozenset[str] = frozenset()
    code: str = ""

    def dispatched(self, delegate: str) -> Life:
        """Sent to `delegate` (a thumbprint)."""
        self._must_be(State.QUEUED)
        return Life(self.repeat, State.LEASED, self.attempt + 1, delegate, self.tried | {delegate}, self.code)

    def answered(self, code: str, *, others: bool) -> Life:
        """Its delegate answered `code`; `others` says whether a delegate that wasn't tried could take it."""
        self._must_be(State.LEASED)
        if code in RETRYABLE_CODES and self.repeat == "any" and others and self.attempt < MOST_ATTEMPTS:
            return replace(self, state=State.QUEUED, delegate="", code=code)
        state = State.DONE if code in {"ok", "partial"} else State.FAILED
        return Life(self.repeat, state, self.attempt, self.delegate, self.tried, code)

    def lost(self) -> Life:
        """Its delegate was cut off before it answered."""
        self._must_be(State.LEASED)
        if self.repeat == "never":
            return replace(self, state=State.UNKNOWN, code="delegate_lost")
        if self.attempt >= MOST_ATTEMPTS:
            return replace(self, state=State.FAILED, code="delegate_lost")
        return replace(self, state=State.QUEUED, delegate="", code="delegate_lost")

    def needed(self) -> Life:
        """Its delegate lacked documents and hasn't begun: as if it hadn't been sent."""
        self._must_be(State.LEASED)
        return replace(self, state=State.QUEUED, delegate="", attempt=self.attempt - 1)

    def cancelled(self) -> Life:
        """Its signer gave it up. One that is running may have happened all the same."""
        if self.state in FINAL:
            return self
        running = self.state is State.LEASED and self.repeat == "never"
        return replace(self, state=State.UNKNOWN if running else State.CANCELLED, code="cancelled")

    def expired(self) -> Life:
        """Its time to start ran out while it waited."""
        self._must_be(State.QUEUED)
        return replace(self, state=State.EXPIRED, code="expired")

    def refused(self, code: str) -> Life:
        """No delegate can take it."""
        self._must_be(State.QUEUED)
        return replace(self, state=State.FAILED, code=code)

    def _must_be(self, state: State) -> None:
        if self.state is not state:
            raise WrongTransition(f"the task is {self.state.value}, not {state.value}")
