"""Outcomes of tasks that ended a short while ago, for whoever asks for his once more: sealed, signed, and in memory only.

Promises: bounded, and nobody is given another's. What has to be had after a restart too, `manager.queue` keeps.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from manager.authentication import Caller
from manager.clock import Clock

KEPT_OUTCOMES = 1_000
KEPT_BYTES = 64 * 1024 * 1024
KEPT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A task's end, for its submitter: what the delegate signed and sealed, relayed."""

    task: str
    state: str
    code: str
    answer: str = ""
    certificate: str = ""
    sealed: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of what was signed and sealed."""
        return len(self.sealed) + len(self.answer) + len(self.certificate)


class Outcomes:
    """One manager's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[str, float, Finished]] = OrderedDict()
        self._bytes = 0

    def find(self, caller: Caller, task: str) -> Finished | None:
        """The outcome of a task of the caller's."""
        owner, until, finished = self._kept.get((caller.account, task), ("", 0.0, None))
        return finished if owner == caller.kid and self._clock.monotonic() < until else None

    def keep(self, caller: Caller, finished: Finished) -> None:
        """From now on for ten minutes, unless there are too many."""
        name, now = (caller.account, finished.task), self._clock.monotonic()
        before = self._kept.pop(name, None)
        if before is not None:
            self._bytes -= before[2].size
        self._kept[name] = (caller.kid, now + KEPT_SECONDS, finished)
        self._bytes += finished.size
        while len(self._kept) > KEPT_OUTCOMES or self._bytes > KEPT_BYTES or next(iter(self._kept.values()))[1] < now:
            _, (_, _, oldest) = self._kept.popitem(last=False)
            self._bytes -= oldest.size
