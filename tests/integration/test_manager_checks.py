"""What delegates tell of their own tests of connectors: kept and shown where it is theirs to tell, else dropped or refused."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import manager.checks
from delegate.policy import LocalPolicy
from shared.documents.checked import CheckedDocument
from shared.documents.jws import parse_as
from shared.errors import Denied
from shared.messages import Checked
from shared.wire import submission_pb2 as pb
from tests.fakes.delegates import running as delegate_of
from tests.fakes.kinds import Gate
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import WireDelegate, wire_delegate
from tests.fakes.world import World


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    world = World(now=int(time.time()))
    world.publish(world.connector_document("elsewhere", selectors=("elsewhere",)))
    world.publish(world.scope_document("o"))
    world.publish(world.connector_document("below", "org/o"))
    world.grant(world.identity("below"), ["use"], "org/o")
    async with running_manager(tmp_path, world) as one:
        await found(one)
        yield one


def signed(world: World, connector: Any = None, **changes: Any) -> str:
    """The world's delegate's word on a test."""
    connector = connector or world.connector
    fields: dict[str, Any] = {
        "v": 1, "acct": world.id, "connector": connector.document.id, "revision": connector.digest,
        "code": "ok", "iat": int(time.time()), **changes,
    }  # fmt: skip
    return world.delegate.sign_document(CheckedDocument(**fields))


@contextlib.asynccontextmanager
async def stream(running: Manager) -> AsyncIterator[WireDelegate]:
    async with wire_delegate(running.world, running.configuration.delegate_urls[0]) as delegate:
        yield delegate


async def shown(running: Manager, name: str = "administrator", query: str = "?below=1") -> list[CheckedDocument]:
    status, page = await running.call("GET", f"checks{query}", name)
    assert status == 200, page
    return [parse_as(CheckedDocument, one["document"]).document for one in page["checks"]]


async def shown_once_there(running: Manager, wanted: str) -> list[CheckedDocument]:
    """What is shown when the test of that code is; streams are in order, so that all before it has been judged."""
    async with asyncio.timeout(30):
        while True:
            tests = await shown(running)
            if any(one.code == wanted for one in tests):
                return tests
            await asyncio.sleep(0.01)


async def last(delegate: WireDelegate, running: Manager) -> list[CheckedDocument]:
    """What is left after a test that will certainly be kept."""
    await delegate.say(Checked(signed(running.world, code="expired")))
    return await shown_once_there(running, "expired")


async def test_a_delegates_test_is_shown_with_the_certificate_that_it_needs(running: Manager) -> None:
    world = running.world
    async with stream(running) as delegate:
        await delegate.say(Checked(signed(world, code="denied")))
        (one,) = await shown_once_there(running, "denied")
        assert (one.connector, one.revision) == (world.connector.document.id, world.connector.digest)
        await delegate.say(Checked(signed(world, code="ok")))
        assert len(await shown_once_there(running, "ok")) == 1
    _, page = await running.call("GET", f"checks?connector={world.connector.document.id}")
    assert page["checks"][0]["certificate"].count(".") == 2
    assert await shown(running, query="?connector=" + "a" * 26) == []
    status, problem = await running.call("GET", "checks?connector=x")
    assert (status, problem["code"]) == (400, "id_malformed")


async def test_who_may_not_use_a_connector_is_shown_no_test_of_it(running: Manager) -> None:
    world = running.world
    below = world.sign(world.connector_document("below", "org/o"), world.administrator)
    async with stream(running) as delegate:
        await delegate.say(Checked(signed(world, below)))
        assert len(await last(delegate, running)) == 2
    assert [one.connector for one in await shown(running, "below", "?scope=org/o")] == [below.document.id]
    assert await shown(running, query="?scope=org/other") == []


async def test_what_a_delegate_cannot_know_of_is_dropped(running: Manager) -> None:
    world = running.world
    elsewhere = world.sign(world.connector_document("elsewhere", selectors=("elsewhere",)), world.administrator)
    absent = world.sign(world.connector_document("absent"), world.administrator)
    newer = world.next(world.connector, name="renamed")
    async with stream(running) as delegate:
        for lie in (
            signed(world, elsewhere),
            signed(world, absent),
            signed(world, newer),
            signed(world, iat=int(time.time()) + 3_600),
        ):
            await delegate.say(Checked(lie))
        assert [one.code for one in await last(delegate, running)] == ["expired"]


@pytest.mark.parametrize("by", ["another", "a principal"])
async def test_a_test_that_another_signed_ends_the_stream(running: Manager, by: str) -> None:
    world = running.world
    signer = world.administrator if by == "a principal" else world.identity("another delegate")
    document = parse_as(CheckedDocument, signed(world)).document
    async with stream(running) as delegate:
        await delegate.say(Checked(signer.sign_document(document)))
        code, why = await delegate.end()
        assert "signature_invalid" in why, code
    assert await shown(running) == []


async def test_a_test_in_another_account_ends_the_stream(running: Manager) -> None:
    async with stream(running) as delegate:
        await delegate.say(Checked(signed(running.world, acct="b" * 52)))
        assert "account_foreign" in (await delegate.end())[1]


async def test_a_delegate_that_tells_too_much_is_heard_in_part(
    running: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager.checks, "MOST_A_MINUTE", 2)
    async with stream(running) as delegate:
        for code in ("ok", "denied", "expired"):
            await delegate.say(Checked(signed(running.world, code=code)))
        await shown_once_there(running, "denied")
        # The stream goes on, and is in order: what would have been kept by now isn't.
        await delegate.say(Checked(running.world.delegate.sign_document(running.world.answer_document("x" * 43))))
        assert [one.code for one in await shown(running)] == ["denied"]


async def test_tests_outlive_the_manager(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    async with running_manager(tmp_path, world) as one:
        await found(one)
        async with stream(one) as delegate:
            await last(delegate, one)
    async with running_manager(tmp_path, world) as again:
        assert [one.code for one in await shown(again)] == ["expired"]


async def test_a_delegate_tests_again_by_itself_and_the_manager_shows_what_came_of_it(tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    world = World(now=int(time.time()))
    connector = world.publish(world.connector_document("gated", type="Gated"))
    async with running_manager(tmp_path, world) as one:
        await found(one)
        url = one.configuration.delegate_urls[0]
        policy = LocalPolicy.parse('kinds = ["*"]', ["Local"])
        async with delegate_of(world, url, kinds=gate.kinds(), check_seconds=0.2, policy=policy):
            body = pb.Submission(document=world.check(connector).compact).SerializeToString()
            target = f"{one.url}/v1/accounts/{world.id}/tasks?wait=10"
            headers = {**one.bearer(), "Content-Type": "application/x-protobuf"}
            async with asyncio.timeout(60):
                while True:  # until the delegate is there
                    async with one.http.post(target, data=body, headers=headers) as reply:
                        if reply.status == 200:
                            break
            (told,) = await shown_once_there(one, "ok")
            assert told.revision == connector.digest
            # From here on nobody asks for a test.
            gate.failure = Denied("kms_denied", "the role may not use the key")
            (told,) = await shown_once_there(one, "denied")
            gate.failure = None
            await shown_once_there(one, "ok")
