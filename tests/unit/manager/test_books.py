"""The manager's books beside its store: loaded once, told of all that becomes durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import manager.books
from manager.books import Books, row_of
from manager.clock import Clock
from manager.rows import AccountRow, StoredDocument
from manager.store import Store
from shared.documents.jws import Verified
from tests.fakes.world import World

NOW = int(time.time())


class CountingStore(Store):
    """The real one; counts how often an account's chain is read, and can hold one reading back."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.histories = 0
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def history(
        self, account: str, kind: str, id: str, after_rev: int = 0, limit: int = 100
    ) -> list[StoredDocument]:
        self.histories += not after_rev
        rows = await super().history(account, kind, id, after_rev, limit)
        if self.gate is not None and not after_rev:
            self.reached.set()
            await self.gate.wait()
        return rows


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    async with CountingStore(f"sqlite:///{tmp_path}/manager.db") as one:
        yield one


def books_of(store: Store) -> Books:
    return Books(store, Clock())


async def keep(store: Store, world: World, *documents: Verified) -> None:
    await store.publish(world.id, [row_of(one) for one in documents])


async def world_in(store: Store, name: str) -> World:
    world = World(now=NOW, name=name)
    await store.write(lambda transaction: transaction.add_account(world.id, NOW, name), account=world.id)
    documents = [world.account_document, world.keyring_document, world.status, world.connector]
    await keep(store, world, *documents)
    assert AccountRow(world.id, NOW, name) == await store.account(world.id)
    return world


async def test_a_thousand_who_ask_at_once_wait_for_one_loading(store: CountingStore) -> None:
    world, books = await world_in(store, "one"), books_of(store)
    found = await asyncio.gather(*(books.book(world.id) for _ in range(1000)))
    assert len({id(book) for book in found}) == 1
    assert store.histories == 1
    await books.trust(world.id)
    assert store.histories == 1


async def test_what_becomes_durable_reaches_the_book_of_now_not_one_of_before(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager.books, "MOST_BOOKS", 1)
    world, other, books = await world_in(store, "one"), await world_in(store, "other"), books_of(store)
    before = await books.book(world.id)
    await books.book(other.id)
    now = await books.book(world.id)
    assert now is not before
    status = world.revise_status()
    await keep(store, world, status)
    books.take(world.id, [status])
    assert now.status == status


async def test_what_is_published_while_a_book_is_loaded_is_in_it(store: CountingStore) -> None:
    world, books = await world_in(store, "one"), books_of(store)
    store.gate = asyncio.Event()
    loading = asyncio.create_task(books.book(world.id))
    await store.reached.wait()
    # The status was read before or after; the revision of the account was certainly not.
    account = world.revise(world.account_document, world.root, name="renamed")
    await keep(store, world, account)
    books.take(world.id, [account])
    gate, store.gate = store.gate, None
    gate.set()
    book = await loading
    assert book.account == account
    assert account.compact in (await books.trust(world.id)).documents


async def test_a_large_account_is_verified_beside_the_event_loop(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager.books, "MOST_INLINE", 1)
    world, books = await world_in(store, "one"), books_of(store)
    assert (await books.book(world.id)).status == world.status


async def test_an_unknown_account_is_refused_to_all_who_ask(store: CountingStore) -> None:
    books = books_of(store)
    answers = await asyncio.gather(*(books.book("a" * 52) for _ in range(3)), return_exceptions=True)
    assert [getattr(one, "code", "") for one in answers] == ["account_not_found"] * 3
