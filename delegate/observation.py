"""What the delegate's figures ask of its parts whenever they are read."""

from __future__ import annotations

from delegate.clock import Clock
from delegate.metrics import DelegateMetrics
from delegate.passport import Passport
from delegate.secret_managers.registry import Registry
from delegate.trust import Trust
from shared.tracing import Tracer
from shared.trust.expiry import soonest_grant


def observe(
    metrics: DelegateMetrics, *, trust: Trust, passport: Passport, registry: Registry, clock: Clock, tracer: Tracer
) -> None:
    """Has the figures ask these parts."""
    keys = registry.surroundings.data_keys

    def expiry() -> dict[str, float]:
        now, status = clock.now(), trust.book.status
        ends = {
            "certificate": passport.expires,
            "grant": soonest_grant(trust.book, now),
            "status": status.document.exp if status is not None else None,
        }
        return {kind: end - now for kind, end in ends.items() if end is not None}

    metrics.answer("soonest_expiry_seconds", expiry)
    metrics.answer("spans_exported_total", lambda: tracer.exported)
    metrics.answer("spans_dropped_total", lambda: tracer.dropped)
    metrics.answer("data_keys_kept", lambda: len(keys))
    metrics.answer("data_keys_hits_total", lambda: keys.hits)
    metrics.answer("data_keys_misses_total", lambda: keys.misses)
    metrics.answer("managers_kept", lambda: registry.kept)
    metrics.answer("managers_hits_total", lambda: registry.hits)
    metrics.answer("managers_misses_total", lambda: registry.misses)
