"""The SDK against real processes: many at once, few round trips, and others changing the same thing meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from client import Client
from client.dev import DevEnvironment
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Malformed, NotFound

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(tmp_path_factory.mktemp("sdk")) as running:
        yield running


async def requests(environment: DevEnvironment) -> int:
    """How many requests of clients the manager has answered, its own metrics and health left out."""
    async with aiohttp.ClientSession() as http, http.get(f"{environment.url}/metrics") as reply:
        text = await reply.text()
    counts = re.findall(r'^\w*request\w*_count\{[^}]*"(/v1/[^"]*)"[^}]*\} (\d+)', text, re.MULTILINE)
    assert counts, text[:2000]
    return sum(int(count) for _, count in counts)


async def test_a_value_comes_back_in_one_round_trip_once_its_documents_are_known(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.store("account.quick", b"value")
        assert await client.reveal("account.quick") == Plaintext(b"value")
        before = await requests(environment)
        for _ in range(5):
            assert await client.reveal("account.quick") == Plaintext(b"value")
        assert await requests(environment) == before + 5


async def test_many_secrets_travel_as_one_task(environment: DevEnvironment) -> None:
    names = [f"account.many_{n}" for n in range(60)]
    async with environment.client() as client:
        await asyncio.gather(*(client.store(name, name.encode()) for name in names))
    async with environment.client() as client:
        before = len(await client.views.tasks(1000))
        items = await client.reveal_all([*names, "account.nowhere"])
        assert items[:-1] == [Plaintext(name.encode()) for name in names]
        assert isinstance(items[-1], NotFound)
        assert len(await client.views.tasks(1000)) == before + 1


async def test_values_that_are_too_large_together_come_in_several_tasks(environment: DevEnvironment) -> None:
    names = [f"account.large_{n}" for n in range(3)]
    async with environment.client() as client:
        for name in names:
            await client.store(name, name.encode() * 300_000)
        assert await client.reveal_all(names) == [Plaintext(name.encode() * 300_000) for name in names]


async def test_a_version_that_another_client_stored_is_seen_at_once(environment: DevEnvironment) -> None:
    async with environment.client() as one, environment.client() as two:
        await one.store("account.shared", b"first")
        assert await two.reveal("account.shared") == Plaintext(b"first")
        await one.store("account.shared", b"second", description="changed too")
        assert await two.reveal("account.shared") == Plaintext(b"second")


async def test_two_clients_that_store_at_once_both_get_a_version(environment: DevEnvironment) -> None:
    async with environment.client() as one, environment.client() as two:
        await one.store("account.raced", b"first")
        stored = await asyncio.gather(*(client.store("account.raced", b"next") for client in (one, two)))
        assert sorted(each.n for each in stored) == [2, 3]


async def test_two_clients_that_make_the_same_secret_at_once_leave_one(environment: DevEnvironment) -> None:
    async with environment.client() as one, environment.client() as two:
        results = await asyncio.gather(
            *(client.store("account.twins", b"value") for client in (one, two)), return_exceptions=True
        )
        made = [one for one in results if not isinstance(one, BaseException)]
        assert made
        assert all(isinstance(one, Conflict) for one in results if isinstance(one, BaseException))
        assert await two.reveal("account.twins") == Plaintext(b"value")


async def test_a_secret_that_was_deleted_and_made_anew_is_found_again(environment: DevEnvironment) -> None:
    async with environment.client() as one, environment.client() as two:
        await one.store("account.phoenix", b"old")
        assert await two.reveal("account.phoenix") == Plaintext(b"old")
        await one.delete("account.phoenix")
        with pytest.raises((NotFound, Conflict)):
            await two.reveal("account.phoenix")
        await one.store("account.phoenix", b"new")
        assert await two.reveal("account.phoenix") == Plaintext(b"new")


async def test_sixty_four_reveals_at_once_all_answer(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.store("account.busy", b"value")
        values = await asyncio.gather(*(client.reveal("account.busy") for _ in range(64)))
        assert values == [Plaintext(b"value")] * 64


async def test_a_value_over_the_limit_never_leaves(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.account.sync()
        before = await requests(environment)
        with pytest.raises(Malformed, match="10 MB"):
            await client.store("account.over", bytes(10_000_001))
        assert await requests(environment) == before


async def test_the_client_of_a_stored_context_opens(environment: DevEnvironment, tmp_path: Path) -> None:
    async with environment.client() as client:
        await client.store("account.opened", b"value")
    async with Client.open("dev", home=environment.home.root, passphrase=lambda _: None) as client:
        assert await client.reveal('<+secrets.getValue("account.opened")>') == Plaintext(b"value")
    with pytest.raises(NotFound):
        Client.open("nowhere", home=environment.home.root)
