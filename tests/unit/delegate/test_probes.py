"""Tests that the manager asks for: what the delegate may test by itself, seldom, and signed; nothing else whoever asks how often."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from delegate.probes import MOST_A_MINUTE, MOST_PENDING
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.usage import Usage
from shared.errors import Denied
from shared.trust.warrant import warrant
from tests.fakes.checking import DONE, Scene
from tests.fakes.manager import until
from tests.fakes.world import World

POLICIES = [
    'kinds = ["*"]\nops = ["reveal"]',
    'kinds = ["*"]\nscopes = ["org/other"]',
    'kinds = ["*"]\n[calls_per_minute]\ndefault = 0',
]


@contextlib.asynccontextmanager
async def listening(scene: Scene) -> AsyncIterator[None]:
    """While it is asked."""
    running = asyncio.create_task(scene.probes.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def answered(scene: Scene, *digests: str) -> list[str]:
    """The codes that come of what is asked for: once what is pending has ended."""
    before = len(scene.outlet.said)
    async with listening(scene):
        scene.probes.ask(digests)
        await until(lambda: not scene.probes.pending)
    return [one.code for one in scene.read()[before:]]


async def test_a_connector_that_needs_no_task_is_tested_when_it_is_asked_for_though_no_task_has_used_it() -> None:
    scene = Scene()
    one = scene.connector()
    assert await answered(scene, one.digest) == ["ok"]
    assert [(test.connector, test.revision) for test in scene.read()] == [(one.document.id, one.digest)]
    scene.probe.failure = Denied("kms_denied", "the role may not use the key")
    assert await answered(scene, one.digest) == ["denied"]
    scene.probe.failure = RuntimeError("a bug")
    assert await answered(scene, one.digest) == ["internal"]
    # Nothing is watched for that: on the delegate's own clock only what tasks have used is tested.
    assert await scene.later() == []


async def test_a_connector_of_which_no_secret_manager_can_be_made_here_has_failed() -> None:
    scene = Scene()
    assert await answered(scene, scene.connector(type="Unknown").digest) == ["not_ready"]


def needing_a_secret(scene: Scene) -> Verified[ConnectorDocument]:
    """A connector whose credentials are a secret's value."""
    scene.world.store(scene.world.secret("key"), b"credential")
    one = scene.world.connector_with("one", ["account.key"], type="Probed")
    scene.learn()
    return one


async def test_what_a_task_has_used_is_tested_with_the_credentials_that_it_brought() -> None:
    scene = Scene()
    one = needing_a_secret(scene)
    assert await answered(scene, one.digest) == [], "nothing but a task brings credentials"
    await scene.use(one)
    assert await answered(scene, one.digest) == ["ok"]
    await scene.registry.close()
    assert await answered(scene, one.digest) == [], "they are kept no longer"
    assert scene.probe.tried == ["one"]


async def test_a_new_revision_that_names_a_secret_waits_for_its_task() -> None:
    scene = Scene()
    one = needing_a_secret(scene)
    await scene.use(one)
    two = scene.world.revise(one, name="renamed")
    scene.learn()
    assert await answered(scene, two.digest, one.digest) == []
    assert scene.probe.tried == []


@pytest.mark.parametrize(
    "changes",
    [
        {"selectors": ("elsewhere",)},
        {"where": "not delegate"},
        {"spec": {"ignoreTestConnection": True}},
        {"spec": {"executeOnDelegate": False}},
        {"keyring": "another"},
        {"usage": Usage(applications=("shop",))},
    ],
    ids=str,
)
async def test_a_connector_that_is_not_for_this_delegate_or_not_to_be_tested_is_left_alone(
    changes: dict[str, Any],
) -> None:
    scene = Scene()
    one = scene.connector(**changes)
    assert await answered(scene, one.digest) == []
    assert scene.probe.tried == []


async def test_a_custom_script_is_never_run_for_it() -> None:
    scene = Scene()
    one = scene.world.custom("scripted", scene.world.template("script"))
    scene.learn()
    scene.checks.observe(warrant(scene.book, scene.world.check(one), scene.world.now), [DONE])
    assert await answered(scene, one.digest) == []


@pytest.mark.parametrize("policy", POLICIES)
async def test_the_local_policy_and_its_budget_are_asked_each_time(policy: str) -> None:
    scene = Scene(policy)
    assert await answered(scene, scene.connector().digest) == []
    assert scene.probe.tried == []


async def test_an_owner_who_wants_no_tests_of_its_own_has_none_that_are_asked_for() -> None:
    scene = Scene(seconds=0)
    one = scene.connector()
    await scene.use(one)
    scene.probes.ask([one.digest])
    await scene.probes.run()
    assert scene.probe.tried == [] and not scene.probes.pending


async def test_old_deleted_and_unknown_revisions_and_those_whose_author_lost_his_rights_are_not_tested() -> None:
    scene = Scene()
    world = scene.world
    old = scene.connector("old")
    world.revise(old, name="renamed")
    gone = world.revise(scene.connector("gone"), deleted=True)
    author = world.identity("author")
    grant = world.grant(author, ["edit", "use"])
    his = world.publish(world.connector_document("his", type="Probed"), author)
    unsigned = world.sign(world.connector_document("unsigned", type="Probed"), world.identity("nobody"))
    secret = world.secret("no_connector")
    scene.learn()
    assert await answered(scene, his.digest) == ["ok"]
    world.revise_status(grants=(grant.document.id,))
    scene.learn()
    asked = (old, gone, his, unsigned, secret)
    assert await answered(scene, *(one.digest for one in asked), "x" * 43, "") == []
    assert scene.probe.tried == ["his"]


async def test_a_connector_of_another_account_is_not_even_known() -> None:
    scene, other = Scene(), World(name="other")
    foreign = other.publish(other.connector_document("foreign", type="Probed"))
    for compact in other.documents:
        await scene.trust.take([compact])
    assert await answered(scene, foreign.digest) == []


async def test_nothing_is_tested_once_the_status_has_expired() -> None:
    scene = Scene()
    one = scene.connector()
    scene.world.now += 400 * 86_400
    assert await answered(scene, one.digest) == []


async def test_one_connector_is_tested_no_more_often_than_each_few_seconds_however_often_it_is_asked_for() -> None:
    scene = Scene(pause_seconds=0.05)
    one = scene.connector()
    async with listening(scene):
        for _ in range(1_000):
            scene.probes.ask([one.digest] * 10)
        assert len(scene.probes.pending) == 1
        await until(lambda: scene.probe.tried == ["one"] and not scene.probes.pending)
        began = asyncio.get_running_loop().time()
        scene.probes.ask([one.digest])
        await until(lambda: not scene.probes.pending)
        # It isn't refused but waits: a task may hope for it.
        assert asyncio.get_running_loop().time() - began >= 0.05
    assert scene.probe.tried == ["one", "one"]


async def test_a_flood_of_connectors_is_tested_in_part_a_few_at_once_and_no_more_than_a_minute_allows() -> None:
    scene = Scene()
    digests = [scene.connector(f"c{number}").digest for number in range(MOST_PENDING + 10)]
    async with listening(scene):
        scene.probes.ask(digests)
        assert len(scene.probes.pending) == MOST_PENDING
        await until(lambda: not scene.probes.pending)
        scene.probes.ask(digests)
        await until(lambda: not scene.probes.pending)
        assert len(scene.probe.tried) == MOST_A_MINUTE
        scene.clock.at += 61
        scene.probes.ask(digests[:1])
        await until(lambda: not scene.probes.pending)
    assert len(scene.probe.tried) == MOST_A_MINUTE + 1
    assert 1 < scene.probe.most <= 4


async def test_after_a_failure_the_delegates_own_identity_is_looked_for_anew() -> None:
    scene = Scene()
    one = scene.connector()
    made = []
    for failure in (None, None, Denied("kms_denied", "the role may not use the key"), None, None):
        scene.probe.failure = failure
        await answered(scene, one.digest)
        made.append(scene.registry.misses)
    assert made == [1, 1, 1, 2, 2]
    await scene.registry.close()


async def test_a_revision_that_is_asked_for_while_an_older_one_is_tested_is_tested_after_it() -> None:
    scene = Scene()
    old = scene.connector()
    scene.probe.gate = asyncio.Event()
    async with listening(scene):
        scene.probes.ask([old.digest])
        await until(lambda: scene.probe.running == 1)
        new = scene.world.revise(old, name="renamed")
        scene.learn()
        scene.probes.ask([new.digest])
        scene.probe.gate.set()
        await until(lambda: not scene.probes.pending)
    assert [one.revision for one in scene.read()] == [old.digest, new.digest]
    await scene.registry.close()
