"""The manager's figures for Prometheus; what they have in common with the delegate's is `shared.metrics`.

Accounts are told by their id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.metrics import Described, Figures

PREFIX: Final = "privyseal_manager_"

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


class ManagerMetrics(Figures):
    """Every figure of one manager."""

    def __init__(self, version: str) -> None:
        super().__init__(PREFIX, version)
        self.delegates = self.gauge("delegates_connected", "delegates with an open stream")
        self.over_limit = self.gauge(
            "delegates_over_limit", "those of them that take no new tasks because of their load", "resource"
        )
        self.dispatch = self.histogram(
            "task_dispatch_seconds", "from a task's arrival to its sending to a delegate", "op"
        )
        self.requests = self.histogram("request_seconds", "how long an HTTP request took", "route", "status")
        self.status_expiry = self.gauge("status_expiry_timestamp_seconds", "when the newest status expires", "account")
        for name, (kind, meaning) in _STORE.items():
            self.described.append(Described(_store_name(name, kind), kind, (), meaning))

    def follow_store(self, figures: Callable[[], Mapping[str, int]]) -> None:
        """Ask the store for its own figures at each exposition; once for each manager."""
        self.registry.register(_StoreFigures(figures))


def table() -> tuple[Described, ...]:
    """Every metric of a manager, in the order of the documentation."""
    return tuple(ManagerMetrics("0").described)


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
