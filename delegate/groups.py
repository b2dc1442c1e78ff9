"""A task's targets in its trace: one span for all of a kind, with how many they were, how many failed and how long they took.

A task may have a thousand targets; a trace must not. Must not tell anything of a single one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from delegate.clock import Clock
from shared.tracing import UNRECORDED, Span


@dataclass(slots=True)
class Group:
    """The targets of one kind. `busy` is the sum of their seconds, some of which may have passed at once."""

    span: Span
    targets: int = 0
    failures: int = 0
    busy: float = 0.0

    def failed(self) -> None:
        """One of them did."""
        self.failures += 1


class Groups:
    """One task's; with a span that isn't recorded they cost nothing."""

    def __init__(self, span: Span, clock: Clock) -> None:
        self._span = span
        self._clock = clock
        self._groups: dict[str, Group] = {}
        self._unrecorded = Group(UNRECORDED)

    @contextmanager
    def target(self, kind: str) -> Iterator[Group]:
        """While one target of that kind is acted on."""
        if self._span is UNRECORDED:
            yield self._unrecorded
            return
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = Group(self._span.child("delegate.secrets", kind=kind))
        began = self._clock.monotonic()
        try:
            yield group
        finally:
            group.targets += 1
            group.busy += self._clock.monotonic() - began

    def end(self) -> None:
        """All are done."""
        for group in self._groups.values():
            group.span.tell(targets=group.targets, failures=group.failures, busy_ms=round(group.busy * 1000))
            group.span.end()
