"""Orders on the manager: what is due is begun once, written down before it is sent, and never made up for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from manager.authentication import Caller
from manager.books import Books, row_of
from manager.checks import Checks
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Delegate, Fleet
from manager.metrics import ManagerMetrics
from manager.orders import RETRY_SECONDS, Orders
from manager.rows import RunRow
from manager.runs import finished_of
from manager.store import Store
from manager.stream import Streams
from shared.crypto.identity import Identity
from shared.documents.answer import AnswerDocument, Code
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from shared.errors import Conflict, Denied, Expired, Malformed
from shared.messages import Cancel, Challenge, Credit, FromManager, Hello, Result, Task, Welcome
from shared.orders import run_id
from shared.session import Session, Side
from tests.fakes.refusal import refused
from tests.fakes.standing import HOUR, order_of
from tests.fakes.world import World


class WorldClock(Clock):
    """The world's time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.now


class Simulated:
    """A delegate's side of the conversation: it keeps what it is sent and answers when told to."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk, world = desk, desk.world
        self.identity = world.identity(name)
        self.got: list[FromManager] = []
        session = Session()
        session.record(Side.MANAGER, Challenge(bytes(32)))
        session.record(Side.DELEGATE, Hello("", b"", "", "", (), (), 0))
        session.record(Side.MANAGER, Welcome(1, 1, 1))
        self.row = Delegate(
            account=world.id,
            kid=self.identity.kid,
            certificate=world.certificate(key=self.identity.key, name=name),
            tags=frozenset({name}),
            generations=frozenset({1}),
            kinds=frozenset({"Local"}),
            version="",
            capacity=10,
            session=session,
            send=self._send,
            cut=self.leave,
            connected_at=0,
            last_seen=0,
        )
        desk.fleet.join(self.row)
        self.row.session.record(Side.DELEGATE, Credit(10))
        desk.dispatcher.offer(self.row)

    async def _send(self, message: FromManager) -> None:
        self.got.append(message)

    @property
    def tasks(self) -> list[Task]:
        return [one for one in self.got if isinstance(one, Task)]

    def answer(self, code: Code = "ok", sealed: bytes = b"", at: int = -1) -> None:
        task = self.tasks[at]
        document = AnswerDocument(v=1, acct=self._desk.world.id, task=task.id, code=code, iat=self._desk.world.now)
        reply = Result(task.id, task.attempt, self.identity.sign_document(document), sealed)
        self.row.session.record(Side.DELEGATE, reply)
        self._desk.dispatcher.replied(self.row, reply)

    def leave(self) -> None:
        self._desk.fleet.leave(self.row, self._desk.world.now)
        self._desk.dispatcher.lost(self.row)


class Desk:
    """A manager's parts around one store, begun anew as often as wanted."""

    def __init__(self, world: World, store: Store) -> None:
        self.world, self.store = world, store
        self.clock, metrics = WorldClock(world), ManagerMetrics("0")
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
        kid = (caller or self.world.administrator).kid
        await self.orders.publish(Caller(self.world.id, kid), order.compact, inputs)

    async def rows(self, order: Verified[OrderDocument]) -> list[RunRow]:
        return await self.orders.ledger.runs(self.world.id, order.document.id)

    async def entries(self) -> list[dict[str, Any]]:
        return [json.loads(one.entry) for one in await self.store.audit_page(self.world.id, limit=500)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    world = World()
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        await store.write(lambda transaction: transaction.add_account(world.id, world.now, "w"), account=world.id)
        one = Desk(world, store)
        await one.publish()
        yield one
        # A test that failed may have left a run that nobody answers.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await one.orders.drain()


def checking(desk: Desk, **changes: Any) -> Verified[OrderDocument]:
    return order_of(desk.world, desk.world.check(desk.world.connector), **changes)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def ended(running: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(*running)


async def test_a_run_that_is_due_is_sent_once_and_written_down_before(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    (task,) = delegate.tasks
    assert (task.id, task.run, task.document) == (run_id(order.digest, 0), 1, order.compact)
    (row,) = await desk.rows(order)
    assert (row.n, row.state, row.finished_at) == (0, "running", None)
    assert desk.orders.look() == []
    delegate.answer(sealed=b"sealed")
    await ended(running)
    (row,) = await desk.rows(order)
    assert (row.state, row.code, row.name, row.skipped) == ("done", "ok", "alpha", 0)
    whole = await desk.orders.ledger.run(desk.world.id, order.document.id, row.run)
    assert whole is not None and finished_of(whole).sealed == b"sealed"
    assert desk.orders.look() == []
    desk.world.now += HOUR
    assert len(desk.orders.look()) == 1
    await until(lambda: len(delegate.tasks) == 2)
    delegate.answer()


async def test_the_audit_and_the_tasks_have_each_run(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    delegate.answer()
    await ended(running)
    published, sent, over = [one for one in await desk.entries() if one.get("kind") == "order"]
    assert (published["op"], published["rev"]) == ("document.publish", 1)
    assert (sent["outcome"], over["outcome"], over["code"]) == ("submitted", "done", "ok")
    assert {(one["task"], one["id"], one["op"]) for one in (sent, over)} == {
        (run_id(order.digest, 0), order.document.id, "check")
    }
    task = await desk.store.task(desk.world.id, run_id(order.digest, 0))
    assert task is not None and (task.state, task.op) == ("done", "check")


async def test_with_nobody_there_nothing_is_begun_and_the_next_run_tells(desk: Desk) -> None:
    order = checking(desk)
    await desk.give(order)
    await ended(desk.orders.look())
    assert await desk.rows(order) == [] and desk.orders.look() == []
    desk.world.now += 3 * HOUR
    assert desk.orders.overdue(desk.world.id, order.document.id) == 3
    delegate = Simulated(desk, "alpha")
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    assert delegate.tasks[0].run == 4
    delegate.answer()
    await ended(running)
    (row,) = await desk.rows(order)
    assert (row.n, row.skipped) == (3, 3)
    assert desk.orders.overdue(desk.world.id, order.document.id) == 0
    assert desk.orders.overdue(desk.world.id, "another") == 0


async def test_a_delegate_that_comes_within_the_runs_time_gets_it(desk: Desk) -> None:
    order = checking(desk)
    await desk.give(order)
    await ended(desk.orders.look())
    delegate = Simulated(desk, "alpha")
    desk.world.now += RETRY_SECONDS
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    delegate.answer()
    await ended(running)
    assert [(one.n, one.skipped) for one in await desk.rows(order)] == [(0, 0)]


async def test_one_run_of_an_order_is_under_way_at_a_time(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    desk.world.now += 2 * HOUR
    assert desk.orders.look() == []
    renewed = desk.world.next(order, runs=5, exp=desk.world.now + 24 * HOUR)
    await desk.give(renewed)
    assert desk.orders.look() == []
    delegate.answer()
    await ended(running)
    again = desk.orders.look()
    await until(lambda: len(delegate.tasks) == 2)
    assert (delegate.tasks[1].id, delegate.tasks[1].run) == (run_id(renewed.digest, 0), 1)
    delegate.answer()
    await ended(again)


async def test_refusals_of_one_kind_stand_in_one_row_and_once_in_the_audit(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    desk.world.revise(desk.world.connector, name="another")
    await desk.publish()
    for _ in range(3):
        await ended(desk.orders.look())
        assert desk.orders.look() == []
        desk.world.now += HOUR
    (row,) = await desk.rows(order)
    assert (row.n, row.state, row.code, row.skipped) == (2, "refused", "pin_stale", 2)
    told = [one for one in await desk.entries() if one.get("outcome") == "refused"]
    assert [(one["code"], one["id"]) for one in told] == [("pin_stale", order.document.id)]
    assert delegate.tasks == []
    # And after a restart.
    again = Desk(desk.world, desk.store)
    await again.orders.recover()
    await ended(again.orders.look())
    (row,) = await again.rows(order)
    assert (row.n, row.skipped) == (3, 3)


async def test_a_refusal_for_another_reason_is_told_anew(desk: Desk) -> None:
    world = desk.world
    owner = world.identity("owner")
    grant = world.grant(owner, ["use"])
    await desk.publish()
    order = order_of(world, world.check(world.connector, owner), owner)
    await desk.give(order, caller=owner)
    world.revise_status(grants=(grant.document.id,))
    await desk.publish()
    await ended(desk.orders.look())
    world.revise(world.connector, name="another")
    await desk.publish()
    world.now += HOUR
    await ended(desk.orders.look())
    assert [(one.n, one.code) for one in await desk.rows(order)] == [(1, "pin_stale"), (0, "grant_revoked")]


async def test_a_restart_takes_every_order_up_where_the_store_left_it(desk: Desk) -> None:
    delegate, order, done = Simulated(desk, "alpha"), checking(desk), checking(desk, name="done")
    await desk.give(done)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    delegate.answer()
    await ended(running)
    await desk.give(order)
    desk.orders.look()
    await until(lambda: len(delegate.tasks) == 2)
    # The process is gone in the middle of a run: another begins over the same store.
    again = Desk(desk.world, desk.store)
    await again.orders.recover()
    (lost,) = await again.rows(order)
    assert (lost.state, lost.code) == ("unknown", "manager_restarted")
    other = Simulated(again, "beta")
    assert again.orders.look() == []
    again.world.now += HOUR
    running = again.orders.look()
    assert len(running) == 2
    await until(lambda: len(other.tasks) == 2)
    other.answer(at=0)
    other.answer(at=1)
    await ended(running)
    assert [one.n for one in await again.rows(done)] == [1, 0]
    delegate.answer()


async def test_a_cancelled_order_takes_its_run_back_and_is_gone_after_a_restart(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    end = desk.world.next(order, deleted=True)
    with refused(Malformed, "request_malformed"):
        await desk.give(end, b"an input")
    await desk.give(end)
    await ended(running)
    assert any(isinstance(one, Cancel) for one in delegate.got)
    (row,) = await desk.rows(order)
    assert row.state == "cancelled"
    desk.world.now += HOUR
    assert desk.orders.look() == []
    again = Desk(desk.world, desk.store)
    await again.orders.recover()
    assert again.orders.look() == []


async def test_an_order_ends(desk: Desk) -> None:
    Simulated(desk, "alpha")
    await desk.give(checking(desk))
    desk.world.now += 24 * HOUR
    assert desk.orders.look() == [] == desk.orders.look()


async def test_what_a_delegate_answers_is_kept_with_its_code(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    delegate.answer("denied")
    await ended(running)
    (row,) = await desk.rows(order)
    assert (row.state, row.code) == ("failed", "denied")


async def test_a_run_whose_delegate_is_lost_goes_to_another(desk: Desk) -> None:
    first, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: first.tasks)
    second = Simulated(desk, "beta")
    first.leave()
    await until(lambda: second.tasks)
    second.answer()
    await ended(running)
    assert [(one.state, one.name) for one in await desk.rows(order)] == [("done", "beta")]


async def test_a_run_whose_every_delegate_is_lost_has_failed(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: delegate.tasks)
    delegate.leave()
    await ended(running)
    (row,) = await desk.rows(order)
    assert row.state == "failed" and row.outcome is None


async def test_the_managers_end_begins_nothing_and_what_it_breaks_off_is_unknown(desk: Desk) -> None:
    delegate, order = Simulated(desk, "alpha"), checking(desk)
    await desk.give(order)
    desk.orders.look()
    await until(lambda: delegate.tasks)
    draining = asyncio.create_task(desk.orders.drain())
    await asyncio.sleep(0)
    desk.world.now += HOUR
    assert desk.orders.look() == []
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    (row,) = await desk.rows(order)
    assert (row.state, row.code) == ("unknown", "interrupted")


async def test_an_order_that_could_not_be_done_is_not_kept(desk: Desk) -> None:
    world = desk.world
    other = world.identity("other")
    world.grant(other, ["use"])
    await desk.publish()
    with refused(Denied, "order_of_another"):
        await desk.give(checking(desk), caller=other)
    with refused(Denied, "grant_missing"):
        stranger = world.identity("viewer")
        world.grant(stranger, ["view"])
        await desk.publish()
        await desk.give(order_of(world, world.check(world.connector, stranger), stranger), caller=stranger)
    with refused(Malformed, "input_foreign"):
        await desk.give(checking(desk), b"an input that it doesn't name")
    with refused(Expired, "order_expired"):
        await desk.give(checking(desk, iat=world.now - 2 * HOUR, exp=world.now - 1))
    stale = checking(desk)
    world.revise(world.connector, name="newer")
    with refused(Conflict, "pin_unknown"):
        await desk.give(checking(desk))
    await desk.publish()
    with refused(Conflict, "pin_stale"):
        await desk.give(stale)
    assert await desk.orders.ledger.of_account(world.id) == []
    assert all(one["op"] == "document.refused" for one in await desk.entries())


async def test_the_same_order_twice_is_kept_once_and_another_with_its_number_is_refused(desk: Desk) -> None:
    order = checking(desk)
    await desk.give(order)
    await desk.give(order)
    assert len(await desk.orders.ledger.of_account(desk.world.id)) == 1
    fork = checking(desk, runs=7)
    with pytest.raises(Exception) as caught:
        await desk.give(fork)
    assert getattr(caught.value, "code", "") == "revision_forked"
