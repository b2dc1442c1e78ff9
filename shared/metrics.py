"""What both daemons' figures for Prometheus have in common.

Promises: a registry of its own; one prefix; operations, codes and kinds beyond the known ones count as `other`, so that nobody
fills the memory with labels; every metric is described, so that the documentation can be held to it. Must not carry the
name of a secret, a scope or a person, nor the id of an account.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.documents.task import OPERATIONS

Outcome = Literal["completed", "failed", "timed_out"]
Type = Literal["gauge", "counter", "histogram"]

MOST_CODES: Final = 64
OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_OPS = frozenset(OPERATIONS)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")

Ask = Callable[[], float | Mapping[str, float]]
"""A figure's value now, or one for each value of its label; to be quick, since a scrape waits for it."""


class Described(NamedTuple):
    """One metric, as the documentation lists it; `alarm` is what to be woken by, empty for nothing."""

    name: str
    type: Type
    labels: tuple[str, ...]
    meaning: str
    alarm: str = ""


class Figures:
    """One daemon's figures; `prefix` begins their names."""

    def __init__(self, prefix: str, version: str) -> None:
        # Not a series of ours: it doubles each counter with the time at which it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.described: list[Described] = []
        self.prefix = prefix
        self.registry = CollectorRegistry()
        self._codes: set[str] = set()
        self._asked: dict[str, Ask | None] = {}
        self.registry.register(_Asked(self._families))
        self.executing = self.gauge("tasks_executing", "tasks that have begun and not ended")
        self.completed = self.counter("tasks_completed_total", "tasks that ended with a result", "op")
        self.failed = self.counter(
            "tasks_failed_total", "tasks that ended with an error", "op", "code", alarm="a rate above the usual one"
        )
        self.timed_out = self.counter("tasks_timed_out_total", "tasks whose time ran out", "op", alarm="any increase")
        self.refused = self.counter("tasks_rejected_total", "tasks refused before they began", "op", "code")
        self.gauge("build_info", "always 1, the version as its label", "version").labels(version).set(1)
        self.asked(
            "soonest_expiry_seconds",
            "gauge",
            "seconds until the first of a kind expires",
            "kind",
            alarm="below 2592000 for status, 0 or less for any",
        )
        self.asked("spans_exported_total", "counter", "spans that the collector of traces took")
        self.asked(
            "spans_dropped_total",
            "counter",
            "spans that were lost, since the collector is too slow or not there",
            alarm="a lasting increase",
        )

    def ended(self, op: str, outcome: Outcome, code: str = "") -> None:
        """A task has ended; `code` is the error's, for those that failed."""
        op = known(op)
        if outcome == "failed":
            self.failed.labels(op, self.bounded(code)).inc()
        else:
            (self.completed if outcome == "completed" else self.timed_out).labels(op).inc()

    def rejected(self, op: str, code: str) -> None:
        """A task was refused before it began."""
        self.refused.labels(known(op), self.bounded(code)).inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)

    def gauge(self, name: str, meaning: str, *labels: str, alarm: str = "") -> Gauge:
        """A described gauge."""
        self._describe(name, "gauge", labels, meaning, alarm)
        return Gauge(self.prefix + name, meaning, labels, registry=self.registry)

    def counter(self, name: str, meaning: str, *labels: str, alarm: str = "") -> Counter:
        """A described counter; its name ends in `_total`."""
        self._describe(name, "counter", labels, meaning, alarm)
        return Counter(self.prefix + name, meaning, labels, registry=self.registry)

    def histogram(self, name: str, meaning: str, *labels: str, alarm: str = "") -> Histogram:
        """A described histogram of seconds."""
        self._describe(name, "histogram", labels, meaning, alarm)
        return Histogram(self.prefix + name, meaning, labels, buckets=SECONDS, registry=self.registry)

    def asked(self, name: str, type: Literal["gauge", "counter"], meaning: str, *labels: str, alarm: str = "") -> None:
        """A described figure that somebody else keeps: `answer` says who. It has one label at most."""
        assert len(labels) <= 1
        self._describe(name, type, labels, meaning, alarm)
        self._asked[name] = None

    def answer(self, name: str, ask: Ask) -> None:
        """Who is asked for an `asked` figure at each exposition."""
        assert name in self._asked
        self._asked[name] = ask

    def bounded(self, code: str) -> str:
        """The code as a label: itself, or `other` for what is no code and once there are too many."""
        if code in self._codes:
            return code
        if not _CODE.match(code) or len(self._codes) >= MOST_CODES:
            return OTHER
        self._codes.add(code)
        return code

    def _describe(self, name: str, type: Type, labels: tuple[str, ...], meaning: str, alarm: str) -> None:
        self.described.append(Described(self.prefix + name, type, labels, meaning, alarm))

    def _families(self) -> Iterator[Metric]:
        for name, type, labels, meaning, _ in self.described:
            short = name.removeprefix(self.prefix)
            if short not in self._asked:
                continue
            family = (CounterMetricFamily if type == "counter" else GaugeMetricFamily)(name, meaning, labels=labels)
            ask = self._asked[short]
            found = {} if ask is None else ask()
            for value, figure in found.items() if isinstance(found, Mapping) else [("", found)]:
                family.add_metric([value] if labels else [], figure)
            yield family


class _Asked(Collector):
    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering asks nobody."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return self._families()


def known(op: str) -> str:
    """The operation as a label: itself, or `other`."""
    return op if op in _OPS else OTHER
