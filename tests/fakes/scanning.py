"""Routing as anybody would write it first: every delegate is looked at. What `manager.selection` must always agree with."""

from __future__ import annotations

from collections.abc import Iterable

from manager.routing import PASSING, Candidate, Wanted, reasons


def choose(candidates: Iterable[Candidate], wanted: Wanted) -> Candidate | None:
    """The least loaded delegate that may have the task now, the one that waited longest among equals."""
    able = [one for one in candidates if not reasons(one, wanted)]
    return min(able, key=lambda one: (one.load, one.order), default=None)


def could_wait(candidates: Iterable[Candidate], wanted: Wanted) -> bool:
    """Whether some delegate is only busy."""
    return any({reason.code for reason in reasons(one, wanted)} <= PASSING for one in candidates)
