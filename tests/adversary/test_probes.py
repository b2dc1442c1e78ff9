"""Tests that a manager asks for, and what delegates say of theirs: neither makes a delegate do what its owner mayn't bear, nor
keeps tasks from anybody but who lies."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from delegate.policy import LocalPolicy
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, parse_as
from shared.messages import Checked, Credit, Documents, Probe
from tests.adversary.stage import Stage, until
from tests.fakes.delegates import running as delegate_of
from tests.fakes.kinds import Gate
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import WireDelegate, wire_delegate
from tests.fakes.world import World

POLICY = 'kinds = ["*"]'
PATIENCE_SECONDS = 20


class Provider(Gate):
    """Counts who asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.opened.set()
        self.asked = 0

    async def passed(self) -> None:
        self.asked += 1
        await super().passed()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as one:
        yield one


async def ready(stage: Stage, provider: Provider, policy: str = POLICY) -> None:
    """A delegate that tests by itself, though not within this hour, and knows what the world has published."""
    await stage.delegate("alpha", gate=provider, policy=policy, check_seconds=3_600.0)
    await stage.teach("alpha")


def gated(stage: Stage, identifier: str, **changes: Any) -> Verified[ConnectorDocument]:
    return stage.world.publish(stage.world.connector_document(identifier, type="Gated", **changes))


def told(stage: Stage) -> list[str]:
    """The revisions of which the delegate has told what came of a test."""
    heard = [one for one in stage.evil.tap("alpha").heard if isinstance(one, Checked)]
    return [parse_as(CheckedDocument, one.document).document.revision for one in heard]


async def test_a_manager_that_floods_a_delegate_with_probes_gets_one_test_and_the_delegate_goes_on(
    stage: Stage,
) -> None:
    provider = Provider()
    one = gated(stage, "one")
    others = [gated(stage, f"other{number}") for number in range(5)]
    await ready(stage, provider)
    tap = stage.evil.tap("alpha")
    began = time.monotonic()
    for _ in range(2_000):
        await tap.say(Probe((one.digest,) * 50))
    await tap.say(Probe(tuple(each.digest for each in others)))
    await until(lambda: set(told(stage)) >= {each.digest for each in others}, "the last ones to be tested")
    tests = told(stage).count(one.digest)
    assert 1 <= tests <= 1 + (time.monotonic() - began) / 5
    # On a slow machine the next one may be under way.
    await until(lambda: provider.asked == told(stage).count(one.digest) + len(others), "each test to be told")
    await stage.client().store("account.token", b"value")
    assert (await stage.client().reveal("account.token")).reveal() == b"value"


async def test_a_manager_cannot_spend_more_of_a_connectors_budget_than_its_owner_gives(stage: Stage) -> None:
    provider = Provider()
    one, another = gated(stage, "one"), gated(stage, "another")
    await ready(stage, provider, f"{POLICY}\n[calls_per_minute]\ndefault = 0\nconnectors = {{ another = 5 }}")
    await stage.evil.tap("alpha").say(Probe((one.digest, another.digest)))
    await until(lambda: bool(told(stage)), "the allowed one to be tested")
    assert told(stage) == [another.digest]
    assert provider.asked == 1


async def test_a_manager_cannot_have_a_delegate_test_what_it_may_not_use(stage: Stage) -> None:
    world, provider = stage.world, Provider()
    author = world.identity("author")
    grant = world.grant(author, ["edit", "use"])
    revoked = world.publish(world.connector_document("revoked", type="Gated"), author)
    world.revise_status(grants=(grant.document.id,))
    old = gated(stage, "old")
    new = world.revise(old, name="renamed")
    deleted = world.revise(gated(stage, "deleted"), deleted=True)
    world.store(world.secret("key"), b"credential")
    lies = {
        "of other delegates": gated(stage, "elsewhere", selectors=("elsewhere",)),
        "of other tags": gated(stage, "unmet", where="not alpha"),
        "of another keyring": gated(stage, "foreign_keyring", keyring="another"),
        "of the platform": gated(stage, "platform", spec={"executeOnDelegate": False}),
        "not to be tested": gated(stage, "untested", spec={"ignoreTestConnection": True}),
        "an older revision": old,
        "deleted": deleted,
        "of an author without rights": revoked,
        "by nobody": world.sign(world.connector_document("forged", type="Gated"), stage.mallory),
        "with credentials that no task has brought": world.connector_with("named", ["account.key"], type="Gated"),
        "no connector": world.secret("thing"),
    }
    await ready(stage, provider)
    tap = stage.evil.tap("alpha")
    foreign = World(now=world.now, name="another account")
    theirs = foreign.publish(foreign.connector_document("theirs", type="Gated"))
    await tap.say(Documents((*foreign.documents, *(one.compact for one in lies.values()))))
    await tap.say(Probe((theirs.digest, *(one.digest for one in lies.values()), "x", "", "y" * 100_000)))
    # The stream is in order: what it may test is tested after all of these.
    await tap.say(Probe((new.digest,)))
    await until(lambda: bool(told(stage)), "the new revision to be tested")
    assert told(stage) == [new.digest]
    assert provider.asked == 1


async def test_a_manager_that_hides_a_new_revision_has_the_older_one_tested_for_no_longer_than_it_is_hidden(
    stage: Stage,
) -> None:
    provider = Provider()
    old = gated(stage, "old")
    await ready(stage, provider)
    new = stage.world.revise(old, name="renamed")
    tap = stage.evil.tap("alpha")
    await tap.say(Probe((new.digest, old.digest)))
    await until(lambda: bool(told(stage)), "the older one to be tested")
    await tap.say(Documents((new.compact,)))
    await tap.say(Probe((old.digest,)))
    await tap.say(Probe((gated(stage, "late").digest, new.digest)))
    await until(lambda: new.digest in told(stage), "the new one to be tested")
    assert told(stage) == [old.digest, new.digest]


@contextlib.asynccontextmanager
async def fleet(tmp_path: Path) -> AsyncIterator[tuple[Manager, WireDelegate, Verified[ConnectorDocument]]]:
    """An honest manager and delegate, and another delegate in the attacker's hands; all are for that connector."""
    world = World(now=int(time.time()))
    connector = world.publish(world.connector_document("gated", type="Gated"))
    provider = Provider()
    async with running_manager(tmp_path, world) as running:
        await found(running)
        url = running.configuration.delegate_urls[0]
        honest = delegate_of(
            world,
            url,
            kinds=provider.kinds(),
            policy=LocalPolicy.parse(POLICY, ["Local"]),
            randomness=secrets.token_bytes,
            name="honest",
        )
        async with honest, wire_delegate(world, url, kinds=("Local", "Gated")) as liar:
            await liar.say(Credit(4))
            yield running, liar, connector


async def standing(running: Manager, connector: Verified[ConnectorDocument]) -> dict[str, str]:
    """Of each delegate the dry run's verdict about a task that goes through the connector."""
    need = {"keyring": "main", "gen": 1, "kinds": ["Gated"], "connectors": [connector.digest], "explain": True}
    status, told = await running.call("POST", "plan", json=need)
    assert status == 200, told
    return {one["name"]: one["verdict"] for one in told["delegates"]}


async def stands(running: Manager, connector: Verified[ConnectorDocument], **wanted: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while {name: verdict for name, verdict in (await standing(running, connector)).items() if name in wanted} != {
            **wanted
        }:
            await asyncio.sleep(0.02)


def says(world: World, connector: Verified[ConnectorDocument], code: Any, **changes: Any) -> Checked:
    fields: dict[str, Any] = {
        "v": 1, "acct": world.id, "connector": connector.document.id, "revision": connector.digest, "code": code,
        "iat": int(time.time()), **changes,
    }  # fmt: skip
    return Checked(world.delegate.sign_document(CheckedDocument(**fields)))


async def test_a_delegate_that_lies_of_its_tests_keeps_tasks_from_itself_alone(tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, liar, connector):
        world = running.world
        await liar.say(says(world, connector, "denied"))
        await stands(running, connector, honest="winner", delegate="waits")
        # It changes its mind as often as it likes, and is taken at its word about itself.
        await liar.say(says(world, connector, "ok"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await standing(running, connector))["delegate"] not in {"winner", "able"}:
                await asyncio.sleep(0.02)
        for _ in range(300):
            await liar.say(says(world, connector, "denied"))
        await stands(running, connector, honest="winner", delegate="waits")
        # Nor does it bring back what an older revision came to.
        old = world.sign(world.connector_document("gated", type="Gated", name="older"), world.administrator)
        await liar.say(says(world, old, "denied"))
        _, metrics = running, await (await running.http.get(f"{running.url}/metrics")).text()
        assert "privyseal_manager_probes_failing 1.0" in metrics


async def test_a_delegate_cannot_say_that_anothers_test_failed(tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, liar, connector):
        forged = parse_as(CheckedDocument, says(running.world, connector, "denied").document).document
        await liar.say(Checked(running.world.identity("honest").sign_document(forged)))
        assert "signature_invalid" in (await liar.end())[1]
        await stands(running, connector, honest="winner")
