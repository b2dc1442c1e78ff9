"""The manager's figures for Prometheus; what they have in common with the delegate's is `shared.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from shared.metrics import Described, Figures

PREFIX: Final = "privyseal_manager_"

_STORE: Final[Mapping[str, tuple[Literal["gauge", "counter"], str, str]]] = {
    "batches": ("counter", "group commits done", ""),
    "writes": ("counter", "writes done in them", ""),
    "failed_batches": ("counter", "group commits that failed", "any increase: the disk or the database"),
    "waiting_writes": ("gauge", "writes waiting for their commit", "a lasting rise"),
    "waiting_bytes": ("gauge", "bytes waiting for their commit", ""),
    "cache_bytes": ("gauge", "bytes in the cache of reads", ""),
    "cache_entries": ("gauge", "entries in the cache of reads", ""),
    "cache_hits": ("counter", "reads answered from the cache", ""),
    "cache_misses": ("counter", "reads that went to the database", ""),
}
"""The store's own figures, by the names in `Store.figures()`."""


class ManagerMetrics(Figures):
    """Every figure of one manager."""

    def __init__(self, version: str) -> None:
        super().__init__(PREFIX, version)
        self.delegates = self.gauge("delegates_connected", "delegates with an open stream", alarm="fewer than you run")
        self.asked("delegates_draining", "gauge", "those of them that take no new tasks, since they end")
        self.over_limit = self.gauge(
            "delegates_over_limit", "those of them that take no new tasks because of their load", "resource"
        )
        self.asked(
            "delegates_clock_wrong",
            "gauge",
            "those whose clock differs from the manager's by more than two minutes",
            alarm="above 0",
        )
        self.opened = self.counter("streams_opened_total", "streams of delegates that were welcomed")
        self.closed = self.counter(
            "streams_closed_total", "welcomed streams that have ended", alarm="a lasting rate: delegates come and go"
        )
        self.strangers = self.counter(
            "streams_refused_total", "streams that were refused", "code", alarm="any increase: the code says why"
        )
        self.asked("tasks_waiting", "gauge", "tasks that wait for a free delegate", alarm="above 0 for a minute")
        self.asked("tasks_queued", "gauge", "tasks that are kept until a delegate can take them")
        self.asked(
            "tasks_queued_oldest_seconds",
            "gauge",
            "for how long the first of those has waited",
            alarm="above the time in which you start a delegate",
        )
        self.dispatch = self.histogram(
            "task_dispatch_seconds",
            "from a task's arrival to its handing over to its first delegate",
            "op",
            alarm="p99 above 1",
        )
        self.redispatched = self.counter(
            "tasks_redispatched_total",
            "tasks given to another delegate, since one was lost or couldn't",
            "reason",
            alarm="a lasting rate",
        )
        self.asked(
            "probes_failing", "gauge", "failed tests of connectors that keep delegates from tasks", alarm="above 0"
        )
        self.probes = self.counter(
            "probes_asked_total", "times that a delegate was asked to test connectors at once", "reason"
        )
        self.runs_begun = self.counter("order_runs_begun_total", "runs of orders that were begun")
        self.runs_ended = self.counter(
            "order_runs_ended_total", "runs of orders that ended, by how", "state", alarm="a rate of failed or unknown"
        )
        self.runs_refused = self.counter(
            "order_runs_refused_total",
            "runs of orders that the manager refused before any delegate saw them",
            "code",
            alarm="any increase: look, then privyseal order renew",
        )
        self.runs_skipped = self.counter(
            "order_runs_skipped_total",
            "runs of orders whose time passed with nobody to begin them, counted with the next one",
            alarm="any increase",
        )
        self.asked("order_runs_overdue", "gauge", "those of them that no later run has counted yet", alarm="above 0")
        self.tasks = self.histogram("task_seconds", "from a task's arrival to its end", "op")
        self.requests = self.histogram("request_seconds", "how long an HTTP request took", "route", "status")
        self.asked(
            "accounts_expired",
            "gauge",
            "accounts in use here whose status has expired, so that delegates refuse everything",
            alarm="above 0",
        )
        self.asked("books_hits_total", "counter", "accounts' documents found in memory")
        self.asked("books_misses_total", "counter", "accounts' documents that had to be loaded")
        for name, (kind, meaning, alarm) in _STORE.items():
            self.asked(_store_name(name, kind), kind, meaning, alarm=alarm)

    def follow_store(self, figures: Callable[[], Mapping[str, int]]) -> None:
        """Ask the store for its own figures at each exposition; once for each manager."""
        for name, (kind, _, _) in _STORE.items():
            self.answer(_store_name(name, kind), _figure(figures, name))


def _figure(figures: Callable[[], Mapping[str, int]], name: str) -> Callable[[], int]:
    return lambda: figures()[name]


def table() -> tuple[Described, ...]:
    """Every metric of a manager, in the order of the documentation."""
    return tuple(ManagerMetrics("0").described)


def _store_name(name: str, kind: str) -> str:
    return f"store_{name}" + ("_total" if kind == "counter" else "")
