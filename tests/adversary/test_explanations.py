"""Who asks why a task went where it did learns nothing of accounts and tasks that aren't his, nor believes all that he is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client.cli.rules import rows_of
from manager.api.accounts import token_hash
from manager.store import add_token
from shared.documents.task import WantedSelector
from shared.wire import submission_pb2 as pb
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage
from tests.fakes.delegates import running as running_delegate
from tests.fakes.running import Manager, found, manager
from tests.fakes.world import KEYRING, World

PROTOBUF = {"Content-Type": "application/x-protobuf"}
SELECTOR = "only-the-owners-know"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


async def refused_task(running: Manager) -> str:
    """A task of the administrator's that nobody could take, because of its selector."""
    world = running.world
    secret = world.secret("x")
    await publish(running, secret)
    version = world.store(secret, b"value", selectors=(WantedSelector(SELECTOR, "step"),))
    body = pb.Submission(document=version.task.compact, inputs=[version.input.raw]).SerializeToString()
    url = f"{running.url}/v1/accounts/{world.id}/tasks?wait=5"
    async with running.http.post(url, data=body, headers={**running.bearer(), **PROTOBUF}) as reply:
        assert (await reply.json(content_type=None))["code"] == "no_delegate"
    return str(version.task.digest)


async def publish(running: Manager, *documents: Any) -> None:
    status, problem = await running.call("POST", "documents", json={"documents": [one.compact for one in documents]})
    assert status == 200, problem


async def test_a_task_is_explained_to_its_signer_and_to_administrators_alone(running: Manager) -> None:
    world = running.world
    task = await refused_task(running)
    status, told = await running.call("GET", f"tasks/{task}/explanation")
    assert (status, told["wanted"]["selectors"]) == (200, [SELECTOR])
    await publish(running, world.grant(world.identity("reader"), ["reveal"]))
    of_his, of_none = [await running.call("GET", f"tasks/{one}/explanation", "reader") for one in (task, "A" * 43)]
    assert of_his == of_none, "a task of another's is as unknown as one that there isn't"
    assert of_his[0] == 404
    assert SELECTOR not in json.dumps(of_his)
    assert (await running.call("GET", f"tasks/{task}/explanation", "stranger"))[0] == 401
    await publish(running, world.grant(world.identity("boss"), ["admin"]))
    assert (await running.call("GET", f"tasks/{task}/explanation", "boss"))[1]["steps"] == told["steps"]


@pytest.mark.parametrize("id", ["%00", "..", "x", "A" * 42, "A" * 4000])
async def test_what_names_no_task_is_just_unknown(running: Manager, id: str) -> None:
    assert (await running.call("GET", f"tasks/{id}/explanation"))[0] == 404


async def test_another_account_learns_of_no_delegate_and_no_task(running: Manager) -> None:
    task = await refused_task(running)
    other = Manager(running.configuration, running.http, World(now=int(time.time()), name="other"))
    now = int(time.time())
    add_token(running.configuration.database, token_hash("another-token"), now, now + 3600)
    headers = {"Authorization": "Token another-token"}
    body = {"documents": other.world.documents}
    async with running.http.post(f"{running.url}/v1/accounts", headers=headers, json=body) as reply:
        assert reply.status == 201
    need = {"keyring": KEYRING, "gen": 1, "kinds": ["Local"], "explain": True}
    async with running_delegate(running.world, running.configuration.delegate_urls[0], tags=(SELECTOR,)):
        async with asyncio.timeout(30):
            while not (await running.call("POST", "plan", json=need))[1]["delegates"]:
                await asyncio.sleep(0.02)
        status, told = await other.call("POST", "plan", json=need)
        assert (status, told["delegates"], told["winner"], told["candidates"], told["others"]) == (
            200,
            [],
            None,
            [],
            {},
        )
    assert (await other.call("GET", f"tasks/{task}/explanation"))[0] == 404
    mine = running.bearer()
    async with running.http.get(
        f"{running.url}/v1/accounts/{other.world.id}/tasks/{task}/explanation", headers=mine
    ) as reply:
        assert reply.status == 401


async def test_a_manager_cannot_pass_another_for_a_candidate(stage: Stage) -> None:
    async with stage.client() as client:
        await client.store("account.token", b"value")
        honest = await client.explanations.choice("account.harnessSecretManager", "delete")
        assert (honest["certified"], honest["drawn"]) == ("yes", ["alpha"])

        def forged(exchange: Exchange) -> None:
            if exchange.path.endswith("/plan"):
                told = exchange.json()
                told["candidates"] = [
                    {**one, "name": "evil", "certificate": "e30.e30.e30"} for one in told["candidates"]
                ]
                exchange.answer_json(told)

        stage.evil.on_reply(forged)
        told = await client.explanations.choice("account.harnessSecretManager", "delete")
        assert told["certified"] != "yes"
        assert told["drawn"] == []


@pytest.mark.parametrize(
    "told", [None, 3, {}, [3], [{"rules": 3}], [{"rules": [3]}], [{"name": {}, "rules": [{"verdict": "fail"}]}]]
)
def test_senseless_rows_are_left_out(told: object) -> None:
    assert all(set(row) >= {"name", "verdict", "answer"} for row in rows_of(told))
