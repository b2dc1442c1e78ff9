"""The manager's HTTP port: limits before anything is known, problems, publishing, and what nobody else sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import manager.connection
from shared.documents.jws import parse
from shared.wire import submission_pb2 as pb
from tests.fakes.running import TOKEN, Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.world import World


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


async def raw(running: Manager, data: bytes, *, until_closed: bool = True) -> bytes:
    """What the port says to bytes that no client would send."""
    reader, writer = await asyncio.open_connection(*running.configuration.http)
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read() if until_closed else await reader.read(65_536)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_an_account_is_made_once_and_its_token_used_up(running: Manager) -> None:
    other = World(now=int(time.time()), name="other")
    headers = {"Authorization": f"Token {TOKEN}"}
    for documents, status, code in (
        (running.world.documents, 401, "token_refused"),
        (other.documents, 401, "token_refused"),
        (["x.y.z"], 401, "token_refused"),
    ):
        async with running.http.post(
            f"{running.url}/v1/accounts", headers=headers, json={"documents": documents}
        ) as reply:
            problem = await reply.json(content_type=None)
            assert reply.status == status, problem
            assert problem["code"] == code
            assert reply.content_type == "application/problem+json"


async def test_what_is_no_beginning_of_an_account_leaves_its_token_good(tmp_path: Path) -> None:
    async with running_manager(tmp_path, World(now=int(time.time()))) as running:
        headers = {"Authorization": f"Token {TOKEN}"}
        for documents, code in (
            (running.world.documents[:1], "documents_missing"),
            (["x.y.z"], "base64url_malformed"),
            ([], "documents_missing"),
        ):
            async with running.http.post(
                f"{running.url}/v1/accounts", headers=headers, json={"documents": documents}
            ) as reply:
                assert (reply.status, (await reply.json(content_type=None))["code"]) == (400, code)
        await found(running)


async def test_the_trust_documents_make_a_book_and_are_not_sent_twice(running: Manager) -> None:
    url = f"{running.url}/v1/accounts/{running.world.id}/trust"
    async with running.http.get(url, headers=running.bearer()) as reply:
        kinds = [parse(one).kind for one in (await reply.json())["documents"]]
        tag = reply.headers["ETag"]
        assert abs(int(reply.headers["Privyseal-Time"]) - time.time()) < 10
    assert kinds == ["account", "status", "keyring"]
    async with running.http.get(url, headers={**running.bearer(), "If-None-Match": tag}) as reply:
        assert (reply.status, await reply.read()) == (304, b"")


async def test_a_stranger_learns_nothing(running: Manager) -> None:
    for path in ("trust", "documents/secret", "tasks", "delegates", "audit", "secrets/x/versions"):
        status, problem = await running.call("GET", path, "stranger")
        assert (status, problem["code"]) == (401, "token_refused"), path
    async with running.http.get(f"{running.url}/v1/accounts/{'a' * 52}/trust") as reply:
        assert reply.status == 404


async def test_documents_are_published_all_or_none(running: Manager) -> None:
    world = running.world
    good, bad = world.secret("good"), world.sign(world.secret_document("bad"), world.identity("stranger"))
    status, problem = await running.call("POST", "documents", json={"documents": [good.compact, bad.compact]})
    assert (status, problem["code"]) == (401, "signer_unknown")
    _, listed = await running.call("GET", "documents/secret")
    assert listed["documents"] == []
    status, _ = await running.call("POST", "documents", json={"documents": [good.compact]})
    assert status == 200
    _, listed = await running.call("GET", "documents/secret")
    assert listed["documents"] == [good.compact]


async def test_of_two_next_revisions_one_wins_and_the_other_is_told(running: Manager) -> None:
    world = running.world
    first = world.secret("x")
    await running.call("POST", "documents", json={"documents": [first.compact]})
    one, two = world.next(first, description="one"), world.next(first, description="two")
    results = await asyncio.gather(
        *(running.call("POST", "documents", json={"documents": [each.compact]}) for each in (one, two))
    )
    assert sorted(status for status, _ in results) in ([200, 409], [200, 422])


async def test_a_secret_of_another_scope_is_not_there(running: Manager) -> None:
    world = running.world
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"], "org/acme")
    mine, other = world.secret("mine", "org/acme"), world.secret("other", "org/else")
    await running.call("POST", "documents", json={"documents": [grant.compact, mine.compact, other.compact]})
    _, listed = await running.call("GET", "documents/secret?below=1", "reader")
    assert listed["documents"] == [mine.compact]
    places = [{"scope": "org/acme", "identifier": "mine"}, {"scope": "org/else", "identifier": "other"}]
    _, found_ = await running.call("POST", "resolve", "reader", json={"secrets": places})
    assert found_["missing"] == [places[1]]
    assert mine.compact in found_["documents"] and other.compact not in found_["documents"]
    status, problem = await running.call("GET", f"secrets/{other.document.id}/versions", "reader")
    assert (status, problem["code"]) == (404, "secret_not_found")
    status, problem = await running.call("GET", "audit", "reader")
    assert (status, problem["code"]) == (403, "grant_missing")


async def test_a_task_without_a_delegate_is_refused_with_a_reason_and_audited(running: Manager) -> None:
    world = running.world
    secret = world.secret("x")
    await running.call("POST", "documents", json={"documents": [secret.compact]})
    version = world.store(secret, b"value")
    body = pb.Submission(document=version.task.compact, inputs=[version.input.raw]).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    status, problem = await running.call("POST", "tasks", data=body, headers=headers)
    assert (status, problem["code"], problem["delegates"]) == (412, "no_delegate", [])
    _, audit = await running.call("GET", "audit")
    assert any('"code":"no_delegate"' in one["entry"] for one in audit["entries"])
    _, tasks = await running.call("GET", "tasks")
    assert [(one["state"], one["code"]) for one in tasks["tasks"]] == [("failed", "no_delegate")]


async def test_a_task_is_refused_before_it_costs_anything(running: Manager) -> None:
    world = running.world
    secret = world.secret("x")
    await running.call("POST", "documents", json={"documents": [secret.compact]})
    version = world.store(secret, b"value")
    headers = {"Content-Type": "application/x-protobuf"}
    foreign = world.store(secret, b"value", world.identity("stranger"), pins=version.task.document.pins)
    for body, name, expected in (
        (b"\xff\xff", "administrator", "request_malformed"),
        (pb.Submission(document="x").SerializeToString(), "administrator", "document_malformed"),
        (pb.Submission(document=version.task.compact).SerializeToString(), "administrator", "input_foreign"),
        (
            pb.Submission(document=version.task.compact, inputs=[b"other"]).SerializeToString(),
            "administrator",
            "input_foreign",
        ),
        (pb.Submission(document=foreign.task.compact).SerializeToString(), "administrator", "task_of_another"),
    ):
        status, problem = await running.call("POST", "tasks", name, data=body, headers=headers)
        assert problem["code"] == expected, problem
        assert 400 <= status < 500


async def test_an_unknown_operation_is_a_problem_too(running: Manager) -> None:
    for method, path, expected in (("GET", "/nothing", 404), ("PUT", "/v1/accounts", 405)):
        async with running.http.request(method, running.url + path) as reply:
            assert reply.status == expected
            assert (await reply.json(content_type=None))["code"] == "operation_unknown"


async def test_the_description_tells_every_operation_and_each_error_form(running: Manager) -> None:
    async with running.http.get(f"{running.url}/openapi.json") as reply:
        described = await reply.json()
    operations = {(method, path) for path, methods in described["paths"].items() for method in methods}
    assert ("post", "/v1/accounts/{account}/tasks") in operations
    assert len(operations) >= 17
    assert all("default" in one["responses"] for path in described["paths"].values() for one in path.values())


async def test_a_head_that_is_too_large_is_cut_off(running: Manager) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    assert await raw(running, start + b"A: " + b"a" * 40_000 + b"\r\n\r\n") == b""
    assert await raw(running, start + b"".join(b"H%d: x\r\n" % n for n in range(9_000))) == b""
    assert b"200" in await raw(running, start + b"A: " + b"a" * 8_000 + b"\r\n\r\n", until_closed=False)


async def test_a_head_that_never_ends_is_cut_off(running: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.connection, "HEAD_SECONDS", 0.1)
    assert await raw(running, b"GET /healthz HTTP/1.1\r\nHost: x\r\n") == b""
    assert await raw(running, b"") == b""


async def test_a_body_that_is_too_large_is_refused_unread(running: Manager) -> None:
    head = (
        f"POST /v1/accounts/{running.world.id}/documents HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {running.bearer()['Authorization']}\r\nContent-Type: application/json\r\n"
        "Content-Length: 99999999999\r\n\r\n"
    ).encode()
    answer = await raw(running, head, until_closed=False)
    assert b" 400 " in answer and b"request_too_large" in answer


async def test_nobodys_body_is_read_before_he_is_known(running: Manager) -> None:
    head = (
        f"POST /v1/accounts/{running.world.id}/documents HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    ).encode()
    assert b" 401 " in await raw(running, head, until_closed=False)


async def test_deep_and_odd_json_is_malformed_and_nothing_else(running: Manager) -> None:
    for text in ("[" * 100_000, '{"documents": 1}', "null", '{"documents": ["a"], "more": 1}', '"\\ud800"', "\xff"):
        status, problem = await running.call(
            "POST", "documents", data=text.encode("latin-1"), headers={"Content-Type": "application/json"}
        )
        assert (status, problem["title"]) == (400, "Malformed"), text[:20]


async def test_a_page_is_bounded(running: Manager) -> None:
    for query in ("limit=0", "limit=501", "limit=x", "limit=-1", "limit=٣", "after=" + "9" * 30):
        status, problem = await running.call("GET", f"audit?{query}")
        assert (status, problem["code"]) == (400, "parameter_malformed"), query
