"""What a damaged database keeps of orders and of tasks that wait: one bad row keeps the manager from nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from manager.clock import Clock
from manager.line import Line
from manager.outcomes import Finished
from manager.queue import Entry, Queue, Submission
from manager.runs import finished_of, output_of
from manager.store import Store
from manager.tables import orders, queue
from shared.canonical import digest
from shared.errors import Conflict, Malformed
from tests.fakes.desk import Desk, checking, ended
from tests.fakes.manager import until
from tests.fakes.refusal import refused
from tests.fakes.standing import order_of

GARBAGE = b"\xc1 no message of ours"


async def test_an_order_that_cannot_be_read_any_more_keeps_no_other_from_running(desk: Desk) -> None:
    order, damaged = checking(desk), checking(desk, name="damaged")
    for one in (order, damaged):
        await desk.give(one)
    where = orders.c.order == damaged.document.id
    await desk.store.write(
        lambda transaction: transaction.connection.execute(update(orders).where(where).values(compact="garbage")),
        account=desk.world.id,
    )
    again = await desk.restarted()
    delegate = again.delegate("alpha")
    running = again.orders.look()
    await until(delegate.tasks)
    delegate.answer()
    await ended(running)
    assert [one.state for one in await again.rows(order)] == ["done"]
    assert await again.rows(damaged) == []


async def test_a_run_whose_outcome_cannot_be_read_says_so(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
    delegate.answer()
    await ended(running)
    (listed,) = await desk.rows(order)
    row = await desk.orders.ledger.run(desk.world.id, order.document.id, listed.run)
    assert row is not None
    row = msgspec.structs.replace(row, outcome=GARBAGE, output=GARBAGE)
    for read in (finished_of, output_of):
        with refused(Malformed, "run_unreadable"):
            read(row)


async def test_a_task_that_waits_with_an_unknown_priority_waits_as_any_other(tmp_path: Path) -> None:
    submission = Submission("x.y.z", (), ())
    one = Entry("a" * 52, digest(submission.compact), "p", "high", "reveal", "main", 1_000_000, 2_000_000)
    other = Entry("a" * 52, "ended", "p", "high", "reveal", "main", 1_000_000, 2_000_000)
    done = Finished("ended", "done", "ok")

    def damage(transaction: Any) -> None:
        transaction.connection.execute(update(queue).where(queue.c.task == one.task).values(priority="urgent"))
        transaction.connection.execute(update(queue).where(queue.c.task == "ended").values(outcome=GARBAGE))

    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        before = Queue(store, Clock())
        for entry in (one, other):
            await before.add(entry, submission)
        await store.write(before.ending(other, done), account=other.account)
        before.has_ended(other, done)
        await store.write(damage, account=one.account)
        after = Queue(store, Clock())
        (loaded,) = await after.load()
        line: Line[Entry] = Line()
        line.add(loaded, loaded.principal, loaded.priority)
        assert list(line) == [loaded]
        found = after.find(other.account, "ended")
        assert found is not None
        with refused(Malformed, "queue_unreadable"):
            await after.outcome(found)


@pytest.mark.parametrize("is_revoked", [False, True])
async def test_a_cancellation_of_what_nobody_ordered_is_not_kept(desk: Desk, is_revoked: bool) -> None:
    world = desk.world
    ann = world.identity("ann")
    grant = world.grant(ann, ["use"])
    if is_revoked:
        world.revise_status(grants=(grant.document.id,))
    await desk.publish()
    order = order_of(world, world.check(world.connector, ann), ann, deleted=True)
    with refused(Conflict, "order_unknown"):
        await desk.give(order, caller=ann)
    assert await desk.orders.ledger.of_account(world.id) == []
    assert await desk.store.head(world.id, "order", order.document.id) is None
