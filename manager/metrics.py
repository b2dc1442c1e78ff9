"""The manager's figures for Prometheus.

Promises: a registry of its own; names that begin with `privyseal_manager_`; operations and codes beyond the
known ones count as `other`, so that nobody fills the memory with labels; `table()` tells every metric, and a
test holds the documentation to it. Must not carry the name of a secret, a scope or a person; accounts are
told by their id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.documents.task import OPERATIONS

Outcome = Literal["completed", "failed", "timed_out"]

PREFIX: Final = "privyseal_manager_"
MOST_CODES: Final = 64
OTHER: Final = "other"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STORE: Final[Mapping[str, tuple[Literal["gauge", "counter"], str]]] = {
    "batches": ("counter", "group commits done"),
    "writes": ("counter", "writes done in them"),
    "failed_batches": ("counter", "group commits that failed"),
    "waiting_writes": ("gauge", "writes waiting for their commit"),
    "waiting_bytes": ("gauge", "bytes waiting for their commit"),
    "cache_bytes": ("gauge", "bytes in the cache of reads"),
    "cache_entries": ("gauge", "entries in the cache of reads"),
    "cache_hits": ("counter", "reads answered from the cache"),
    "cache_misses": ("counter", "reads that went to the database"),
}
"""The store's own figures, by the names in `Store.figures()`."""
_OPS = frozenset({*OPERATIONS, "exec"})
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Described(NamedTuple):
    """One metric, as the documentation lists it."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str


class ManagerMetrics:
    """Every figure of one manager. Times of expiry are seconds since 1970, 0 while nothing is known."""

    def __init__(self, version: str) -> None:
        # Not a series of ours: it doubles each counter with the time at which it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.described: list[Described] = []
        self._registry = CollectorRegistry()
        self._codes: set[str] = set()
        self.delegates = self._gauge("delegates_connected", "delegates with an open stream")
        self.executing = self._gauge("tasks_executing", "tasks dispatched and not yet answered")
        self.completed = self._counter("tasks_completed_total", "tasks answered with a result", "op")
        self.failed = self._counter("tasks_failed_total", "tasks answered with an error", "op", "code")
        self.timed_out = self._counter("tasks_timed_out_total", "tasks whose time ran out", "op")
        self.refused = self._counter("tasks_rejected_total", "tasks refused before dispatch", "op", "code")
        self.dispatch = self._histogram(
            "task_dispatch_seconds", "from a task's arrival to its sending to a delegate", _SECONDS, "op"
        )
        self.requests = self._histogram("request_seconds", "how long an HTTP request took", _SECONDS, "route", "status")
        self.status_expiry = self._gauge("status_expiry_timestamp_seconds", "when the newest status expires", "account")
        self._gauge("build_info", "always 1, the version as its label", "version").labels(version).set(1)
        for name, (kind, meaning) in _STORE.items():
            self.described.append(Described(_store_name(name, kind), kind, (), meaning))

    def follow_store(self, figures: Callable[[], Mapping[str, int]]) -> None:
        """Ask the store for its own figures at each exposition; once for each manager."""
        self._registry.register(_StoreFigures(figures))

    def finished(self, op: str, outcome: Outcome, code: str = "") -> None:
        """A task has ended; `code` is the error's, for those that failed."""
        op = _known(op)
        if outcome == "failed":
            self.failed.labels(op, self._bounded(code)).inc()
        else:
            (self.completed if outcome == "completed" else self.timed_out).labels(op).inc()

    def rejected(self, op: str, code: str) -> None:
        """A task was refused before it was given to a delegate."""
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

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self.described.append(Described(PREFIX + name, "histogram", labels, meaning))
        return Histogram(PREFIX + name, meaning, labels, buckets=buckets, registry=self._registry)


def table() -> tuple[Described, ...]:
    """Every metric of a manager, in the order of the documentation."""
    return tuple(ManagerMetrics("0").described)


def _known(op: str) -> str:
    return op if op in _OPS else OTHER


def _store_name(name: str, kind: str) -> str:
    return f"{PREFIX}store_{name}" + ("_total" if kind == "counter" else "")


class _StoreFigures(Collector):
    def __init__(self, figures: Callable[[], Mapping[str, int]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        for name, (kind, meaning) in _STORE.items():
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            yield family(_store_name(name, kind), meaning, value=figures[name])
