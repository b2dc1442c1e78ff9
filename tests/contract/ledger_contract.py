"""What every database under the ledger of orders must do, run against SQLite and PostgreSQL alike.

A subclass gives the fixture `url`: an empty database of its own for each test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from manager import ledger as ledgers
from manager.ledger import Ledger
from manager.rows import RunRow, TaskRow
from manager.store import Store
from manager.tables import documents
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from shared.errors import Conflict, Overloaded
from tests.fakes.refusal import refused
from tests.fakes.standing import order_of
from tests.fakes.world import World

WORLD = World()
A = WORLD.id
NOW = WORLD.now


def order(name: str = "nightly", **changes: Any) -> Verified[OrderDocument]:
    """An order of the world's administrator."""
    return order_of(WORLD, WORLD.check(WORLD.connector), name=name, **changes)


def run(n: int, of: Verified[OrderDocument], **changes: Any) -> RunRow:
    """A run that is over."""
    row = RunRow(of.document.id, 1, n, f"run {n}", "done", "ok", started_at=NOW + n, finished_at=NOW + n)
    return msgspec.structs.replace(row, **changes)


class LedgerContract:
    """The cases."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        async with Store(url) as store:
            yield store

    @pytest.fixture
    def ledger(self, store: Store) -> Ledger:
        return Ledger(store)

    async def test_an_order_is_kept_with_its_input_until_a_revision_takes_its_place(self, ledger: Ledger) -> None:
        first = order()
        await ledger.publish(A, first, b"sealed", NOW, [])
        await ledger.publish(A, first, b"sealed", NOW, [])
        found = await ledger.order(A, first.document.id)
        assert found is not None and (found.rev, found.input, found.published_at) == (1, b"sealed", NOW)
        second = WORLD.next(first, runs=5)
        await ledger.publish(A, second, b"other", NOW + 1, [])
        found = await ledger.order(A, first.document.id)
        assert found is not None and (found.rev, found.input, found.compact) == (2, b"other", second.compact)
        assert [(one.order, one.input) for one in await ledger.of_account(A)] == [(first.document.id, None)]
        assert await ledger.of_account(A, "another") == []
        assert [account for account, _ in await ledger.standing()] == [A]
        with refused(Conflict, "document_changed"):
            await ledger.publish(A, WORLD.next(first, runs=6), b"fork", NOW, [])
        await ledger.publish(A, WORLD.next(second, deleted=True), None, NOW + 2, [])
        found = await ledger.order(A, first.document.id)
        assert found is not None and (found.deleted, found.input) == (True, None)
        assert await ledger.standing() == []

    async def test_an_account_has_so_many_orders_and_one_owner_half_of_them(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "MOST_ORDERS", 4)
        one = order("one")
        await ledger.publish(A, one, None, NOW, [])
        await ledger.publish(A, order("two"), None, NOW, [])
        with refused(Overloaded, "orders_too_many"):
            await ledger.publish(A, order("three"), None, NOW, [])
        other = WORLD.identity("other")
        await ledger.publish(A, order_of(WORLD, WORLD.check(WORLD.connector), other, name="four"), None, NOW, [])
        # What has ended, or was cancelled, takes no place.
        await ledger.publish(A, order("three"), None, NOW + 10**6, [])
        await ledger.publish(A, WORLD.next(one, deleted=True), None, NOW, [])

    async def test_an_order_that_has_ended_takes_a_place_again_when_it_is_renewed(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "MOST_ORDERS", 4)
        over = order("over", exp=NOW + 10)
        await ledger.publish(A, over, None, NOW, [])
        one = order("one")
        for each in (one, order("two")):
            await ledger.publish(A, each, None, NOW + 10, [])
        with refused(Overloaded, "orders_too_many"):
            await ledger.publish(A, WORLD.next(over, iat=NOW + 20, exp=NOW + 10**5), None, NOW + 20, [])
        await ledger.publish(A, WORLD.next(one, runs=7), None, NOW + 20, [])

    async def test_what_orders_take_in_is_bounded_and_half_of_it_is_for_one_owner(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "INPUT_BYTES", 100)
        one = order("one")
        await ledger.publish(A, one, bytes(40), NOW, [])
        await ledger.publish(A, order("none"), None, NOW, [])
        with refused(Overloaded, "orders_too_large"):
            await ledger.publish(A, order("two"), bytes(20), NOW, [])
        bigger = WORLD.next(one, runs=5)
        with refused(Overloaded, "orders_too_large"):
            await ledger.publish(A, bigger, bytes(60), NOW, [])
        await ledger.publish(A, bigger, bytes(50), NOW, [])
        other = WORLD.identity("other")
        theirs = order_of(WORLD, WORLD.check(WORLD.connector), other, name="theirs")
        await ledger.publish(A, theirs, bytes(50), NOW, [])
        third = order_of(WORLD, WORLD.check(WORLD.connector), WORLD.identity("third"), name="third")
        with refused(Overloaded, "orders_too_large"):
            await ledger.publish(A, third, bytes(1), NOW, [])
        await ledger.publish(A, WORLD.next(bigger, deleted=True), None, NOW, [])
        await ledger.publish(A, third, bytes(50), NOW, [])

    async def test_the_last_hundred_runs_are_kept_and_the_newest_come_first(self, ledger: Ledger) -> None:
        one = order()
        for n in range(ledgers.MOST_RUNS + 5):
            await ledger.put_run(A, run(n, one), None, [])
        rows = await ledger.runs(A, one.document.id)
        assert [row.n for row in rows] == list(range(ledgers.MOST_RUNS + 4, 4, -1))
        assert (await ledger.last_runs())[A, one.document.id].n == ledgers.MOST_RUNS + 4
        assert await ledger.last_runs("b" * 52) == {}

    async def test_a_run_is_written_over_and_one_may_take_anothers_place(self, ledger: Ledger, store: Store) -> None:
        one = order()
        task = TaskRow("run 0", "check", "p", "queued")
        await ledger.put_run(A, run(0, one, state="running", finished_at=None), task, [])
        await ledger.put_run(A, run(0, one, outcome=b"sealed", size=6), TaskRow("run 0", "check", "p", "done"), [])
        whole = await ledger.run(A, one.document.id, "run 0")
        assert whole is not None and (whole.state, whole.outcome) == ("done", b"sealed")
        found = await store.task(A, "run 0")
        assert found is not None and found.state == "done"
        await ledger.put_run(A, run(1, one, state="refused"), None, [], (1, 0))
        assert [(row.n, row.state) for row in await ledger.runs(A, one.document.id)] == [(1, "refused")]
        assert await ledger.run(A, one.document.id, "run 0") is None

    async def test_the_oldest_outcomes_go_first_where_there_is_no_room(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "ORDER_BYTES", 25)
        one, other = order("one"), order("two")
        for n in range(4):
            await ledger.put_run(A, run(n, one, outcome=bytes(10), size=10), None, [])
        assert [row.size for row in await ledger.runs(A, one.document.id)] == [10, 10, 0, 0]
        monkeypatch.setattr(ledgers, "ACCOUNT_BYTES", 25)
        await ledger.put_run(A, run(9, other, run="other", outcome=bytes(10), size=10), None, [])
        assert [row.size for row in await ledger.runs(A, one.document.id)] == [10, 0, 0, 0]
        assert [row.size for row in await ledger.runs(A, other.document.id)] == [10]

    async def test_an_owners_outcomes_make_room_for_his_own_before_anybody_elses(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "ACCOUNT_BYTES", 60)
        other = WORLD.identity("other")
        modest = order_of(WORLD, WORLD.check(WORLD.connector), other, name="modest")
        flooding = [order(f"flooding {number}") for number in range(4)]
        for one in (modest, *flooding):
            await ledger.publish(A, one, None, NOW, [])
        await ledger.put_run(A, run(0, modest, run="modest", outcome=bytes(20), size=20), None, [])
        for n in range(1, 4):
            for one in flooding:
                row = run(n, one, run=f"{one.document.name} {n}", outcome=bytes(10), size=10)
                await ledger.put_run(A, row, None, [])
        assert [row.size for row in await ledger.runs(A, modest.document.id)] == [20]
        held = [row.size for one in flooding for row in await ledger.runs(A, one.document.id)]
        assert sum(held) == 40

    async def test_of_what_an_owner_cancelled_so_many_orders_are_kept_as_may_stand(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "MOST_ORDERS", 6)
        other = order_of(WORLD, WORLD.check(WORLD.connector), WORLD.identity("other"), name="other")
        for one in (other, standing := order("standing")):
            await ledger.publish(A, one, None, NOW, [])
        await ledger.publish(A, WORLD.next(other, deleted=True), None, NOW, [])
        for number in range(5):
            one = order(f"gone {number}")
            await ledger.publish(A, one, None, NOW + number, [])
            await ledger.put_run(A, run(0, one, run=f"run of {number}"), None, [])
            await ledger.publish(A, WORLD.next(one, deleted=True), None, NOW + number, [])
        kept = {row.order for row in await ledger.of_account(A)}
        newest = {order(f"gone {number}").document.id for number in (2, 3, 4)}
        assert kept == {other.document.id, standing.document.id, *newest}
        assert await ledger.runs(A, order("gone 0").document.id) == []

    async def test_what_a_restart_overtook_is_unknown(self, ledger: Ledger) -> None:
        one = order()
        await ledger.put_run(A, run(0, one), None, [])
        await ledger.put_run(A, run(1, one, state="running", finished_at=None), None, [])
        assert await ledger.lose(NOW + 5) == 1
        last, first = await ledger.runs(A, one.document.id)
        assert (last.state, last.code, last.finished_at) == ("unknown", "manager_restarted", NOW + 5)
        assert (first.state, first.finished_at) == ("done", NOW)

    async def test_orders_that_ended_long_ago_go_with_their_runs(self, ledger: Ledger) -> None:
        one, other = order("one"), order("two", exp=NOW + 10**6)
        for each in (one, other):
            await ledger.publish(A, each, None, NOW, [])
            await ledger.put_run(A, run(0, each), None, [])
        assert await ledger.prune(one.document.exp) == 0
        assert await ledger.prune(one.document.exp + 1) == 1
        assert [row.order for row in await ledger.of_account(A)] == [other.document.id]
        assert await ledger.runs(A, one.document.id) == [] and len(await ledger.runs(A, other.document.id)) == 1

    async def test_who_renews_and_cancels_all_day_fills_no_disk(
        self, ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "MOST_ORDERS", 4)
        kept = select(documents.c.id, documents.c.rev).where(documents.c.account == A, documents.c.kind == "order")
        one = order("renewed")
        await ledger.publish(A, one, None, NOW, [])
        for runs in range(10):
            one = WORLD.next(one, runs=runs + 1)
            await ledger.publish(A, one, None, NOW, [])
        assert await store.rows(kept) == [(one.document.id, 11)]
        for number in range(6):
            given = order(f"cancelled {number}")
            await ledger.publish(A, given, None, NOW + number, [])
            await ledger.publish(A, WORLD.next(given, deleted=True), None, NOW + number, [])
        found = {id for id, _ in await store.rows(kept)}
        assert found == {row.order for row in await ledger.of_account(A)} and len(found) == 3
        # What isn't kept any more is still nobody else's, and goes on from where it was.
        with refused(Conflict, "document_changed"):
            await ledger.publish(A, order("cancelled 0", runs=7), None, NOW, [])

    async def test_an_order_that_is_forgotten_is_taken_over_by_nobody_else(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledgers, "MOST_ORDERS", 2)
        ended = []
        for number in range(3):
            given = order(f"over {number}")
            await ledger.publish(A, given, None, NOW + number, [])
            ended.append(WORLD.next(given, deleted=True))
            await ledger.publish(A, ended[-1], None, NOW + number, [])
        assert await ledger.order(A, ended[0].document.id) is None
        other = WORLD.identity("other")
        for last in (ended[0], ended[2]):
            with refused(Conflict, "field_immutable"):
                await ledger.publish(A, WORLD.next(last, other, owner=other.kid, deleted=False), None, NOW + 9, [])
