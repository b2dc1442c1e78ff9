"""A manager in the attacker's hands chooses the delegate: none that doesn't meet a condition acts, is chosen, or is believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client.choice import Choice
from client.sdk import Client
from shared.canonical import b64u, encode, unb64u
from shared.crypto.plaintext import Plaintext
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument, WantedSelector
from shared.errors import Denied, NotReady, PrivySealError, Tampered
from tests.adversary.stage import Stage
from tests.fakes.world import Version

VALUE = b"the value that stays where it has to"
ABROAD = Choice(where="region=eu")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as one:
        await one.delegate("alpha", tags=["tier=test"])
        yield one


@pytest.fixture
async def client(stage: Stage) -> Client:
    """One that has stored a secret and revealed it."""
    one = stage.client()
    await one.store("account.token", VALUE)
    assert (await one.reveal("account.token", selectors=Choice(where="tier=test"))).reveal() == VALUE
    return one


def rewritten(task: Verified[TaskDocument], **changes: Any) -> str:
    """The task with other claims, and with the signature that it had."""
    header, payload, signature = task.compact.split(".")
    return f"{header}.{b64u(encode({**json.loads(unb64u(payload)), **changes}))}.{signature}"


async def stored(stage: Stage, **connector: Any) -> Version:
    """A secret of the world with one version, at the built-in connector after such a revision."""
    world = stage.world
    if connector:
        world.connector = world.revise(world.connector, **connector)
    version = world.store(world.secret("kept"), VALUE)
    await stage.teach("alpha")
    return version


async def test_a_delegate_that_meets_a_condition_serves_and_another_refuses(stage: Stage) -> None:
    version = await stored(stage)
    for where, expect in (("tier=test", ("ok", "value")), ("not tier=test", ("denied", "condition_unmet"))):
        task = stage.world.reveal([version], where=where)
        assert await stage.refusal("alpha", task, stored=[version.record.raw]) == expect


async def test_a_condition_that_is_stripped_or_changed_on_the_way_breaks_the_signature(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version], where="region=eu")
    stripped = json.loads(unb64u(task.compact.split(".")[1]))
    del stripped["where"]
    header, _, signature = task.compact.split(".")
    for other in (f"{header}.{b64u(encode(stripped))}.{signature}", rewritten(task, where="tier=test")):
        assert await stage.refusal("alpha", other, stored=[version.record.raw]) == ("tampered", "")


async def test_a_connectors_condition_holds_whatever_selectors_a_task_names(stage: Stage) -> None:
    version = await stored(stage, where="region=eu", selectors=("linux",))
    for origin in ("step", "pipeline"):
        task = stage.world.reveal([version], selectors=(WantedSelector("alpha", origin),))
        assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "condition_unmet")
        task = stage.world.reveal([version], selectors=task.document.selectors, where="tier=test")
        assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "condition_unmet")


async def test_an_older_revision_of_the_connector_does_not_take_the_condition_away(stage: Stage) -> None:
    version = await stored(stage)
    stale = stage.world.reveal([version])
    stage.world.connector = stage.world.revise(stage.world.connector, where="region=eu")
    await stage.teach("alpha")
    assert await stage.refusal("alpha", stale, stored=[version.record.raw]) == ("conflict", "pin_stale")


async def test_a_manager_that_lies_about_tags_gets_no_answer_believed(stage: Stage, client: Client) -> None:
    stage.lie(tags=["region=eu"])
    with pytest.raises(PrivySealError) as caught:
        await client.reveal("account.token", selectors=ABROAD)
    assert (caught.type, caught.value.code) == (Tampered, "answer_forged")
    assert "unsigned" not in caught.value.facts


async def test_what_happens_once_is_signed_for_no_delegate_that_does_not_meet_the_condition(
    stage: Stage, client: Client
) -> None:
    stage.lie(tags=["region=eu"])
    began = len(await client.views.tasks(100))
    with pytest.raises(NotReady) as caught:
        await client.delete("account.token", selectors=ABROAD)
    assert caught.value.code == "no_delegate"
    assert len(await client.views.tasks(100)) == began
    await client.delete("account.token", selectors=Choice(where="alpha"))


async def test_a_connectors_condition_goes_with_every_task_of_a_client(stage: Stage, client: Client) -> None:
    world = stage.world
    world.connector = world.revise(world.connector, where="region=eu")
    await stage.publish()
    stage.lie(tags=["region=eu"])
    fresh = stage.client()
    with pytest.raises(PrivySealError) as caught:
        await fresh.reveal("account.token", selectors=["alpha"])
    assert isinstance(caught.value, Denied | Tampered)
    with pytest.raises(NotReady):
        await fresh.delete("account.token", selectors=["alpha"])


async def test_secrets_with_different_conditions_are_asked_for_apart(stage: Stage, client: Client) -> None:
    """Together they would be for a delegate that meets both, and there may be none."""
    world = stage.world
    for name, where in (("one", "tier=test"), ("two", "alpha"), ("three", "tier=test")):
        world.publish(world.connector_document(f"local_{name}", where=where))
    await stage.publish()
    for name in ("one", "two", "three"):
        await client.store(f"account.{name}", name.encode(), connector=f"account.local_{name}")
    fresh = stage.client()
    began = len(await fresh.views.tasks(100))
    values = await fresh.reveal_all(["account.one", "account.two", "account.three"], selectors=["alpha"])
    assert values == [Plaintext(b"one"), Plaintext(b"two"), Plaintext(b"three")]
    assert len(await fresh.views.tasks(100)) == began + 2
