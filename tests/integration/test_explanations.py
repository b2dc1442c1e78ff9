"""Why a task went where it did, and where the next one goes: what is predicted is what then happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
import pytest_asyncio

from client.choice import Choice
from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, NotFound, NotReady
from tests.fakes.commanded import allowing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    commands = allowing(tmp_path_factory.mktemp("policy"))
    options = {
        "a": ["--tags", "region=eu,tier=test"],
        "b": ["--tags", "region=eu", *commands],
        "c": ["--tags", "region=us", *commands, "--capacity", "1"],
    }
    text = b"connector: {name: near, type: Local, spec: {delegateSelectors: [region=eu]}}"
    async with DevEnvironment(delegates=3, delegate_options=options) as running:
        async with running.client() as client:
            await client.connectors.apply(await client.connectors.plan(parse(text, "file.yaml")))
            await client.store("account.token", b"value", connector="near")
        yield running


async def explained(client: Client, op: str, act: Awaitable[object]) -> dict[str, Any]:
    """Does it, and gives the explanation of the task of that kind that it took; what it raised is its `raised`."""
    before = {one["task"] for one in await client.views.tasks(500)}
    (raised,) = await asyncio.gather(act, return_exceptions=True)
    (task,) = [one["task"] for one in await client.views.tasks(500) if one["op"] == op and one["task"] not in before]
    return {**await client.explanations.task(task), "raised": raised}


async def until_free(client: Client) -> None:
    """Until the delegate that ran a command has ended it, cancelled or not."""
    async with asyncio.timeout(45):
        while not (await client.explanations.choice("near", selectors=["region=us"]))["winner"]:
            await asyncio.sleep(0.02)


async def running_command(client: Client) -> str:
    """The task of the command that a delegate has."""
    async with asyncio.timeout(45):
        while not (found := [one for one in await client.views.tasks(20) if one["state"] == "leased"]):
            await asyncio.sleep(0.02)
    return str(found[0]["task"])


def verdicts(told: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in told["delegates"]}


async def test_the_predicted_winner_is_the_one_that_gets_the_task(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        met = set()
        for wanted in (
            Choice(),
            Choice(["tier=test"]),
            Choice(["region=us"]),
            Choice(where="not tier=test"),
            Choice(),
        ) * 2:
            told = await client.explanations.choice("near", selectors=wanted)
            again = await client.explanations.choice("near", selectors=wanted)
            assert told["winner"] == again["winner"], "to ask takes nobody's turn"
            done = await explained(client, "reveal", client.reveal("account.token", selectors=wanted))
            assert done["raised"] == Plaintext(b"value")
            (step,) = done["steps"]
            assert (done["name"], done["delegate"]) == (told["winner"]["name"], told["winner"]["delegate"])
            assert (step["name"], step["why"]) == (told["winner"]["name"], told["winner"]["why"])
            assert told["certified"] == "yes"
            met.add(done["name"])
        assert met == {"a", "b", "c"}


async def test_a_store_goes_where_its_dry_run_says(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        for n in range(3):
            told = await client.explanations.choice("near", "store")
            stored = await client.store(f"account.more{n}", b"x", connector="near")
            assert stored.delegate == told["winner"]["name"]


async def test_every_delegate_is_told_with_every_rule_the_winner_first(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        told = await client.explanations.choice("near")
    assert [one["verdict"] for one in told["delegates"]] == ["winner", "able", "refused"]
    assert told["delegates"][0]["name"] == told["winner"]["name"]
    for one in told["delegates"]:
        assert [rule["rule"] for rule in one["rules"]][:5] == [
            "connected",
            "named",
            "keyring",
            "generation",
            "selectors",
        ]
        assert all(rule["code"] == "ok" and not rule["remedy"] for rule in one["rules"] if rule["verdict"] == "pass")
    (refused,) = [rule for rule in told["delegates"][2]["rules"] if rule["verdict"] != "pass"]
    assert (refused["rule"], refused["code"]) == ("selectors", "selectors_missing")
    assert "--tags region=eu" in refused["remedy"]


async def test_for_what_happens_once_those_are_told_among_whom_it_is_drawn(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        told = await client.explanations.choice("near", "exec")
        assert (told["winner"], told["drawn"]) == (None, ["b"])
        (no,) = [
            rule
            for one in told["delegates"]
            if one["name"] == "a"
            for rule in one["rules"]
            if rule["verdict"] == "fail"
        ]
        assert (no["code"], no["remedy"]) == ("exec_off", "set exec = true in its policy file")
        told = await client.explanations.choice("near", "delete", selectors=["region=us"])
        assert told["drawn"] == ["c"]
        await client.store("account.gone", b"x", connector="near")
        done = await explained(client, "delete", client.secrets.delete("account.gone", selectors=["region=us"]))
        assert done["name"] == "c"
        (step,) = done["steps"]
        codes = {
            name: [said["code"] for said in group["reasons"]]
            for group in step["passed_over"]["refused"]
            for name in group["delegates"]
        }
        assert codes == {"a": ["not_chosen", "selectors_missing"], "b": ["not_chosen", "selectors_missing"]}


async def test_a_refusal_has_the_table_of_the_dry_run_and_stays_with_the_task(environment: DevEnvironment) -> None:
    nowhere = Choice(["region=nowhere"])
    async with environment.client() as client:
        told = await client.explanations.choice("near", selectors=nowhere)
        assert (told["winner"], told["waits"], set(verdicts(told).values())) == (None, False, {"refused"})
        done = await explained(client, "reveal", client.reveal("account.token", selectors=nowhere))
        assert isinstance(done["raised"], NotReady)
        rows = {one["name"]: one["rules"] for one in done["raised"].facts["delegates"]}
        assert rows == {one["name"]: one["rules"] for one in told["delegates"]}
        assert (done["state"], done["code"], done["wanted"]["selectors"]) == (
            "failed",
            "no_delegate",
            ["region=nowhere"],
        )
        (step,) = done["steps"]
        (group,) = step["passed_over"]["refused"]
        assert (step["what"], sorted(group["delegates"])) == ("refused", ["a", "b", "c"])
        with pytest.raises(NotReady) as caught:
            await client.secrets.delete("account.token", selectors=nowhere)
        assert {one["name"]: one["rules"] for one in caught.value.facts["delegates"]} == rows


async def test_what_a_connector_cannot_hold_is_not_explained(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        with pytest.raises(NotFound):
            await client.explanations.choice("absent")
        with pytest.raises(Malformed):
            await client.explanations.choice("near", "dance")
        with pytest.raises(NotFound):
            await client.explanations.task("A" * 43)


async def test_a_command_that_runs_is_explained_while_it_runs(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        running = asyncio.create_task(
            client.commands.run(["sleep", "100"], {"TOKEN": "account.token"}, lambda *_: None, selectors=["region=us"])
        )
        task = await running_command(client)
        told = await client.explanations.task(task)
        assert (told["state"], told["name"], told["steps"][0]["what"]) == ("leased", "c", "chosen")
        await client.views.cancel(task)
        await asyncio.gather(running, return_exceptions=True)
        told = await client.explanations.task(task)
        assert (told["state"], told["steps"][0]["name"]) == ("unknown", "c")
        await until_free(client)


async def test_a_task_that_waits_says_for_whom_and_is_given_to_that_one(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        command = asyncio.create_task(
            client.commands.run(["sleep", "100"], {"TOKEN": "account.token"}, lambda *_: None, selectors=["region=us"])
        )
        command_task = await running_command(client)
        told = await client.explanations.choice("near", selectors=["region=us"])
        assert (told["waits"], verdicts(told)) == (True, {"c": "waits", "a": "refused", "b": "refused"})
        (busy,) = [rule for rule in told["delegates"][0]["rules"] if rule["verdict"] == "fail"]
        assert (busy["code"], "--capacity" in busy["remedy"]) == ("busy", True)
        waiting = asyncio.create_task(client.reveal("account.token", selectors=["region=us"]))
        async with asyncio.timeout(45):
            while not (
                found := [
                    one for one in await client.views.tasks(20) if (one["op"], one["state"]) == ("reveal", "queued")
                ]
            ):
                await asyncio.sleep(0.02)
        told = await client.explanations.task(found[0]["task"])
        assert [step["what"] for step in told["steps"]] == ["waits"]
        assert verdicts(told) == {"c": "waits", "a": "refused", "b": "refused"}
        await client.views.cancel(command_task)
        await asyncio.gather(command, return_exceptions=True)
        assert await waiting == Plaintext(b"value")
        told = await client.explanations.task(found[0]["task"])
        assert [(step["what"], step.get("name", "")) for step in told["steps"]] == [("waits", ""), ("chosen", "c")]
        assert told["delegates"] == []
