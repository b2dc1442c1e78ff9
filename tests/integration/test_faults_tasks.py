"""Programs that die, hang or forget while a task is under way: each ends in its right outcome, and says which."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, NotFound, NotReady, Unavailable
from tests.fakes.commanded import whole
from tests.fakes.gated import Gates, install

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = Plaintext(b"the value")
PATIENCE_SECONDS = 30.0
"""Far more than anything here takes where the machine is idle; what hangs, hangs for minutes."""


class Installation(DevEnvironment):
    """Real processes whose delegates know the kind `Gated`, and one secret behind the gate."""

    gates: Gates

    def delegate_of(self, pid: int) -> str:
        return next(name for name, one in self.delegates.items() if one.running and one.pid == pid)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """One for all cases; each finds it whole again."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as monkeypatch:
        gates = install(folder, monkeypatch)
        options = ["--silence", "6s", "--heartbeat", "500ms"]
        running = Installation(folder / "dev", manager_options=options, delegate_options={"*": gates.options})
        running.gates = gates
        async with running:
            async with running.client() as client:
                await gates.connector(client)
            yield running


@pytest_asyncio.fixture(loop_scope="module")
async def environment(installation: Installation) -> AsyncIterator[Installation]:
    yield await whole(installation)
    installation.gates.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: Installation) -> AsyncIterator[Client]:
    async with environment.client() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def held(client: Client) -> str:
    """A secret behind the gate, with one version."""
    reference = f"account.held_{secrets.token_hex(6)}"
    await client.store(reference, VALUE, connector="account.gated")
    assert await client.reveal(reference) == VALUE
    return reference


async def test_a_reveal_whose_delegate_is_killed_is_given_to_another(
    environment: Installation, client: Client, held: str
) -> None:
    before = await _tasks(client)
    with environment.gates.shut():
        asked = asyncio.create_task(client.reveal(held))
        first = await environment.gates.arrived("fetch")
        killed = environment.delegate_of(first)
        await environment.delegates[killed].kill()
        second = await environment.gates.arrived("fetch", but=first)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await asked == VALUE
    task = await _ended(client, before)
    assert (task["attempts"], task["name"]) == (2, environment.delegate_of(second)) and task["name"] != killed


async def test_a_store_whose_delegate_is_killed_is_stored_once(
    environment: Installation, client: Client, held: str
) -> None:
    with environment.gates.shut():
        asked = asyncio.create_task(client.store(held, b"the next value"))
        first = await environment.gates.arrived("store")
        await environment.delegates[environment.delegate_of(first)].kill()
        await environment.gates.arrived("store", but=first)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await asked).n == 2
    assert await client.reveal(held) == Plaintext(b"the next value")
    assert await client.reveal(held, version=1) == VALUE


async def test_a_delete_whose_delegate_is_killed_ends_as_unknown_within_seconds_and_is_not_done_by_another(
    environment: Installation, client: Client, held: str
) -> None:
    with environment.gates.shut():
        asked = asyncio.create_task(client.delete(held))
        pid = await environment.gates.arrived("delete")
        await environment.delegates[environment.delegate_of(pid)].kill()
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(Unavailable) as caught:
                await asked
        assert caught.value.code == "outcome_unknown" and caught.value.hint
        assert environment.gates.waiting() == {(pid, "delete")}
    (task, *_) = [one for one in await client.views.tasks() if one["op"] == "delete"]
    assert (task["state"], task["attempts"]) == ("unknown", 1)
    # Nothing was published of it, and who tries again is heard.
    assert await client.reveal(held) == VALUE
    await client.delete(held)
    with pytest.raises(NotFound):
        await client.reveal(held)


async def test_a_delegate_that_hangs_in_mid_task_is_noticed_and_another_takes_over(
    environment: Installation, client: Client, held: str
) -> None:
    with environment.gates.shut():
        asked = asyncio.create_task(client.reveal(held))
        first = await environment.gates.arrived("fetch")
        hanging = environment.delegates[environment.delegate_of(first)]
        hanging.suspend()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await environment.gates.arrived("fetch", but=first)
        finally:
            hanging.resume()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await asked == VALUE
    # It comes back by itself, and is trusted as before.
    await environment.ready()
    assert await client.reveal(held) == VALUE


async def test_a_delegate_that_hangs_with_a_large_task_half_sent_is_noticed(
    environment: Installation, client: Client, held: str
) -> None:
    """Its window is full, so that the manager's own write waits: that mustn't keep it from noticing the silence."""
    large = Plaintext(bytes(4_000_000))
    environment.delegates["a"].suspend()
    try:
        async with asyncio.timeout(60):
            stored = await asyncio.gather(*(client.store(f"{held}_large_{at}", large) for at in range(3)))
    finally:
        environment.delegates["a"].resume()
    assert [one.n for one in stored] == [1, 1, 1]
    assert await client.reveal(f"{held}_large_0") == large


async def test_a_delegate_that_is_told_to_end_lets_its_task_end(
    environment: Installation, client: Client, held: str
) -> None:
    before = await _tasks(client)
    with environment.gates.shut():
        asked = asyncio.create_task(client.reveal(held))
        pid = await environment.gates.arrived("fetch")
        ending = environment.delegates[environment.delegate_of(pid)]
        said = ending.log.read_text().count("delegate.ending")
        stopping = asyncio.create_task(ending.stop())
        await _is_said(ending.log, "delegate.ending", said)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await asked == VALUE
        assert await stopping == 0
    task = await _ended(client, before)
    assert task["attempts"] == 1


async def test_a_manager_that_is_killed_in_mid_task_is_asked_again_and_loses_nothing(
    environment: Installation, client: Client, held: str
) -> None:
    kept = [await client.store(f"{held}_kept_{at}", f"value {at}".encode()) for at in range(5)]
    with environment.gates.shut():
        asked = asyncio.create_task(client.store(held, b"the next value"))
        await environment.gates.arrived("store")
        await environment.manager.kill()
        await environment.manager.start()
        await environment.ready()
    async with asyncio.timeout(PATIENCE_SECONDS):
        stored = await _insisting(asked, client, held)
    assert stored == Plaintext(b"the next value")
    values = await client.reveal_all([f"{held}_kept_{at}" for at in range(5)])
    assert values == [Plaintext(f"value {at}".encode()) for at in range(5)] and len(kept) == 5
    await client.audit.verify()


async def _insisting(asked: asyncio.Task[Any], client: Client, held: str) -> object:
    """What the secret holds at last: as a client that tries again after a clear error."""
    try:
        await asked
    except (Unavailable, NotReady) as why:
        assert why.hint, "an error without a remedy"
        await client.store(held, b"the next value")
    return await client.reveal(held)


async def test_a_delete_under_way_when_the_manager_is_killed_is_unknown_afterwards(
    environment: Installation, client: Client, held: str
) -> None:
    with environment.gates.shut():
        asked = asyncio.create_task(client.delete(held))
        await environment.gates.arrived("delete")
        await environment.manager.kill()
        await environment.manager.start()
        await environment.ready()
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises((Unavailable, NotFound)) as caught:
                await asked
        assert caught.value.hint
    (task, *_) = [one for one in await client.views.tasks() if one["op"] == "delete"]
    assert (task["state"], task["code"]) == ("unknown", "manager_restarted")


async def test_a_manager_that_is_told_to_end_lets_its_tasks_end(
    environment: Installation, client: Client, held: str
) -> None:
    with environment.gates.shut():
        asked = asyncio.create_task(client.reveal(held))
        await environment.gates.arrived("fetch")
        before = environment.manager.log.read_text().count("manager.stopping")
        environment.manager._signal(signal.SIGTERM)
        await _is_said(environment.manager.log, "manager.stopping", before)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await asked == VALUE
        assert await environment.manager.ended() == 0


async def test_a_manager_that_is_told_twice_to_end_waits_for_no_task(
    environment: Installation, client: Client, held: str
) -> None:
    with environment.gates.shut():
        asked = asyncio.create_task(client.reveal(held))
        await environment.gates.arrived("fetch")
        before = environment.manager.log.read_text().count("manager.stopping")
        environment.manager._signal(signal.SIGTERM)
        await _is_said(environment.manager.log, "manager.stopping", before)
        environment.manager._signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await environment.manager.ended() == 0
        assert not asked.done() or asked.exception() is not None
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def test_a_selector_that_nobody_carries_is_answered_with_each_delegate_and_why(
    environment: Installation, client: Client, held: str
) -> None:
    with pytest.raises(NotReady) as caught:
        await client.reveal(held, selectors=["production"])
    reasons = {one["name"]: [reason["code"] for reason in one["reasons"]] for one in caught.value.facts["delegates"]}
    assert caught.value.code == "no_delegate"
    assert reasons == {"a": ["selectors_missing"], "b": ["selectors_missing"]}
    assert all("production" in reason["detail"] for one in caught.value.facts["delegates"] for reason in one["reasons"])


async def test_with_every_delegate_gone_each_is_named_as_disconnected(
    environment: Installation, client: Client, held: str
) -> None:
    for one in environment.delegates.values():
        await one.kill()
    await _are_gone(client)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(NotReady) as caught:
            await client.reveal(held)
    reasons = {one["name"]: [reason["code"] for reason in one["reasons"]] for one in caught.value.facts["delegates"]}
    assert reasons == {"a": ["offline"], "b": ["offline"]}


async def test_a_value_over_the_limit_is_refused_before_it_is_sent(environment: Installation, client: Client) -> None:
    with pytest.raises(Malformed) as caught:
        await client.store("account.huge", bytes(10_000_001))
    assert "10" in caught.value.detail + caught.value.hint
    largest = Plaintext(bytes(9_999_999) + b"x")
    assert (await client.store("account.largest", largest, type="SecretFile")).n == 1
    assert await client.reveal("account.largest") == largest


async def test_a_reference_with_a_wrong_prefix_is_refused_with_the_right_ones(client: Client) -> None:
    for reference in (
        "nowhere.token",
        "org.token",
        "account.a.b",
        "account.",
        "",
        "account.9",
        '<+secrets.getValue("a.b")>',
    ):
        with pytest.raises(Malformed) as caught:
            await client.reveal(reference)
        assert caught.value.hint


async def _tasks(client: Client) -> set[str]:
    """The tasks that are known; the row of one that only read is written a moment after its answer."""
    return {str(one["task"]) for one in await client.views.tasks()}


async def _ended(client: Client, before: set[str]) -> dict[str, Any]:
    """The one that has ended since."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            new = [one for one in await client.views.tasks() if one["task"] not in before and one["finished_at"]]
            if new:
                return new[0]
            await asyncio.sleep(0.02)


async def _is_said(log: Path, event: str, before: int = 0) -> None:
    """Until the log says it once more than it did `before`: those of earlier tests stand there too."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while log.read_text().count(event) <= before:
            await asyncio.sleep(0.02)


async def _are_gone(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(one["state"] != "disconnected" for one in await client.views.delegates()):
            await asyncio.sleep(0.02)
