"""The delegate's figures for Prometheus; what they have in common with the manager's is `shared.metrics`."""

from __future__ import annotations

from typing import Final, Literal

from prometheus_client import Histogram

from shared.metrics import OTHER, Described, Figures, Outcome, known

PREFIX: Final = "privyseal_delegate_"
MOST_KINDS: Final = 64
"""Kinds of secret managers that are told apart; a delegate has fewer installed."""

Call = Literal["check", "store", "fetch", "look_up", "delete"]


class DelegateMetrics(Figures):
    """Every figure of one delegate."""

    def __init__(self, version: str) -> None:
        super().__init__(PREFIX, version)
        self.connected = self.gauge(
            "connected", "1 while the stream to the manager is open, else 0", alarm="0 for a minute"
        )
        self.reconnected = self.counter(
            "reconnected_total", "streams opened after the first one", alarm="a lasting rate"
        )
        self.execution = self.histogram("task_execution_seconds", "how long a task took, whatever its end", "op")
        self.load = self.gauge(
            "load_percent", "use of what the container may have, averaged; NaN if unmeasured", "resource"
        )
        self.over_limit = self.gauge(
            "over_limit", "1 while it takes no new tasks because of its load, else 0", "resource"
        )
        self.keyring_generation = self.gauge("keyring_generation", "the keyring's generation that is current")
        self.deferred = self.counter(
            "tasks_deferred_total", "tasks that had to wait for documents that weren't known here"
        )
        self.calls = self.histogram(
            "provider_seconds", "how long a secret manager took", "kind", "call", alarm="p99 above its usual one"
        )
        self.errors = self.counter(
            "provider_errors_total",
            "calls of a secret manager that failed",
            "kind",
            "call",
            "error",
            alarm="a rate above the usual one",
        )
        for name, meaning in (("data_keys", "unwrapped data keys"), ("managers", "secret managers with credentials")):
            self.asked(f"{name}_kept", "gauge", f"{meaning} in memory")
            self.asked(f"{name}_hits_total", "counter", f"{meaning} that were found in memory")
            self.asked(f"{name}_misses_total", "counter", f"{meaning} that had to be asked for or made")
        self._kinds: set[str] = set()
        self._timed: dict[tuple[str, Call], Histogram] = {}

    def called(self, kind: str, call: Call, seconds: float, error: str = "") -> None:
        """A call of a secret manager ended; `error` is the class of what went wrong, empty for nothing."""
        if kind not in self._kinds:
            if len(self._kinds) < MOST_KINDS:
                self._kinds.add(kind)
            else:
                kind = OTHER
        # A task may have a thousand calls, and finding the figure of one takes longer than counting it.
        timed = self._timed.get((kind, call))
        if timed is None:
            timed = self._timed[kind, call] = self.calls.labels(kind, call)
        timed.observe(seconds)
        if error:
            self.errors.labels(kind, call, error).inc()

    def started(self) -> None:
        """A task's execution began."""
        self.executing.inc()

    def finished(self, op: str, outcome: Outcome, seconds: float, code: str = "") -> None:
        """A task that `started` ended; `code` is the error's, for those that failed."""
        self.executing.dec()
        self.execution.labels(known(op)).observe(seconds)
        self.ended(op, outcome, code)


def table() -> tuple[Described, ...]:
    """Every metric of a delegate, in the order of the documentation."""
    return tuple(DelegateMetrics("0").described)
