"""A run that nobody can begin in this moment has its time for it: it isn't over because a line was full, or everybody went."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from manager import orders
from manager.waiting import Waiting
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from shared.trust.warrant import standing
from tests.fakes.desk import CAPACITY, Desk, checking, ended
from tests.fakes.manager import until
from tests.fakes.simulated import Simulated
from tests.fakes.standing import HOUR

Running = list[asyncio.Task[None]]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "RETRY_SECONDS", 0.001)


async def busy(desk: Desk) -> tuple[Simulated, Running]:
    """A delegate all of whose places are taken by other orders' runs."""
    delegate = desk.delegate("alpha")
    for at in range(CAPACITY):
        await desk.give(checking(desk, name=f"other-{at}"))
    running = desk.orders.look()
    await until(lambda: len(delegate.tasks()) == CAPACITY)
    return delegate, running


async def left(desk: Desk) -> tuple[Verified[OrderDocument], Running]:
    """An order whose run waited for a place, and then for anybody at all; the others have ended with their delegate."""
    delegate, others = await busy(desk)
    order = checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: desk.dispatcher.waiting == 1)
    # It is restarted, say, which takes longer than the grace of a task.
    delegate.leave()
    await ended(others)
    assert [one.state for one in await desk.rows(order)] == ["running"]
    return order, running


async def test_a_run_that_waits_for_a_place_outlives_the_delegate_that_it_waited_for(desk: Desk) -> None:
    order, running = await left(desk)
    again = desk.delegate("beta")
    await until(again.tasks)
    again.answer()
    await ended(running)
    assert [(one.state, one.name, one.skipped) for one in await desk.rows(order)] == [("done", "beta", 0)]


async def test_a_run_for_which_the_line_is_full_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    delegate, others = await busy(desk)
    order = checking(desk)
    await desk.give(order)
    with monkeypatch.context() as full:
        full.setattr(Waiting, "is_full_for", lambda _waiting, _assignment: True)
        running = desk.orders.look()
        async with asyncio.timeout(30):
            while not await desk.rows(order):
                await asyncio.sleep(0.001)
        for at in range(CAPACITY):
            delegate.answer(at=at)
        await ended(others)
    delegate.credit(1)
    await until(lambda: len(delegate.tasks()) > CAPACITY)
    delegate.answer()
    await ended(running)
    assert [one.state for one in await desk.rows(order)] == ["done"]


async def test_a_run_whose_time_runs_out_while_nobody_is_there_has_expired_and_the_next_one_is_begun(
    desk: Desk,
) -> None:
    order, running = await left(desk)
    desk.world.now += HOUR
    await ended(running)
    again = desk.delegate("beta")
    following = [one for one in desk.orders.look() if order.document.id in one.get_name()]
    await until(lambda: len(again.tasks()) == CAPACITY)
    await _all(again, following)
    assert [(one.n, one.state) for one in await desk.rows(order)] == [(1, "done"), (0, "expired")]


async def _all(delegate: Simulated, running: Running) -> None:
    answered = 0
    async with asyncio.timeout(30):
        while not all(one.done() for one in running):
            for at in range(answered, len(delegate.tasks())):
                delegate.answer(at=at)
                delegate.credit(1)
                answered += 1
            await asyncio.sleep(0.001)


async def test_a_run_that_nobody_can_take_ends_with_its_order_and_with_a_newer_revision(desk: Desk) -> None:
    order, running = await left(desk)
    newer = desk.world.next(order, runs=50)
    await desk.give(newer)
    await ended(running)
    assert [(one.state, one.code) for one in await desk.rows(order)] == [("failed", "no_delegate")]
    await desk.give(desk.world.next(newer, deleted=True))


async def test_a_run_that_nobody_can_take_can_be_cancelled(desk: Desk) -> None:
    order, running = await left(desk)
    await desk.give(desk.world.next(order, deleted=True))
    await ended(running)
    (row,) = await desk.rows(order)
    assert row.state in {"cancelled", "failed"}


async def test_a_run_that_only_waits_keeps_no_manager_from_ending_and_the_next_one_begins_it(desk: Desk) -> None:
    delegate, others = await busy(desk)
    order = checking(desk)
    await desk.give(order)
    running = desk.orders.look()
    await until(lambda: desk.dispatcher.waiting == 1)
    draining = asyncio.create_task(desk.orders.drain())
    await ended(running)
    assert [(one.state, one.code) for one in await desk.rows(order)] == [("failed", "manager_stopping")]
    assert not draining.done()
    for at in range(CAPACITY):
        delegate.answer(at=at)
    await ended(others)
    await draining
    again = await desk.restarted()
    other = again.delegate("beta")
    running = again.orders.look()
    assert len(running) == 1
    await until(other.tasks)
    other.answer()
    await ended(running)
    assert [(one.n, one.state, one.skipped) for one in await again.rows(order)] == [(0, "done", 0)]


async def test_a_run_that_nobody_is_there_for_is_begun_by_the_next_manager_too(desk: Desk) -> None:
    order, running = await left(desk)
    await desk.orders.drain()
    await ended(running)
    assert [(one.state, one.code) for one in await desk.rows(order)] == [("failed", "manager_stopping")]
    again = await desk.restarted()
    other = again.delegate("beta")
    running = [one for one in again.orders.look() if order.document.id in one.get_name()]
    await until(other.tasks)
    await _all(other, running)
    assert [(one.n, one.state) for one in await again.rows(order)] == [(0, "done")]


async def test_a_run_that_nobody_is_there_for_is_verified_once_and_not_each_time_it_is_looked_at(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, verified = checking(desk), 0
    await desk.give(order)

    def counted(*told: Any) -> Any:
        nonlocal verified
        verified += 1
        return standing(*told)

    monkeypatch.setattr("manager.orders.standing", counted)
    for _ in range(20):
        await ended(desk.orders.look())
        desk.world.now += 6
    assert verified == 1
    delegate = desk.delegate("alpha")
    running = desk.orders.look()
    await until(delegate.tasks)
    delegate.answer()
    await ended(running)
    assert [(one.n, one.state) for one in await desk.rows(order)] == [(0, "done")]
