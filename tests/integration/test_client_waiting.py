"""Clients whose tasks wait for a delegate: over a restart of the manager, handed over, given up, and told when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Expired, Malformed, NotReady
from tests.integration.installation import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = Plaintext(b"the value")
NOBODY = ["zone:nobody"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    """Real processes: a manager and one delegate."""
    folder = tmp_path_factory.mktemp("waiting")
    async with DevEnvironment(folder / "dev", delegates=1) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: DevEnvironment) -> AsyncIterator[Client]:
    await environment.ready()
    async with environment.client() as one:
        yield one


async def queued(client: Client) -> list[str]:
    return [one["task"] for one in await client.views.tasks() if one["state"] == "queued"]


async def is_queued(client: Client, count: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(await queued(client)) != count:
            await asyncio.sleep(0.05)


async def test_a_value_is_stored_and_revealed_when_a_delegate_comes_though_the_manager_was_killed_meanwhile(
    environment: DevEnvironment, client: Client
) -> None:
    await client.store("account.held", VALUE)
    (delegate,) = environment.delegates.values()
    await delegate.stop()
    with client.waiting(300):
        storing = asyncio.create_task(client.store("account.held", b"the next one"))
        revealing = asyncio.create_task(client.reveal("account.held", version=1))
        await is_queued(client, 2)
        await environment.manager.kill()
        await asyncio.sleep(0)
        await environment.manager.start()
        await delegate.start()
        async with asyncio.timeout(60):
            assert (await storing).n == 2
            assert await revealing == VALUE
    assert await client.reveal("account.held") == Plaintext(b"the next one")


async def test_without_patience_it_is_refused_at_once(client: Client) -> None:
    with pytest.raises(NotReady) as refused:
        await client.store("account.impatient", VALUE, selectors=NOBODY)
    assert refused.value.code == "no_delegate"


async def test_what_is_handed_over_is_done_later_though_nobody_waits(
    environment: DevEnvironment, client: Client
) -> None:
    (delegate,) = environment.delegates.values()
    await delegate.stop()
    task = await client.hand_over(lambda one: one.store("account.handed", VALUE))
    assert await queued(client) == [task]
    await delegate.start()
    async with asyncio.timeout(60):
        while next(one["state"] for one in await client.views.tasks() if one["task"] == task) != "done":
            await asyncio.sleep(0.05)
    assert await client.reveal("account.handed") == VALUE
    assert await client.hand_over(lambda one: one.store("account.handed", b"another")) in {"", *await _tasks(client)}


async def _tasks(client: Client) -> set[str]:
    return {one["task"] for one in await client.views.tasks()}


async def test_whoever_gives_up_has_nothing_done_later(client: Client) -> None:
    with client.waiting(300):
        asked = asyncio.create_task(client.store("account.given_up", VALUE, selectors=NOBODY))
        await is_queued(client)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert await queued(client) == []


async def test_it_is_told_when_no_delegate_came_in_time(client: Client) -> None:
    with client.waiting(2), pytest.raises(Expired) as expired:
        await client.store("account.late", VALUE, selectors=NOBODY)
    assert expired.value.code == "task_expired"


async def test_nobody_waits_for_longer_than_a_day(client: Client) -> None:
    with pytest.raises(Malformed), client.waiting(86_401):
        pass


async def test_the_command_line_waits_and_hands_over(environment: DevEnvironment, client: Client) -> None:
    def run() -> None:
        desk = Desk(environment.folder / "home")
        here = ("--context", environment.name)
        handed = desk.ok(
            *("secret", "set", "account.cli", "--from-stdin", "--delegate", NOBODY[0], "--detach", "-o", "json", *here),
            given=b"the value",
        ).json
        assert handed["state"] == "queued"
        (row,) = [one for one in desk.data("task", "list", *here) if one["task"] == handed["task"]]
        assert row["state"] == "queued"
        assert desk.data("task", "explain", handed["task"], *here)["state"] == "queued"
        desk.ok("task", "cancel", handed["task"], *here)
        desk.ok("secret", "set", "account.cli", "--from-stdin", "--priority", "high", *here, given=b"the value")
        assert (
            desk.ok("reveal", "account.cli", "--wait-for-delegate", "1m", "--priority", "low", *here).out
            == b"the value"
        )
        late = desk.run("reveal", "account.cli", "--delegate", NOBODY[0], "--wait-for-delegate", "1s", *here)
        assert late.status != 0 and "in time" in late.err
        wrong = desk.run("reveal", "account.cli", "--wait-for-delegate", "2d", *here)
        assert wrong.status != 0 and "up to a day" in wrong.err

    await asyncio.to_thread(run)
