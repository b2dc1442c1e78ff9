"""Routing as anybody would write it first: every delegate is looked at. What `manager.selection` must always agree with."""

from __future__ import annotations

from collections.abc import Iterable

from manager.routing import DOUBTS, PASSING, Candidate, Wanted, reasons


def choose(candidates: Iterable[Candidate], wanted: Wanted) -> Candidate | None:
    """The least loaded delegate that may have the task now, the one that waited longest among equals."""
    able = [one for one in candidates if not reasons(one, wanted)]
    return min(able, key=lambda one: (one.load, one.order), default=None)


def could_wait(candidates: Iterable[Candidate], wanted: Wanted) -> bool:
    """Whether some delegate is only busy, has failed a test, or has a wrong clock."""
    return any({reason.code for reason in reasons(one, wanted)} <= PASSING for one in candidates)


def has_sound(candidates: Iterable[Candidate], wanted: Wanted) -> bool:
    """Whether some delegate is only busy."""
    return any({reason.code for reason in reasons(one, wanted)} <= PASSING - DOUBTS for one in candidates)


def doubted(candidates: Iterable[Candidate], wanted: Wanted) -> set[str]:
    """Those whom only failed tests and clocks keep from the task, now or when they are less busy, where at most one other could have it."""
    codes = {one.delegate: {reason.code for reason in reasons(one, wanted)} for one in candidates}
    fitting = {name for name, found in codes.items() if found <= PASSING}
    failed = {name for name in fitting if codes[name] & DOUBTS}
    return failed if len(fitting) - len(failed) <= 1 else set()
