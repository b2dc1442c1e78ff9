"""Orders with real programs: they run on schedule, outlive the manager's death, skip what nobody could begin, and end when told.

A client whose clock is some seconds short of a minute behind gives an order whose second run is due in those seconds: nobody
waits for a minute.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

from client.context import Contexts
from client.dev import DevEnvironment
from client.identities import Identities
from client.orders import Timing
from client.run_outcomes import Run
from client.sdk import Client
from shared.errors import Conflict, NotFound, NotReady, Unavailable
from tests.fakes.commanded import commanded, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = TypeVar("T")

VALUE = b"the value that the command gets"
PATIENCE_SECONDS = 45.0
HOUR = Timing(60, 3_600)
BEHIND = 50
"""What comes before a second run has the rest of the minute for it, also on a machine that is busy."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    """One for all cases; each finds it whole again."""
    async with commanded(tmp_path_factory.mktemp("orders"), VALUE, silence="10s") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def environment(installation: DevEnvironment) -> DevEnvironment:
    return await whole(installation)


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: DevEnvironment) -> AsyncIterator[Client]:
    async with behind(environment) as one:
        yield one


def behind(environment: DevEnvironment, seconds: int = BEHIND) -> Client:
    """The administrator's client, with a clock that is so far behind."""
    _, context = Contexts(environment.home).find(environment.name)
    identity = Identities(environment.home).load(context.identity, lambda _: None)
    return Client(
        context.manager, context.account, identity, home=environment.home, clock=lambda: int(time.time()) - seconds
    )


async def until(ask: Callable[[], Awaitable[T | None]], what: str) -> T:
    """What `ask` gives once it is something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = await ask()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


async def run_of(client: Client, name: str, n: int, *states: str) -> Run:
    """Run `n` once it is in one of these states, by default over."""

    async def ask() -> Run | None:
        _, runs = await client.orders.runs(name)
        for one in runs:
            if one.n == n and (one.state in states if states else one.finished_at is not None):
                return one
        return None

    return await until(ask, f"run {n} of {name}")


def fresh() -> str:
    return f"order-{secrets.token_hex(4)}"


async def wrote(path: Path, lines: int) -> list[str]:
    async def ask() -> list[str] | None:
        text = path.read_text() if path.exists() else ""
        found = text.split()
        return found if len(found) >= lines else None

    return await until(ask, f"{lines} lines in {path.name}")


async def test_a_command_runs_on_schedule_and_what_it_wrote_opens_later(client: Client, tmp_path: Path) -> None:
    name, ran = fresh(), tmp_path / "ran"
    script = f'echo run >> {ran}; echo "it is $SECRET, of ${{#SECRET}} bytes"; echo problem >&2; exit 3'
    order = await client.orders.command(name, HOUR, ["sh", "-c", script], {"SECRET": "account.token"})
    assert order.document.runs == 60 and order.document.exp - order.document.iat == 3_600
    first, second = await run_of(client, name, 0), await run_of(client, name, 1)
    assert (first.state, first.skipped, second.state, second.skipped) == ("done", 0, "done", 0)
    assert second.started_at - first.started_at < 60
    for n in (0, 1):
        opened = await client.orders.open(name, n)
        assert opened.finished is not None and opened.printed is not None
        assert (opened.finished.exit, opened.finished.reason) == (3, "exited")
        assert opened.printed.is_whole and opened.printed.err == b"problem\n"
        assert opened.printed.out == f"it is **************, of {len(VALUE)} bytes\n".encode()
    assert await wrote(ran, 2) == ["run", "run"]
    told = {one["task"]: one for one in await client.views.tasks()}
    assert told[first.run]["op"] == "exec" and told[first.run]["state"] == "done"
    await client.orders.cancel(name)


async def test_the_audit_has_an_entry_of_each_run_when_it_is_sent_and_when_it_is_over(client: Client) -> None:
    name = fresh()
    order = await client.orders.check(name, HOUR, ["account.harnessSecretManager"])
    run = await run_of(client, name, 0)
    links = [json.loads(one.entry) async for one in client.audit.entries()]
    entries = [one for one in links if one.get("task") == run.run]
    assert [one["outcome"] for one in entries] == ["submitted", "done"]
    assert {(one["kind"], one["id"], one["rev"]) for one in entries} == {("order", order.document.id, 1)}
    opened = await client.orders.open(name)
    assert opened.opened.code == "ok" and opened.finished is None
    await client.orders.cancel(name)


async def test_an_order_outlives_the_managers_death_and_the_run_that_it_overtook_is_unknown(
    environment: DevEnvironment, client: Client, tmp_path: Path
) -> None:
    name, ran = fresh(), tmp_path / "ran"
    script = f"echo run >> {ran}; [ $(wc -l < {ran}) -gt 1 ] || sleep 60"
    await client.orders.command(name, HOUR, ["sh", "-c", script], {"SECRET": "account.token"})
    await wrote(ran, 1)
    await environment.manager.kill()
    await environment.manager.start()
    await environment.ready()
    lost = await run_of(client, name, 0)
    assert (lost.state, lost.code) == ("unknown", "manager_restarted")
    with pytest.raises(Unavailable) as caught:
        await client.orders.open(name, 0)
    assert caught.value.facts["unsigned"]
    after = await run_of(client, name, 1)
    assert (after.state, after.skipped) == ("done", 0)
    assert await wrote(ran, 2) == ["run", "run"]
    await client.orders.cancel(name)


async def test_a_run_that_nobody_could_begin_is_skipped_and_told(environment: DevEnvironment, client: Client) -> None:
    name = fresh()
    await asyncio.gather(*(one.stop() for one in environment.delegates.values()))
    order = await client.orders.check(name, HOUR, ["account.harnessSecretManager"])

    async def overdue() -> int | None:
        return (await client.orders.find(name)).overdue or None

    assert await until(overdue, "a run to be overdue") == 1
    assert int(time.time()) >= order.document.iat + 60
    await asyncio.gather(*(one.start() for one in environment.delegates.values()))
    await environment.ready()
    run = await run_of(client, name, 1)
    assert (run.state, run.skipped) == ("done", 1)
    _, runs = await client.orders.runs(name)
    assert [one.n for one in runs] == [1]
    assert (await client.orders.find(name)).overdue == 0
    await client.orders.cancel(name)


async def test_a_cancelled_order_ends_its_run_and_begins_no_other(client: Client, tmp_path: Path) -> None:
    name, ran = fresh(), tmp_path / "ran"
    script = f"echo run >> {ran}; sleep 60"
    order = await client.orders.command(name, HOUR, ["sh", "-c", script], {"SECRET": "account.token"})
    await wrote(ran, 1)
    gone = await client.orders.cancel(name)
    assert gone.document.deleted and gone.document.rev == 2
    run = await run_of(client, name, 0)
    assert run.state == "cancelled"
    found = await client.orders.find(order.document.id)
    assert found.state(int(time.time())) == "cancelled"

    async def next_one_is_due() -> bool | None:
        return int(time.time()) > order.document.iat + 62 or None

    await until(next_one_is_due, "the next run's time")
    _, runs = await client.orders.runs(order.document.id)
    assert [one.n for one in runs] == [0]
    assert ran.read_text().split() == ["run"]
    with pytest.raises(Conflict) as caught:
        await client.orders.cancel(order.document.id)
    assert caught.value.code == "document_deleted"


async def test_an_order_whose_secret_has_a_newer_version_waits_until_it_is_renewed(
    environment: DevEnvironment, client: Client
) -> None:
    name, reference = fresh(), f"account.{fresh().replace('-', '_')}"
    await client.store(reference, b"the first value")
    argv = ["sh", "-c", "echo ${#SECRET}"]
    first = await client.orders.command(name, HOUR, argv, {"SECRET": reference})
    await run_of(client, name, 0)
    await client.store(reference, b"the second")
    refused = await run_of(client, name, 1)
    assert (refused.state, refused.code) == ("refused", "version_newer")
    with pytest.raises(Unavailable) as caught:
        await client.orders.open(name)
    assert caught.value.code == "version_newer"
    renewed = await client.orders.renew(name)
    assert (renewed.document.rev, renewed.document.prev) == (2, first.digest)
    assert renewed.document.reader == first.document.reader and renewed.document.jti != first.document.jti

    async def ran() -> Run | None:
        _, runs = await client.orders.runs(name)
        return next((one for one in runs if one.rev == 2 and one.finished_at is not None), None)

    assert (await until(ran, "a run of the second revision")).state == "done"
    opened = await client.orders.open(name)
    assert opened.printed is not None and opened.printed.out == b"10\n"
    await client.orders.cancel(name)


async def test_what_came_of_runs_opens_only_where_the_order_was_given(
    environment: DevEnvironment, client: Client, tmp_path: Path
) -> None:
    name = fresh()
    order = await client.orders.check(name, HOUR, ["account.harnessSecretManager"])
    await run_of(client, name, 0)
    (kept,) = [one for one in environment.home.path("orders").rglob("*.json") if one.stem == order.document.id]
    assert kept.stat().st_mode & 0o777 == 0o600
    moved = kept.rename(tmp_path / "elsewhere.json")
    with pytest.raises(NotFound) as caught:
        await client.orders.open(name)
    assert caught.value.code == "order_key_missing"
    moved.rename(kept)
    assert (await client.orders.open(name)).opened.code == "ok"
    await client.orders.cancel(name)


async def test_an_order_is_given_once_by_a_name_and_not_by_a_client_without_a_folder(
    environment: DevEnvironment, client: Client
) -> None:
    name = fresh()
    await client.orders.check(name, Timing(0, 60), ["account.harnessSecretManager"])
    with pytest.raises(Conflict) as taken:
        await client.orders.check(name, HOUR, ["account.harnessSecretManager"])
    assert taken.value.code == "name_taken"
    _, context = Contexts(environment.home).find(environment.name)
    identity = Identities(environment.home).load(context.identity, lambda _: None)
    async with Client(context.manager, context.account, identity) as homeless:
        with pytest.raises(NotReady) as caught:
            await homeless.orders.check(fresh(), HOUR, ["account.harnessSecretManager"])
        assert caught.value.code == "home_missing"
