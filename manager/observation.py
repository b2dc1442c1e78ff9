"""What the manager's figures ask of its parts whenever they are read."""

from __future__ import annotations

from manager.books import Books
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.queue import Queue
from manager.store import Store
from shared.session import Phase
from shared.tracing import Tracer


def observe(
    metrics: ManagerMetrics,
    *,
    store: Store,
    books: Books,
    fleet: Fleet,
    dispatcher: Dispatcher,
    queue: Queue,
    clock: Clock,
    tracer: Tracer,
    tls_expires: int | None,
) -> None:
    """Has the figures ask these parts; `tls_expires` is when the certificate of the ports does, None for none."""

    def expiry() -> dict[str, float]:
        now = clock.now()
        status, grant, _ = books.expiries(now)
        ends = {
            "certificate": min((one.certificate.document.exp for one in fleet), default=None),
            "grant": grant,
            "status": status,
            "tls": tls_expires,
        }
        return {kind: end - now for kind, end in ends.items() if end is not None}

    metrics.follow_store(store.figures)
    metrics.answer("soonest_expiry_seconds", expiry)
    metrics.answer("accounts_expired", lambda: books.expiries(clock.now())[2])
    metrics.answer("books_hits_total", lambda: books.hits)
    metrics.answer("books_misses_total", lambda: books.misses)
    metrics.answer("delegates_draining", lambda: sum(one.session.phase is Phase.DRAINING for one in fleet))
    metrics.answer("delegates_clock_wrong", lambda: sum(one.is_off for one in fleet))
    metrics.answer("tasks_waiting", lambda: dispatcher.waiting)
    metrics.answer("tasks_queued", lambda: queue.depth)
    metrics.answer("tasks_queued_oldest_seconds", queue.oldest_seconds)
    metrics.answer("probes_failing", lambda: dispatcher.probes.failing)
    metrics.answer("spans_exported_total", lambda: tracer.exported)
    metrics.answer("spans_dropped_total", lambda: tracer.dropped)
