"""The delegate's figures for Prometheus.

Promises: a registry of its own; names that begin with `privyseal_delegate_`; operations and codes beyond the
known ones count as `other`, so that nobody fills the memory with labels; `table()` tells every metric, and a
test holds the documentation to it. Must not carry the name of a secret, a scope or a person.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from shared.documents.task import OPERATIONS

Outcome = Literal["completed", "failed", "timed_out"]

PREFIX: Final = "privyseal_delegate_"
MOST_CODES: Final = 64
OTHER: Final = "other"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OPS = frozenset({*OPERATIONS, "exec"})
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Described(NamedTuple):
    """One metric, as the documentation lists it."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str


class DelegateMetrics:
    """Every figure of one delegate. Times of expiry are seconds since 1970, 0 while nothing is known."""

    def __init__(self, version: str) -> None:
        # Not a series of ours: it doubles each counter with the time at which it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.described: list[Described] = []
        self._registry = CollectorRegistry()
        self._codes: set[str] = set()
        self.connected = self._gauge("connected", "1 while the stream to the manager is open, else 0")
        self.reconnected = self._counter("reconnected_total", "streams opened after the first one")
        self.executing = self._gauge("tasks_executing", "tasks being executed now")
        self.completed = self._counter("tasks_completed_total", "tasks done", "op")
        self.failed = self._counter("tasks_failed_total", "tasks that ended with an error", "op", "code")
        self.timed_out = self._counter("tasks_timed_out_total", "tasks whose time ran out", "op")
        self.refused = self._counter("tasks_rejected_total", "tasks refused before they began", "op", "code")
        self.execution = self._histogram(
            "task_execution_seconds", "how long a task took, whatever its end", "op"
        )
        self.status_expiry = self._gauge("status_expiry_timestamp_seconds", "when the newest status expires")
        self.certificate_expiry = self._gauge(
            "certificate_expiry_timestamp_seconds", "when the certificate of this delegate's identity expires"
        )
        self.keyring_generation = self._gauge(
            "keyring_generation", "newest generation of the keyring", "keyring"
        )
        self._gauge("build_info", "always 1, the version as its label", "version").labels(version).set(1)

    def started(self) -> None:
        """A task's execution began."""
        self.executing.inc()

    def finished(self, op: str, outcome: Outcome, seconds: float, code: str = "") -> None:
        """A task that `started` ended; `code` is the error's, for those that failed."""
        op = _known(op)
        self.executing.dec()
        self.execution.labels(op).observe(seconds)
        if outcome == "failed":
            self.failed.labels(op, self._bounded(code)).inc()
        else:
            (self.completed if outcome == "completed" else self.timed_out).labels(op).inc()

    def rejected(self, op: str, code: str) -> None:
        """A task was refused before it began."""
        self.refused.labels(_known(op), self._bounded(code)).inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def _bounded(self, code: str) -> str:
        if code in self._codes:
            return code
        if not _CODE.match(code) or len(self._codes) >= MOST_CODES:
            return OTHER
        self._codes.add(code)
        return code

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        self.described.append(Described(PREFIX + name, "gauge", labels, meaning))
        return Gauge(PREFIX + name, meaning, labels, registry=self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        self.described.append(Described(PREFIX + name, "counter", labels, meaning))
        return Counter(PREFIX + name, meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        self.described.append(Described(PREFIX + name, "histogram", labels, meaning))
        return Histogram(PREFIX + name, meaning, labels, buckets=_SECONDS, registry=self._registry)


def table() -> tuple[Described, ...]:
    """Every metric of a delegate, in the order of the documentation."""
    return tuple(DelegateMetrics("0").described)


def _known(op: str) -> str:
    return op if op in _OPS else OTHER
