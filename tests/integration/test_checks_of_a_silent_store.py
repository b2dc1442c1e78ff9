"""A database that fails or hangs costs a delegate that tells of a test neither its stream nor what it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from manager.lookup import Lookup
from shared.documents.checked import CheckedDocument
from shared.documents.jws import parse_as
from shared.errors import Unavailable
from shared.messages import Checked, Heartbeat, Use
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import wire_delegate
from tests.fakes.world import World

PATIENCE_SECONDS = 30


class Store:
    """What is read of the manager's store waits while it is `held`, and fails as often as it is told to."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self.going = asyncio.Event()
        self.going.set()
        self.failures = 0
        self.asked = 0

    async def heads(self, lookup: Lookup, account: str, kind: str, ids: Any) -> Any:
        """As `Lookup.heads`."""
        if kind == "connector":
            self.asked += 1
            await self.going.wait()
            if self.failures:
                self.failures -= 1
                raise Unavailable("store_unavailable", "the manager's database can't be read")
        return await self._read(lookup, account, kind, ids)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    one = Store(Lookup.heads)

    async def heads(lookup: Lookup, account: str, kind: str, ids: Any) -> Any:
        return await one.heads(lookup, account, kind, ids)

    monkeypatch.setattr(Lookup, "heads", heads)
    # As after a restart, or with more documents than fit into memory.
    monkeypatch.setattr(Lookup, "cached_head", lambda *_told: None)
    return one


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


def signed(world: World, code: str) -> Checked:
    connector = world.connector
    document = CheckedDocument(
        v=1, acct=world.id, connector=connector.document.id, revision=connector.digest, code=code, iat=int(time.time())  # type: ignore[arg-type]
    )  # fmt: skip
    return Checked(world.delegate.sign_document(document))


async def shown(running: Manager) -> list[str]:
    _, page = await running.call("GET", "checks?below=1")
    return [parse_as(CheckedDocument, one["document"]).document.code for one in page["checks"]]


async def until_shown(running: Manager, code: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await shown(running) != [code]:
            await asyncio.sleep(0.01)


async def test_a_test_that_cannot_be_looked_up_is_dropped_and_the_stream_goes_on(
    running: Manager, store: Store
) -> None:
    async with wire_delegate(running.world, running.configuration.delegate_urls[0]) as delegate:
        store.failures = 1
        await delegate.say(signed(running.world, "denied"))
        await delegate.say(signed(running.world, "ok"))
        await until_shown(running, "ok")


async def test_a_database_that_hangs_keeps_nothing_else_that_a_delegate_says_from_being_heard(
    running: Manager, store: Store
) -> None:
    async with wire_delegate(running.world, running.configuration.delegate_urls[0]) as delegate:
        store.going.clear()
        await delegate.say(signed(running.world, "denied"))
        # Else it would count as silent soon, and lose what it runs.
        await delegate.say(Heartbeat(cpu=Use(42, 80, False)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _cpu(running) != 42:
                await asyncio.sleep(0.01)
        assert store.asked
        # In their order, as soon as it works again.
        await delegate.say(signed(running.world, "ok"))
        store.going.set()
        await until_shown(running, "ok")


async def _cpu(running: Manager) -> int | None:
    _, page = await running.call("GET", "delegates")
    (one,) = page["delegates"]
    return one["cpu"]["percent"] if one["cpu"] else None
