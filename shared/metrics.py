"""What both daemons' figures for Prometheus have in common.

Promises: a registry of its own; one prefix; operations and codes beyond the known ones count as `other`, so that nobody
fills the memory with labels; every metric is described, so that the documentation can be held to it. Must not carry the
name of a secret, a scope or a person.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from shared.documents.task import OPERATIONS

Outcome = Literal["completed", "failed", "timed_out"]

MOST_CODES: Final = 64
OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_OPS = frozenset(OPERATIONS)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Described(NamedTuple):
    """One metric, as the documentation lists it."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str


class Figures:
    """One daemon's figures; `prefix` begins their names. Times of expiry are seconds since 1970, 0 while unknown."""

    def __init__(self, prefix: str, version: str) -> None:
        # Not a series of ours: it doubles each counter with the time at which it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.described: list[Described] = []
        self.prefix = prefix
        self.registry = CollectorRegistry()
        self._codes: set[str] = set()
        self.executing = self.gauge("tasks_executing", "tasks that have begun and not ended")
        self.completed = self.counter("tasks_completed_total", "tasks that ended with a result", "op")
        self.failed = self.counter("tasks_failed_total", "tasks that ended with an error", "op", "code")
        self.timed_out = self.counter("tasks_timed_out_total", "tasks whose time ran out", "op")
        self.refused = self.counter("tasks_rejected_total", "tasks refused before they began", "op", "code")
        self.gauge("build_info", "always 1, the version as its label", "version").labels(version).set(1)

    def ended(self, op: str, outcome: Outcome, code: str = "") -> None:
        """A task has ended; `code` is the error's, for those that failed."""
        op = known(op)
        if outcome == "failed":
            self.failed.labels(op, self._bounded(code)).inc()
        else:
            (self.completed if outcome == "completed" else self.timed_out).labels(op).inc()

    def rejected(self, op: str, code: str) -> None:
        """A task was refused before it began."""
        self.refused.labels(known(op), self._bounded(code)).inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """A described gauge."""
        self.described.append(Described(self.prefix + name, "gauge", labels, meaning))
        return Gauge(self.prefix + name, meaning, labels, registry=self.registry)

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A described counter; its name ends in `_total`."""
        self.described.append(Described(self.prefix + name, "counter", labels, meaning))
        return Counter(self.prefix + name, meaning, labels, registry=self.registry)

    def histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        """A described histogram of seconds."""
        self.described.append(Described(self.prefix + name, "histogram", labels, meaning))
        return Histogram(self.prefix + name, meaning, labels, buckets=SECONDS, registry=self.registry)

    def _bounded(self, code: str) -> str:
        if code in self._codes:
            return code
        if not _CODE.match(code) or len(self._codes) >= MOST_CODES:
            return OTHER
        self._codes.add(code)
        return code


def known(op: str) -> str:
    """The operation as a label: itself, or `other`."""
    return op if op in _OPS else OTHER
