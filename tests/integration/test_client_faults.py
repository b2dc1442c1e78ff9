"""Faults, each with a clear error or none at all: killed programs, old keyrings, expired promises, restored backups."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from client.context import Contexts
from client.dev import DevEnvironment
from client.drafts import next_status
from client.identities import Identities
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, NotReady, Tampered, Unauthenticated, Unavailable

VALUE = Plaintext(b"value")


@pytest_asyncio.fixture
async def environment(tmp_path: Path) -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(tmp_path / "dev", manager_options=["--silence", "5s", "--heartbeat", "500ms"]) as running:
        async with running.client() as client:
            await client.store("account.token", VALUE)
        yield running


async def test_tasks_of_a_delegate_that_is_killed_go_to_another(environment: DevEnvironment) -> None:
    environment.delegates["a"].suspend()
    async with environment.client() as client:
        asked = [asyncio.create_task(client.reveal("account.token")) for _ in range(8)]
        _, waiting = await asyncio.wait(asked, timeout=1.0)
        assert waiting, "the suspended delegate was given nothing"
        await environment.delegates["a"].kill()
        async with asyncio.timeout(30):
            assert await asyncio.gather(*asked) == [VALUE] * 8


async def test_tasks_of_a_delegate_that_hangs_go_to_another_within_seconds(environment: DevEnvironment) -> None:
    environment.delegates["a"].suspend()
    async with environment.client() as client, asyncio.timeout(30):
        assert await asyncio.gather(*(client.reveal("account.token") for _ in range(4))) == [VALUE] * 4
    environment.delegates["a"].resume()


async def test_a_manager_that_restarts_in_mid_task_is_asked_again(environment: DevEnvironment) -> None:
    for delegate in environment.delegates.values():
        delegate.suspend()
    async with environment.client() as client:
        asked = asyncio.create_task(client.reveal("account.token"))
        await asyncio.wait({asked}, timeout=0.5)
        await environment.manager.kill()
        starting = asyncio.create_task(environment.manager.start())
        for delegate in environment.delegates.values():
            delegate.resume()
        await starting
        try:
            async with asyncio.timeout(45):
                assert await asked == VALUE
        except (Unavailable, NotReady) as why:
            # Its retries ended before the delegates were back: a clear error, and the next one works.
            assert why.hint
        await environment.ready()
        assert await client.reveal("account.token") == VALUE


async def test_with_no_delegate_the_error_says_so_at_once(environment: DevEnvironment) -> None:
    for delegate in environment.delegates.values():
        await delegate.stop()
    async with environment.client() as client, asyncio.timeout(30):
        with pytest.raises(NotReady) as caught:
            await client.reveal("account.token")
    assert caught.value.code == "no_delegate"
    assert {one["name"] for one in caught.value.facts["delegates"]} <= {"a", "b"}


async def test_an_expired_status_stops_everything_until_it_is_renewed(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.account.sync()
        await client.publisher.publish(lambda now: [next_status(client.publisher.status(), now, seconds=1)])
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                await client.reveal("account.token")
            except NotReady as why:
                assert "expired" in why.detail
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("an expired status was not noticed")
        await client.publisher.renew(90)
        assert await client.reveal("account.token") == VALUE


async def test_a_revoked_delegate_gets_no_more_tasks(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        revoked = await client.views.thumbprint("a")
        await client.publisher.revoke_key(revoked)
        for _ in range(6):
            assert await client.reveal("account.token") == VALUE
        connected = [one for one in await client.views.delegates() if one["state"] == "connected"]
        assert revoked not in {one["delegate"] for one in connected}
        await environment.delegates["a"].restart()
        await environment.ready()
        assert await client.reveal("account.token", selectors=["zone:a"]) == VALUE


async def test_after_a_rotation_delegates_need_the_new_keyring_and_old_values_stay(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.keyrings.rotate("main", environment.keyring, compromised=False)
        with pytest.raises(NotReady):
            await client.reveal("account.token")
        for delegate in environment.delegates.values():
            await delegate.restart()
        await environment.ready()
        assert await client.reveal("account.token") == VALUE
        await client.store("account.token", b"newer")
        assert await client.reveal("account.token") == Plaintext(b"newer")
        assert await client.reveal("account.token", version=1) == VALUE
    assert environment.keyring.with_name("keyring.json.generation-1").exists()


async def test_a_client_that_knew_the_old_keyring_follows_a_rotation_by_itself(environment: DevEnvironment) -> None:
    async with environment.client() as old, environment.client() as other:
        assert await old.reveal("account.token") == VALUE
        await other.keyrings.rotate("main", environment.keyring, compromised=False)
        for delegate in environment.delegates.values():
            await delegate.restart()
        await environment.ready()
        assert await old.reveal("account.token") == VALUE
        await old.store("account.token", b"newer")
        assert await old.reveal("account.token") == Plaintext(b"newer")


async def test_a_compromised_keyring_leaves_nothing_to_the_old_generation(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.keyrings.rotate("main", environment.keyring, compromised=True)
        assert [one.document.identifier for one in await client.keyrings.dependents("main")] == ["token"]
        for delegate in environment.delegates.values():
            await delegate.restart()
        await environment.ready()
        # Its thief could have put a record of his own there; but excluding a stolen generation must not lose values.
        with pytest.raises(Denied, match="excluded") as caught:
            await client.reveal("account.token")
        assert caught.value.code == "generation_excluded"
        assert await client.reveal("account.token", excluded=True) == VALUE
        assert await client.reveal("account.token", version=1, excluded=True) == VALUE
        assert await client.reveal_all(["account.token"], excluded=True) == [VALUE]
        await client.store("account.token", b"new value")
        assert await client.reveal("account.token") == Plaintext(b"new value")
        with pytest.raises(Denied, match="excluded"):
            await client.reveal("account.token", version=1)


@pytest.mark.parametrize("seconds", [-900, 900])
async def test_clocks_that_are_apart_are_named_as_the_cause(environment: DevEnvironment, seconds: int) -> None:
    _, context = Contexts(environment.home).find("dev")
    identity = Identities(environment.home).load(context.identity, lambda _: None)
    skewed = Client(context.manager, context.account, identity, clock=lambda: int(time.time()) + seconds)
    async with skewed:
        with pytest.raises(Unauthenticated, match="clocks"):
            await skewed.reveal("account.token")


def copy_of(environment: DevEnvironment, name: str) -> Path:
    """The stopped manager's database, as an operator backs it up."""
    backup = environment.folder / name
    with closing(sqlite3.connect(environment.database)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(environment.database, backup)
    return backup


async def test_a_manager_restored_from_an_old_backup_is_found_out(environment: DevEnvironment) -> None:
    await environment.manager.stop()
    backup = copy_of(environment, "backup.db")
    await environment.manager.start()
    await environment.ready()
    async with environment.client() as client:
        await client.store("account.token", b"newer")
        await client.audit.verify()
    await environment.manager.stop()
    for path in environment.folder.glob("manager.db*"):
        path.unlink()
    shutil.copy(backup, environment.database)
    await environment.manager.start()
    await environment.ready()
    async with environment.client() as client:
        with pytest.raises(Tampered) as rolled_back:
            await client.reveal("account.token")
        assert rolled_back.value.code == "version_rolled_back"
        with pytest.raises(Tampered) as cut:
            await client.audit.verify()
        assert cut.value.code in {"audit_truncated", "audit_forked"}


async def test_a_changed_audit_entry_is_found(environment: DevEnvironment) -> None:
    await environment.manager.stop()
    with closing(sqlite3.connect(environment.database)) as database:
        database.execute("UPDATE audit SET entry = replace(entry, 'store', 'check') WHERE seq = 3")
        assert database.total_changes == 1
        database.commit()
    await environment.manager.start()
    await environment.ready()
    async with environment.client() as client:
        with pytest.raises(Tampered) as caught:
            await client.audit.verify()
    assert caught.value.facts["seq"] == 3
