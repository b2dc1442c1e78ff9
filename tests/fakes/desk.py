"""A manager's parts for orders around a real store, and delegates that are simulated.

async with opened(tmp_path) as desk:
    delegate, order, running = await desk.begun()            # its first run is with the delegate
    delegate.answer()
    await ended(running)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from manager.authentication import Caller
from manager.books import Books, row_of
from manager.checks import Checks
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.orders import Orders
from manager.rows import RunRow
from manager.store import Store
from manager.stream import Streams
from shared.crypto.identity import Identity
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from tests.fakes import standing
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.fakes.world import World

CAPACITY = 10
"""How many tasks one of its delegates takes."""


class WorldClock(Clock):
    """The world's time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        """Seconds since 1970."""
        return self._world.now


class Desk:
    """Begun anew over the same store as often as wanted."""

    def __init__(self, world: World, store: Store) -> None:
        self.world, self.store = world, store
        self.clock, self.metrics = WorldClock(world), ManagerMetrics("0")
        metrics = self.metrics
        self.fleet = Fleet()
        self.dispatcher = Dispatcher(self.fleet, self.clock, metrics, grace_seconds=0.01)
        self.books = Books(store, self.clock)
        checks = Checks(store, self.clock)
        streams = Streams(self.books, self.fleet, self.dispatcher, checks, self.clock, metrics, ("http://manager",))
        self.orders = Orders(store, self.books, self.fleet, self.dispatcher, streams, self.clock, metrics)
        self._published = 0

    async def publish(self) -> None:
        """What the world has published since the last time."""
        world = self.world
        new, self._published = world.documents[self._published :], len(world.documents)
        book = world.book()
        found = [book.admit(one, world.now) for one in new]
        await self.store.publish(world.id, [row_of(one) for one in found])
        self.books.take(world.id, found)

    async def give(self, order: Verified[OrderDocument], *inputs: bytes, caller: Identity | None = None) -> None:
        """As its owner publishes it. Raises what is wrong with it."""
        kid = (caller or self.world.administrator).kid
        await self.orders.publish(Caller(self.world.id, kid), order.compact, inputs)

    async def restarted(self) -> Desk:
        """Another manager over the same store; this one is gone in the middle of what it did."""
        again = Desk(self.world, self.store)
        await again.orders.recover()
        return again

    async def begun(self) -> tuple[Simulated, Verified[OrderDocument], list[asyncio.Task[None]]]:
        """A delegate, an order, and what is under way since the delegate has the order's first run."""
        delegate, order = self.delegate("alpha"), checking(self)
        await self.give(order)
        running = self.orders.look()
        await until(delegate.tasks)
        return delegate, order, running

    def delegate(self, name: str) -> Simulated:
        """One more, with all its places."""
        return Simulated(self, name, CAPACITY)

    async def rows(self, order: Verified[OrderDocument]) -> list[RunRow]:
        """Its runs, the newest first."""
        return await self.orders.ledger.runs(self.world.id, order.document.id)

    async def entries(self) -> list[dict[str, Any]]:
        """The account's audit, in its order."""
        return [json.loads(one.entry) for one in await self.store.audit_page(self.world.id, limit=500)]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Desk]:
    """One whose account is published, over a database in that folder."""
    world = World()
    async with Store(f"sqlite:///{folder}/manager.db") as store:
        await store.write(lambda transaction: transaction.add_account(world.id, world.now, "w"), account=world.id)
        one = Desk(world, store)
        await one.publish()
        yield one
        # A test that failed may have left a run that nobody answers.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await one.orders.drain()


def checking(desk: Desk, **changes: Any) -> Verified[OrderDocument]:
    """An order of the desk's administrator: to test its connector every hour."""
    return standing.checking(desk.world, **changes)


async def ended(running: list[asyncio.Task[None]]) -> None:
    """They all have. Raises TimeoutError."""
    async with asyncio.timeout(30):
        await asyncio.gather(*running)
