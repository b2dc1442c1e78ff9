"""Everything that the API's handlers need, built in `main` and handed over; there are no globals."""

from __future__ import annotations

from dataclasses import dataclass

from manager.authentication import Authentication
from manager.books import Books
from manager.clock import Clock
from manager.condition import Condition
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.orders import Orders
from manager.store import Store
from manager.stream import Streams
from manager.tasks import Tasks
from shared.tracing import Tracer


@dataclass(frozen=True, slots=True)
class Services:
    """One manager's parts."""

    store: Store
    books: Books
    fleet: Fleet
    dispatcher: Dispatcher
    streams: Streams
    tasks: Tasks
    orders: Orders
    authentication: Authentication
    clock: Clock
    metrics: ManagerMetrics
    condition: Condition
    tracer: Tracer
