"""Orders that are sent again, cancelled in the wrong moment, or met by a clock or a disk that fails: each run once, each with its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from manager import orders
from manager.runs import finished_of
from shared.documents.answer import AnswerDocument
from shared.errors import Unavailable
from shared.messages import Result
from shared.session import Side
from tests.fakes.desk import Desk, checking, ended
from tests.fakes.manager import until
from tests.fakes.standing import HOUR


async def test_an_order_that_is_sent_again_begins_no_run_again(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
    delegate.answer(sealed=b"sealed")
    await ended(running)
    # A client that didn't hear the answer asks again.
    await desk.give(order)
    assert desk.orders.look() == [] and len(delegate.tasks()) == 1
    (row,) = await desk.rows(order)
    whole = await desk.orders.ledger.run(desk.world.id, order.document.id, row.run)
    assert whole is not None and finished_of(whole).sealed == b"sealed"
    desk.world.now += HOUR
    running = desk.orders.look()
    await until(lambda: len(delegate.tasks()) == 2)
    assert delegate.tasks()[1].run == 2
    delegate.answer()
    await ended(running)


async def test_an_order_that_is_given_twice_at_once_begins_no_run_twice(desk: Desk) -> None:
    delegate, order = desk.delegate("alpha"), checking(desk)
    publish, is_over = desk.orders.ledger.publish, asyncio.Event()
    calls = 0

    async def slowly(*given: Any) -> None:
        nonlocal calls
        calls += 1
        is_second = calls == 2
        await publish(*given)
        if is_second:
            await is_over.wait()

    desk.orders.ledger.publish = slowly  # type: ignore[method-assign, assignment]
    first, second = (asyncio.create_task(desk.give(order)) for _ in range(2))
    await first
    running = desk.orders.look()
    await until(delegate.tasks)
    delegate.answer()
    await ended(running)
    is_over.set()
    await second
    assert calls == 2 and desk.orders.look() == [] and len(delegate.tasks()) == 1


async def test_what_is_cancelled_while_a_run_is_written_down_is_sent_to_nobody(desk: Desk) -> None:
    delegate, order = desk.delegate("alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    while not await desk.rows(order):
        await asyncio.sleep(0)
    # It is durable, and may not have been noticed yet.
    again = checking(desk, name="another")
    await desk.give(again)
    put_run, cancelled = desk.orders.ledger.put_run, asyncio.Event()

    async def slowly(*row: Any) -> None:
        await put_run(*row)
        await cancelled.wait()

    desk.orders.ledger.put_run = slowly  # type: ignore[method-assign, assignment]
    running += desk.orders.look()
    async with asyncio.timeout(30):
        while not await desk.rows(again):
            await asyncio.sleep(0.001)
    await desk.give(desk.world.next(again, deleted=True))
    cancelled.set()
    await until(delegate.tasks)
    delegate.answer()
    await ended(running)
    assert [one.document for one in delegate.tasks()] == [order.compact]
    (row,) = await desk.rows(again)
    assert (row.state, row.code) == ("cancelled", "cancelled")


async def test_a_renewed_order_that_is_cancelled_takes_back_the_run_of_the_revision_before(desk: Desk) -> None:
    delegate, order = desk.delegate("alpha"), checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    renewed = desk.world.next(order, runs=5)
    await desk.give(renewed)
    await until(delegate.tasks)
    await desk.give(desk.world.next(renewed, deleted=True))
    await ended(running)
    (row,) = await desk.rows(order)
    assert row.state == "cancelled"


async def test_a_clock_that_was_ahead_for_a_while_stops_no_order(desk: Desk) -> None:
    delegate, _, running = await desk.begun()
    delegate.answer()
    await ended(running)
    desk.world.now += 10 * HOUR
    running = desk.orders.look()
    await until(lambda: len(delegate.tasks()) == 2)
    # By its own clock it isn't time for that.
    delegate.answer("denied")
    await ended(running)
    desk.world.now -= 10 * HOUR
    # What began in this hour doesn't begin again.
    await ended(desk.orders.look())
    await ended(desk.orders.look())
    assert len(delegate.tasks()) == 2
    again = await desk.restarted()
    other = again.delegate("beta")
    for one, there in ((desk, delegate), (again, other)):
        one.world.now += HOUR
        sent, running = len(there.tasks()), one.orders.look()
        await until(lambda sent=sent, there=there: len(there.tasks()) > sent)  # type: ignore[misc]
        there.answer()
        await ended(running)
    assert (delegate.tasks()[-1].run, other.tasks()[-1].run) == (2, 3)


async def test_how_a_run_ended_is_written_down_when_the_store_works_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "RETRY_SECONDS", 0.001)
    delegate, order, running = await desk.begun()
    put_run, failures = desk.orders.ledger.put_run, 3

    async def sometimes(*row: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Unavailable("store_unavailable", "the disk is full")
        await put_run(*row)

    monkeypatch.setattr(desk.orders.ledger, "put_run", sometimes)
    delegate.answer(sealed=b"sealed")
    await ended(running)
    (row,) = await desk.rows(order)
    assert (row.state, row.code) == ("done", "ok")


async def test_a_run_that_an_older_delegate_took_for_a_task_goes_to_another(desk: Desk) -> None:
    old, order, running = await desk.begun()
    new = desk.delegate("beta")
    document = AnswerDocument(v=1, acct=desk.world.id, task=order.digest, code="malformed", iat=desk.world.now)
    reply = Result(old.tasks()[0].id, 1, old.identity.sign_document(document), b"")
    old.row.session.record(Side.DELEGATE, reply)
    desk.dispatcher.replied(old.row, reply)
    await until(new.tasks)
    new.answer()
    await ended(running)
    assert [(one.state, one.name) for one in await desk.rows(order)] == [("done", "beta")]
