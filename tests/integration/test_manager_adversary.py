"""The manager between a stranger, a principal with little, a delegate that cheats, and a store that fails."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import manager.connection
import manager.stream
from manager.fleet import Delegate
from shared.canonical import b64u, blob_digest, digest
from shared.documents.answer import AnswerDocument
from shared.documents.task import Target
from shared.messages import Challenge, Credit, Documents, FromManager, Result, Task
from shared.wire import delegate_pb2
from shared.wire import submission_pb2 as pb
from tests.fakes.delegates import running as running_delegate
from tests.fakes.running import TOKEN, Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import WireDelegate, wire_delegate
from tests.fakes.world import Version, World

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


async def publish(running: Manager, *documents: Any) -> None:
    status, problem = await running.call("POST", "documents", json={"documents": [one.compact for one in documents]})
    assert status == 200, problem


def delegate_url(running: Manager) -> str:
    return running.configuration.delegate_urls[0]


async def submit(
    running: Manager, task: Any, name: str = "administrator", wait: int = 20, **parts: Any
) -> tuple[int, Any]:
    """Status, and the Outcome or the problem."""
    body = pb.Submission(document=task.compact, **parts).SerializeToString()
    url = f"{running.url}/v1/accounts/{running.world.id}/tasks?wait={wait}"
    async with running.http.post(url, data=body, headers={**running.bearer(name), **PROTOBUF}) as reply:
        data = await reply.read()
        return reply.status, pb.Outcome.FromString(data) if reply.status < 300 else json.loads(data)


async def stored(running: Manager, secret: Any, value: bytes = b"value", after: Version | None = None) -> Version:
    version = running.world.store(secret, value, after=after)
    status, outcome = await submit(running, version.task, inputs=[version.input.raw])
    assert (status, outcome.code) == (200, "ok"), outcome
    return version


@contextlib.asynccontextmanager
async def a_delegate(running: Manager) -> AsyncIterator[None]:
    """A real one that is connected."""
    async with running_delegate(running.world, delegate_url(running)):
        async with asyncio.timeout(10):
            while not any(one["capacity"] for one in (await running.call("GET", "delegates"))[1]["delegates"]):
                await asyncio.sleep(0.01)
        yield


async def audited(running: Manager) -> list[dict[str, Any]]:
    _, page = await running.call("GET", "audit?limit=500")
    return [json.loads(one["entry"]) for one in page["entries"]]


def answer_of(world: World, task: Task, code: str = "ok", stored: tuple[bytes, ...] = (), **changes: Any) -> Result:
    document = AnswerDocument(
        v=1,
        acct=world.id,
        task=task.id,
        code=code,  # type: ignore[arg-type]
        sealed=blob_digest(b"sealed"),
        stored=tuple(map(blob_digest, stored)),
        iat=world.now,
    )
    return Result(task.id, task.attempt, world.delegate.sign_document(document), b"sealed", changes.get("sent", stored))


async def taken(delegate: WireDelegate) -> Task:
    await delegate.say(Credit(1))
    task: Task = await delegate.hear(Task)
    return task


# A stranger.


async def test_a_stranger_on_the_stream_can_make_nobody_hold_a_long_message(running: Manager) -> None:
    async with wire_delegate(running.world, delegate_url(running), greet=False) as stranger:
        await stranger.hear(Challenge)
        await stranger.say_raw(delegate_pb2.FromDelegate(chunk=delegate_pb2.Chunk(stream=1, data=bytes(1000))))
        code, details = await stranger.end()
    assert (code, details.split(":")[0]) == ("INVALID_ARGUMENT", "protocol_violation")


async def test_a_delegate_that_owes_no_answer_can_send_no_part_of_one(running: Manager) -> None:
    async with wire_delegate(running.world, delegate_url(running)) as delegate:
        await delegate.say_raw(delegate_pb2.FromDelegate(chunk=delegate_pb2.Chunk(stream=1, data=bytes(1000))))
        assert (await delegate.end())[0] == "INVALID_ARGUMENT"


async def test_without_a_good_token_nothing_is_verified(running: Manager) -> None:
    for token in (TOKEN, "guessed"):
        headers = {"Authorization": f"Token {token}"}
        async with running.http.post(
            f"{running.url}/v1/accounts", headers=headers, json={"documents": ["x.y.z"]}
        ) as reply:
            assert reply.status == 401


@pytest.mark.parametrize(
    "header", [b"[" * 1400, b'{"kid":' * 200, b"\xff\xfe", b"1", b'{"kid":"x","alg":"EdDSA","typ":1}']
)
async def test_a_bearer_token_of_garbage_is_refused_as_any_other(running: Manager, header: bytes) -> None:
    token = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30.AAAA"
    url = f"{running.url}/v1/accounts/{running.world.id}/trust"
    async with running.http.get(url, headers={"Authorization": f"Bearer {token}"}) as reply:
        assert (reply.status, (await reply.json(content_type=None))["code"]) == (401, "token_refused")


async def test_who_was_refused_keeps_no_place_by_sending_on(running: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.connection, "REST_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection(*running.configuration.http)
    path = f"/v1/accounts/{running.world.id}/documents"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
    async with asyncio.timeout(20):
        assert b" 401 " in await reader.readuntil(b"\r\n")
        while await reader.read(65_536):
            pass
    writer.close()


# A principal with little.


async def test_pages_tell_nothing_of_what_lies_between(running: Manager) -> None:
    world = running.world
    reader = world.identity("reader")
    grant = world.grant(reader, ["view"], "org/zoo")
    hidden = [world.secret(f"hidden_{n}", scope) for n, scope in enumerate(["account", "org/acme", "org/acme"])]
    mine = [world.secret(f"mine_{n}", "org/zoo/project/web") for n in range(3)]
    await publish(running, grant, *hidden, *mine)
    seen, after, marks = [], "", []
    for _ in range(10):
        status, page = await running.call("GET", f"documents/secret?below=1&limit=1&after={after}", "reader")
        assert status == 200
        seen += page["documents"]
        after = page["next"]
        if not after:
            break
        marks.append(base64.urlsafe_b64decode(after))
    assert seen == [one.compact for one in mine]
    assert not any(b"hidden" in mark or b"acme" in mark for mark in marks)


async def test_a_grant_of_one_thing_lists_that_one(running: Manager) -> None:
    world = running.world
    one, other = world.secret("one", "org/acme"), world.secret("other", "org/acme")
    grant = world.grant(world.identity("reader"), ["view"], "org/acme", resource=one.document.id)
    await publish(running, one, other, grant)
    for scope in ("account&below=1", "org/acme"):
        _, page = await running.call("GET", f"documents/secret?scope={scope}", "reader")
        assert (page["documents"], page["next"]) == ([one.compact], None)


async def test_a_grant_of_one_secret_makes_no_connector_of_its_id(running: Manager) -> None:
    world = running.world
    lowly, secret = world.identity("lowly"), world.secret("one", "org/acme")
    await publish(running, secret, world.grant(lowly, ["edit", "use"], "org/acme", resource=secret.document.id))
    # A connector would have ID tokens, and a host of its author's choice.
    prying = world.connector_with("prying", [], "org/acme", lowly, id=secret.document.id)
    status, problem = await running.call("POST", "documents", "lowly", json={"documents": [prying.compact]})
    assert (status, problem["code"]) == (403, "grant_missing")
    # Nor does who may make both give them one id.
    other = world.connector_with("other", [], "org/acme")
    twin = world.secret("twin", "org/acme", id=other.document.id)
    status, problem = await running.call("POST", "documents", json={"documents": [other.compact, twin.compact]})
    assert (status, problem["code"]) == (409, "field_immutable")


async def test_a_connector_of_another_scope_is_not_there_and_one_above_is(running: Manager) -> None:
    world = running.world
    reader = world.identity("reader")
    theirs = world.publish(world.connector_document("theirs", "org/else"))
    await publish(running, world.grant(reader, ["view"], "org/acme/project/web"), theirs)
    places = [
        {"scope": "org/else", "identifier": "theirs"},
        {"id": theirs.document.id},
        {"scope": "account", "identifier": "local"},
    ]
    _, got = await running.call("POST", "resolve", "reader", json={"connectors": places})
    assert (got["documents"], got["missing"]) == ([world.connector.compact], places[:2])
    _, page = await running.call("GET", "documents/connector?below=1", "reader")
    assert page["documents"] == [world.connector.compact]


async def test_a_connector_shows_no_secret_that_its_signer_may_not_use(running: Manager) -> None:
    world = running.world
    lowly = world.identity("lowly")
    grant = world.grant(lowly, ["edit", "use", "view"], "org/acme")
    given, hidden = world.secret("given"), world.secret("hidden")
    one = world.grant(lowly, ["use"], "account", resource=given.document.id)
    prying = world.connector_with("prying", ["account.given", "account.guessed", "account.hidden"], "org/acme", lowly)
    await publish(running, grant, given, hidden, one, prying)
    wanted = {"connectors": [{"id": prying.document.id}]}
    _, shown = await running.call("POST", "resolve", "lowly", json=wanted)
    assert prying.compact in shown["documents"]
    assert given.compact in shown["documents"]
    # Else whoever may make a connector somewhere would learn what there is everywhere above.
    assert hidden.compact not in shown["documents"]
    # Who may see it is shown it all the same, so that he is told what is wrong with the connector.
    _, shown = await running.call("POST", "resolve", json=wanted)
    assert hidden.compact in shown["documents"]


async def test_somebody_elses_secret_cannot_be_moved_or_deleted_after_a_restart(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    evil = world.identity("evil")
    grants = (
        world.grant(evil, ["edit", "delete"], "org/evil"),
        world.grant(evil, ["view"], "org/acme", id=world.opaque("g")),
    )
    async with running_manager(tmp_path, world) as running:
        await found(running)
        victim = world.secret("victim", "org/acme")
        await publish(running, *grants, victim)
        async with a_delegate(running):
            version = await stored(running, victim)
    async with running_manager(tmp_path, world) as running:
        for changes in ({"deleted": True}, {"identifier": "mine"}):
            stolen = world.next(victim, evil, scope="org/evil", **changes)
            status, problem = await running.call("POST", "documents", "evil", json={"documents": [stolen.compact]})
            assert (status, problem["code"]) == (409, "field_immutable")
        again = world.sign(world.secret_document("again", "org/evil", id=victim.document.id), evil)
        status, problem = await running.call("POST", "documents", "evil", json={"documents": [again.compact]})
        assert (status, problem["code"]) == (409, "field_immutable")
        assert victim.digest not in json.dumps(problem)
        _, page = await running.call("GET", f"secrets/{victim.document.id}/versions")
        assert [(one["digest"], one["deleted_at"]) for one in page["versions"]] == [(version.task.digest, None)]


async def test_a_dead_grant_opens_nothing_and_its_last_task_is_audited(running: Manager) -> None:
    world = running.world
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    secret = world.secret("x")
    await publish(running, grant, secret)
    assert (await running.call("GET", "trust", "reader"))[0] == 200
    task = world.reveal([world.store(secret, b"value")], reader)
    await publish(running, world.revise_status(grants=(grant.document.id,)))
    for path in ("trust", "delegates", "documents/keyring", "tasks"):
        status, problem = await running.call("GET", path, "reader")
        assert (status, problem["code"]) == (403, "grant_revoked"), path
    status, problem = await submit(running, task, "reader")
    assert status == 403
    assert {"outcome": "refused", "principal": reader.kid, "task": task.digest}.items() <= (await audited(running))[
        -1
    ].items()


async def test_a_refused_document_and_somebody_elses_task_are_audited(running: Manager) -> None:
    world = running.world
    reader = world.identity("reader")
    secret = world.secret("x")
    await publish(running, world.grant(reader, ["reveal"]), secret)
    greedy = world.sign(world.grant_document(reader, ["admin"], id=world.opaque("greedy")), reader)
    status, problem = await running.call("POST", "documents", "reader", json={"documents": [greedy.compact]})
    assert status == 403, problem
    entry = (await audited(running))[-1]
    assert (entry["op"], entry["principal"], entry["code"]) == ("document.refused", reader.kid, problem["code"])
    task = world.reveal([world.store(secret, b"value")])
    status, problem = await submit(running, task, "reader")
    assert (status, problem["code"]) == (403, "task_of_another")
    assert (await audited(running))[-1]["code"] == "task_of_another"


async def test_a_task_brings_its_secrets_and_nothing_else(running: Manager) -> None:
    world = running.world
    secret = world.secret("x")
    version = world.store(secret, b"value")
    grant = world.sign(world.grant_document(world.identity("friend")), world.administrator)
    other = world.sign(world.secret_document("other"), world.administrator)
    for brought in (grant, other):
        documents = [secret.compact, brought.compact]
        status, problem = await submit(running, version.task, inputs=[version.input.raw], documents=documents)
        assert (status, problem["code"]) == (400, "documents_unexpected")
    async with a_delegate(running):
        status, outcome = await submit(running, version.task, inputs=[version.input.raw], documents=[secret.compact])
    assert (status, outcome.code) == (200, "ok")
    published = [one for one in await audited(running) if one["op"] == "document.publish" and one["kind"] == "secret"]
    assert [one["digest"] for one in published] == [secret.digest]


async def test_a_plan_asks_for_few_things(running: Manager) -> None:
    need: dict[str, Any] = {"keyring": "main", "gen": 1, "kinds": ["Local"]}
    assert (await running.call("POST", "plan", json=need))[0] == 200
    for changes in (
        {"kinds": ["x"] * 65},
        {"kinds": ["x" * 65]},
        {"gen": -1},
        {"keyring": "é"},
        {"selectors": ["x"] * 65},
    ):
        status, problem = await running.call("POST", "plan", json={**need, **changes})
        assert (status, problem["code"]) == (400, "request_malformed"), changes


async def test_a_document_is_no_way_to_fill_the_memory(running: Manager) -> None:
    tags = {f"tag{n}": "x" * 256 for n in range(400)}
    secret = running.world.secret("x", tags=tags)
    status, problem = await running.call("POST", "documents", json={"documents": [secret.compact]})
    assert (status, problem["code"]) == (400, "document_too_large")


async def test_what_can_be_no_id_is_not_found(running: Manager) -> None:
    for path in ("secrets/%00/versions", "tasks/%00", "tasks/%00/outcome", "secrets/x/versions"):
        assert (await running.call("GET", path))[0] == 404, path
    for place in ({"scope": "account", "identifier": "\0"}, {"scope": "\0", "identifier": "x"}):
        assert (await running.call("POST", "resolve", json={"secrets": [place]}))[0] == 400


# A manager that has just been started.


async def test_a_pin_of_an_old_revision_is_stale_though_the_book_is_cold(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    async with running_manager(tmp_path, world) as running:
        await found(running)
        secret = world.secret("x")
        old = world.store(secret, b"value")
        newer = world.revise(secret, description="new")
        await publish(running, secret, newer)
    async with running_manager(tmp_path, world) as running:
        status, problem = await submit(running, old.task, inputs=[old.input.raw])
    assert (status, problem["code"], problem["stale"]) == (409, "pin_stale", [["secret", secret.document.id]])
    assert problem["documents"] == [newer.compact]


async def test_who_asks_at_once_shares_one_loading(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    async with running_manager(tmp_path, world) as running:
        await found(running)
    async with running_manager(tmp_path, world) as running:
        replies = await asyncio.gather(*(running.call("GET", "trust") for _ in range(20)))
        assert {status for status, _ in replies} == {200}
        status = world.revise_status()
        await publish(running, status)
        _, trust = await running.call("GET", "trust")
        assert status.compact in trust["documents"]


# A delegate that cheats or doesn't listen.


async def test_a_store_that_is_answered_with_other_records_is_a_failure_and_audited(running: Manager) -> None:
    world = running.world
    secret = world.secret("x")
    await publish(running, secret)
    version = world.store(secret, b"value")
    async with wire_delegate(world, delegate_url(running)) as delegate:
        submitted = asyncio.create_task(submit(running, version.task, inputs=[version.input.raw]))
        task = await taken(delegate)
        await delegate.say(answer_of(world, task, stored=(b"one",), sent=(b"other",)))
        status, problem = await submitted
    assert (status, problem["code"]) == (503, "answer_malformed")
    entry = (await audited(running))[-1]
    assert (entry["task"], entry["outcome"], entry["code"]) == (version.task.digest, "failed", "answer_malformed")


async def test_one_that_does_not_read_keeps_neither_who_publishes_nor_the_end(
    running: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager.stream, "PUSH_SECONDS", 0.05)
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async with wire_delegate(running.world, delegate_url(running)) as delegate:
        send, deaf = Delegate.tell, delegate.world.delegate.kid

        async def tell(self: Delegate, message: FromManager, seconds: float = 0.2) -> None:
            if self.kid == deaf:
                self.send = lambda _: never  # type: ignore[assignment,return-value]
            await send(self, message, 0.2)

        monkeypatch.setattr(Delegate, "tell", tell)
        async with asyncio.timeout(10):
            await publish(running, running.world.revise_status())
        assert (await delegate.end())[0] == "CANCELLED"


async def test_a_status_that_a_service_renewed_comes_with_the_grant_behind_it(running: Manager) -> None:
    world = running.world
    clock = world.identity("clock")
    async with wire_delegate(world, delegate_url(running)) as delegate:
        grant = world.grant(clock, ["renew"])
        base = world.status
        await publish(running, grant)
        renewed = world.revise_status(clock, base=base.digest)
        status, problem = await running.call("POST", "documents", "clock", json={"documents": [renewed.compact]})
        assert status == 200, problem
        pushed: Documents = await delegate.hear(Documents)
    assert pushed.compact == (grant.compact, renewed.compact)


async def test_a_delegate_that_its_keyring_lists_no_more_is_cut(running: Manager) -> None:
    world = running.world
    async with wire_delegate(world, delegate_url(running)) as delegate:
        await publish(running, world.rotate(floor=2))
        assert (await delegate.end())[0] == "CANCELLED"
    async with wire_delegate(world, delegate_url(running)):
        _, listed = await running.call("GET", "delegates")
        assert [one["state"] for one in listed["delegates"]] == ["connected"]


async def test_a_deleted_version_leaves_the_manager(running: Manager) -> None:
    world = running.world
    secret = world.secret("x")
    await publish(running, secret)
    async with wire_delegate(world, delegate_url(running)) as delegate:
        version = world.store(secret, b"value")
        submitted = asyncio.create_task(submit(running, version.task, inputs=[version.input.raw]))
        await delegate.say(answer_of(world, await taken(delegate), stored=(version.record.raw,)))
        assert (await submitted)[0] == 200
        forged = world.task("delete", [Target(secret=secret.document.id, n=1, version=b64u(bytes(32)))])
        assert (await submit(running, forged))[1]["code"] == "version_not_found"
        submitted = asyncio.create_task(submit(running, world.delete(secret, version)))
        await delegate.say(answer_of(world, await taken(delegate)))
        assert (await submitted)[0] == 200
    _, page = await running.call("GET", f"secrets/{secret.document.id}/versions")
    assert [one["deleted_at"] is None for one in page["versions"]] == [False]
    status, problem = await submit(running, world.reveal([version]))
    assert (status, problem["code"]) == (404, "version_not_found")


# An outcome that is asked for later.


async def test_who_did_not_wait_still_learns_that_his_task_failed(running: Manager) -> None:
    world = running.world
    secret = world.secret("x")
    await publish(running, secret)
    version = world.store(secret, b"value")
    async with wire_delegate(world, delegate_url(running)) as delegate:
        status, outcome = await submit(running, version.task, wait=0, inputs=[version.input.raw])
        assert (status, outcome.state, outcome.task) == (202, "running", version.task.digest)
        task = await taken(delegate)
        await delegate.say(answer_of(world, task, stored=(b"one",), sent=()))
        url = f"{running.url}/v1/accounts/{world.id}/tasks/{digest(version.task.compact)}/outcome"
        async with running.http.get(url, headers=running.bearer()) as reply:
            first = reply.status
        async with running.http.get(url, headers=running.bearer()) as reply:
            outcome = pb.Outcome.FromString(await reply.read())
    assert first in {200, 503}
    assert (outcome.state, outcome.code, outcome.answer) == ("failed", "answer_malformed", "")


async def test_a_bug_on_the_stream_tells_its_peer_nothing(running: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("canary of a bug")

    monkeypatch.setattr("manager.stream.check_certificate", crash)
    async with wire_delegate(running.world, delegate_url(running), greet=False) as stranger:
        with pytest.raises((AssertionError, grpc.aio.AioRpcError)):
            await stranger.greet()
        assert await stranger.call.code() is grpc.StatusCode.INTERNAL
        assert "canary" not in await stranger.call.details()
