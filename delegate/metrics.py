"""The delegate's figures for Prometheus; what they have in common with the manager's is `shared.metrics`."""

from __future__ import annotations

from typing import Final

from shared.metrics import Described, Figures, Outcome, known

PREFIX: Final = "privyseal_delegate_"


class DelegateMetrics(Figures):
    """Every figure of one delegate."""

    def __init__(self, version: str) -> None:
        super().__init__(PREFIX, version)
        self.connected = self.gauge("connected", "1 while the stream to the manager is open, else 0")
        self.reconnected = self.counter("reconnected_total", "streams opened after the first one")
        self.execution = self.histogram("task_execution_seconds", "how long a task took, whatever its end", "op")
        self.load = self.gauge(
            "load_percent", "use of what the container may have, averaged; NaN if unmeasured", "resource"
        )
        self.over_limit = self.gauge(
            "over_limit", "1 while it takes no new tasks because of its load, else 0", "resource"
        )
        self.status_expiry = self.gauge("status_expiry_timestamp_seconds", "when the newest status expires")
        self.certificate_expiry = self.gauge(
            "certificate_expiry_timestamp_seconds", "when the certificate of this delegate's identity expires"
        )
        self.keyring_generation = self.gauge("keyring_generation", "newest generation of the keyring", "keyring")

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
