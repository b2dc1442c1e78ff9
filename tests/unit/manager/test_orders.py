"""Orders on the manager: what is due is begun once, written down before it is sent, and never made up for."""

from __future__ import annotations

import asyncio

import pytest

from manager.orders import RETRY_SECONDS
from manager.runs import finished_of
from shared.errors import Conflict, Denied, Expired, Malformed
from shared.messages import Cancel
from shared.orders import run_id
from tests.fakes.desk import Desk, checking, ended
from tests.fakes.manager import until
from tests.fakes.refusal import refused
from tests.fakes.standing import HOUR, order_of, owned


async def test_a_run_that_is_due_is_sent_once_and_written_down_before(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
    (task,) = delegate.tasks()
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
    await until(lambda: len(delegate.tasks()) == 2)
    delegate.answer()


async def test_the_audit_and_the_tasks_have_each_run(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
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
    delegate = desk.delegate("alpha")
    running = desk.orders.look()
    await until(delegate.tasks)
    assert delegate.tasks()[0].run == 4
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
    delegate = desk.delegate("alpha")
    desk.world.now += RETRY_SECONDS
    running = desk.orders.look()
    await until(delegate.tasks)
    delegate.answer()
    await ended(running)
    assert [(one.n, one.skipped) for one in await desk.rows(order)] == [(0, 0)]


async def test_one_run_of_an_order_is_under_way_at_a_time(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
    desk.world.now += 2 * HOUR
    assert desk.orders.look() == []
    renewed = desk.world.next(order, runs=5, exp=desk.world.now + 24 * HOUR)
    await desk.give(renewed)
    assert desk.orders.look() == []
    delegate.answer()
    await ended(running)
    again = desk.orders.look()
    await until(lambda: len(delegate.tasks()) == 2)
    assert (delegate.tasks()[1].id, delegate.tasks()[1].run) == (run_id(renewed.digest, 0), 1)
    delegate.answer()
    await ended(again)


async def test_refusals_of_one_kind_stand_in_one_row_and_once_in_the_audit(desk: Desk) -> None:
    delegate, order = desk.delegate("alpha"), checking(desk)
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
    assert delegate.tasks() == []
    # And after a restart.
    again = await desk.restarted()
    await ended(again.orders.look())
    (row,) = await again.rows(order)
    assert (row.n, row.skipped) == (3, 3)


async def test_a_refusal_for_another_reason_is_told_anew(desk: Desk) -> None:
    world = desk.world
    owner, grant, order = owned(world)
    await desk.publish()
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
    delegate, order, done = desk.delegate("alpha"), checking(desk), checking(desk, name="done")
    await desk.give(done)
    running = desk.orders.look()
    await until(delegate.tasks)
    delegate.answer()
    await ended(running)
    await desk.give(order)
    desk.orders.look()
    await until(lambda: len(delegate.tasks()) == 2)
    # The process is gone in the middle of a run: another begins over the same store.
    again = await desk.restarted()
    (lost,) = await again.rows(order)
    assert (lost.state, lost.code) == ("unknown", "manager_restarted")
    other = again.delegate("beta")
    assert again.orders.look() == []
    again.world.now += HOUR
    running = again.orders.look()
    assert len(running) == 2
    await until(lambda: len(other.tasks()) == 2)
    other.answer(at=0)
    other.answer(at=1)
    await ended(running)
    assert [one.n for one in await again.rows(done)] == [1, 0]
    delegate.answer()


async def test_a_cancelled_order_takes_its_run_back_and_is_gone_after_a_restart(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
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
    again = await desk.restarted()
    assert again.orders.look() == []


async def test_an_order_ends(desk: Desk) -> None:
    desk.delegate("alpha")
    await desk.give(checking(desk))
    desk.world.now += 24 * HOUR
    assert desk.orders.look() == [] == desk.orders.look()


async def test_what_a_delegate_answers_is_kept_with_its_code(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
    delegate.answer("denied")
    await ended(running)
    (row,) = await desk.rows(order)
    assert (row.state, row.code) == ("failed", "denied")


async def test_a_run_whose_delegate_is_lost_goes_to_another(desk: Desk) -> None:
    first, order, running = await desk.begun()
    second = desk.delegate("beta")
    first.leave()
    await until(second.tasks)
    second.answer()
    await ended(running)
    assert [(one.state, one.name) for one in await desk.rows(order)] == [("done", "beta")]


async def test_a_run_whose_every_delegate_is_lost_has_failed(desk: Desk) -> None:
    delegate, order, running = await desk.begun()
    delegate.leave()
    await ended(running)
    (row,) = await desk.rows(order)
    assert row.state == "failed" and row.outcome is None


async def test_the_managers_end_begins_nothing_and_what_it_breaks_off_is_unknown(desk: Desk) -> None:
    _, order, _ = await desk.begun()
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
