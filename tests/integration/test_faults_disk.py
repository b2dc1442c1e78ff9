"""A manager whose disk is full: nothing is answered that isn't written, nothing that was answered is lost, and it recovers."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import PrivySealError, Unavailable
from tests.fakes.gated import Gates, install

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are set with prlimit(2)"),
]

VALUE = Plaintext(b"stored before the disk was full")


class Installation(DevEnvironment):
    """Real processes, with a gate in the delegates."""

    gates: Gates


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """One for all cases: each leaves it with room on its disk."""
    folder = tmp_path_factory.mktemp("disk")
    with pytest.MonkeyPatch.context() as monkeypatch:
        gates = install(folder, monkeypatch)
        running = Installation(folder / "dev", delegates=1, delegate_options={"*": gates.options})
        running.gates = gates
        async with running:
            async with running.client() as client:
                await gates.connector(client)
            yield running


@pytest_asyncio.fixture(loop_scope="module")
async def environment(installation: Installation) -> Installation:
    await installation.ready()
    return installation


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: Installation) -> AsyncIterator[Client]:
    async with environment.client() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def token(client: Client) -> str:
    """A secret with one version."""
    reference = f"account.token_{secrets.token_hex(6)}"
    await client.store(reference, VALUE)
    assert await client.reveal(reference) == VALUE
    return reference


@contextmanager
def full_disk(environment: Installation) -> Iterator[None]:
    """No file of the manager's can be written any more: not its database, its journal, nor its log."""
    pid = environment.manager.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def refused(client: Client, reference: str) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await client.reveal(reference)
    return caught.value


async def test_a_reveal_that_cannot_be_audited_is_not_answered(
    environment: Installation, client: Client, token: str
) -> None:
    with full_disk(environment):
        why = await refused(client, token)
        assert (type(why), why.code) == (Unavailable, "store_unavailable") and why.hint
    assert await client.reveal(token) == VALUE


async def test_a_reveal_under_way_when_the_disk_fills_is_answered_only_when_it_was_audited_before(
    environment: Installation, client: Client, token: str
) -> None:
    held = f"{token}_held"
    await client.store(held, VALUE, connector="account.gated")
    with environment.gates.shut():
        asked = asyncio.create_task(client.reveal(held))
        await environment.gates.arrived("fetch")
        entries = await _entries(client)
        with full_disk(environment):
            (environment.gates.folder / "shut").unlink()
            answered, _ = await asyncio.wait({asked}, timeout=45)
            (environment.gates.folder / "shut").touch()
        assert answered, "neither an answer nor an error"
        if asked.exception() is None:
            # Then its access stood in the audit before the disk was full.
            assert any('"outcome":"asked"' in one and '"op":"reveal"' in one for one in entries[-2:])
        else:
            assert isinstance(asked.exception(), Unavailable)
    assert await client.reveal(held) == VALUE
    await client.audit.verify()


async def test_a_store_that_cannot_be_written_is_refused_and_nothing_half_done_is_left(
    environment: Installation, client: Client, token: str
) -> None:
    with full_disk(environment):
        for attempt in (client.store(token, b"not stored"), client.store(f"{token}_new", b"not stored")):
            with pytest.raises(Unavailable):
                await attempt
    assert await client.reveal(token) == VALUE
    async with environment.client() as other:
        assert [one.code for one in await other.reveal_all([f"{token}_new"]) if isinstance(one, PrivySealError)] == [
            "secret_unknown"
        ]
    assert (await client.store(token, b"stored now")).n == 2
    assert (await client.store(f"{token}_new", b"stored now")).n == 1


async def test_nothing_that_was_acknowledged_is_lost_when_the_disk_fills_in_between(
    environment: Installation, client: Client, token: str
) -> None:
    acknowledged: dict[str, bytes] = {}

    async def store_all(worker: int) -> None:
        for at in range(40):
            reference, value = f"{token}_{worker}_{at}", os.urandom(64)
            try:
                await client.store(reference, value)
            except PrivySealError:
                return
            acknowledged[reference] = value

    storing = [asyncio.create_task(store_all(worker)) for worker in range(4)]
    async with asyncio.timeout(45):
        while len(acknowledged) < 8:
            await asyncio.sleep(0.01)
    with full_disk(environment):
        await asyncio.gather(*storing)
    assert len(acknowledged) < 160, "the disk was never full while something was stored"
    for restarted in (False, True):
        if restarted:
            await environment.manager.kill()
            await environment.manager.start()
            await environment.ready()
        async with environment.client() as other:
            found = await other.reveal_all([*acknowledged])
            assert found == [Plaintext(value) for value in acknowledged.values()]
            await other.audit.verify()


async def test_a_full_disk_shows_in_readiness_and_not_in_liveness(
    environment: Installation, client: Client, token: str
) -> None:
    async with aiohttp.ClientSession() as session:
        with full_disk(environment):
            await refused(client, token)
            async with (
                session.get(f"{environment.url}/readyz") as ready,
                session.get(f"{environment.url}/healthz") as alive,
            ):
                assert (ready.status, alive.status) == (503, 200)
                (fault,) = (await ready.json())["failing"]
                assert (fault["part"], fault["code"]) == ("store", "store_unavailable")
        await environment.manager.ready(30)
        assert await client.reveal(token) == VALUE


async def test_the_log_goes_on_after_a_full_disk(environment: Installation, client: Client, token: str) -> None:
    """Its lines were lost meanwhile; the program that wrote them wasn't."""
    with full_disk(environment):
        await refused(client, token)
        await environment.delegates["a"].restart()
    await environment.ready()
    size = environment.manager.log.stat().st_size
    await environment.delegates["a"].restart()
    await environment.ready()
    assert environment.manager.log.stat().st_size > size
    assert await client.reveal(token) == VALUE


async def _entries(client: Client) -> list[str]:
    reply = await client.account.ask("GET", "audit", query={"limit": 500})
    return [one["entry"] for one in reply.json()["entries"]]
