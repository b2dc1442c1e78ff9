"""Scheduled connection tests: on time, a few at once, signed; and none that no task could ask for any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from delegate.checks import MOST_AT_ONCE, WATCHED_SECONDS
from shared.documents.group import GroupDocument
from shared.errors import Denied
from tests.fakes.checking import SECONDS, Scene


async def test_a_connector_is_tested_again_and_again_and_each_result_is_signed() -> None:
    scene = Scene()
    one = scene.connector()
    await scene.use(one)
    assert [(test.connector, test.code) for test in scene.read()] == [(one.document.id, "ok")]
    assert await scene.later(SECONDS / 2) == []
    (test,) = await scene.later(SECONDS / 2)
    assert (test.connector, test.revision, test.code, test.iat) == (one.document.id, one.digest, "ok", scene.world.now)
    scene.probe.failure = Denied("kms_denied", "the role may not use the key")
    assert [one.code for one in await scene.later()] == ["denied"]
    assert [one.code for one in await scene.later()] == ["denied"]
    scene.probe.failure = RuntimeError("a bug")
    assert [one.code for one in await scene.later()] == ["internal"]
    scene.probe.failure = None
    assert [one.code for one in await scene.later()] == ["ok"]


async def test_what_a_task_asked_for_is_told_as_well_and_its_failure_too() -> None:
    scene = Scene(seconds=0)
    await scene.use(scene.connector(), Denied("kms_denied", "the role may not use the key"))
    assert [one.code for one in scene.read()] == ["denied"]
    assert scene.probe.tried == []


async def test_with_nobody_to_tell_nothing_is_tested() -> None:
    scene = Scene()
    await scene.use(scene.connector())
    scene.outlet.is_open = False
    assert await scene.later() == []
    assert scene.probe.tried == []
    scene.outlet.is_open = True
    assert len(await scene.later()) == 1


async def test_a_connector_that_says_so_is_not_tested() -> None:
    scene = Scene()
    await scene.use(scene.connector(spec={"ignoreTestConnection": True}))
    assert await scene.later() == []


async def test_a_hundred_connectors_are_tested_a_few_at_once() -> None:
    scene = Scene()
    for number in range(100):
        await scene.use(scene.connector(f"c{number}"))
    assert len(await scene.later()) == 100
    assert 1 < scene.probe.most <= MOST_AT_ONCE


@pytest.mark.parametrize(
    "policy",
    [
        'kinds = ["*"]\nops = ["reveal"]',
        'kinds = ["*"]\nscopes = ["org/other"]',
        'kinds = ["*"]\n[calls_per_minute]\ndefault = 0',
    ],
)
async def test_the_local_policy_is_asked_each_time(policy: str) -> None:
    scene = Scene(policy)
    await scene.use(scene.connector())
    assert await scene.later() == []
    assert scene.probe.tried == []


@pytest.mark.parametrize("changes", [{"selectors": ("elsewhere",)}, {"where": "elsewhere"}, {"where": "not delegate"}])
async def test_a_connector_for_other_delegates_is_not_tested_though_a_task_brought_it_here(changes: Any) -> None:
    scene = Scene()
    await scene.use(scene.connector(**changes))
    assert await scene.later() == []
    assert scene.probe.tried == []


async def test_a_connector_whose_condition_this_delegate_meets_is_tested() -> None:
    scene = Scene()
    await scene.use(scene.connector(where="delegate and not elsewhere"))
    assert [one.code for one in await scene.later()] == ["ok"]


@pytest.mark.parametrize("changes", [{"selectors": ("gpu",)}, {"where": "gpu"}, {"selectors": ("builders",)}])
async def test_a_connector_for_this_delegates_group_is_tested_while_the_group_is_known_in_its_newest_form(
    changes: Any,
) -> None:
    scene = Scene()
    scene.trust.group = "builders"
    first = scene.world.publish(
        GroupDocument(v=1, acct=scene.world.id, id="builders", rev=1, iat=scene.world.now, tags=("gpu",))
    )
    await scene.use(scene.connector(**changes))
    assert [one.code for one in await scene.later()] == ["ok"]
    scene.world.revise_status(groups={"builders": 2})
    scene.learn()
    assert await scene.later() == []
    second = scene.world.revise(first, tags=("fast", "gpu"))
    scene.learn()
    assert [one.code for one in await scene.later()] == ["ok"]
    scene.world.revise(second, tags=())
    scene.learn()
    assert [one.code for one in await scene.later()] == (["ok"] if changes == {"selectors": ("builders",)} else [])


async def test_a_revoked_author_ends_the_tests_of_his_connectors() -> None:
    scene = Scene()
    author = scene.world.identity("author")
    grant = scene.world.grant(author, ["edit", "use"])
    document = scene.world.connector_document("one", type="Probed")
    one = scene.world.publish(document, author)
    scene.learn()
    await scene.use(one)
    assert len(await scene.later()) == 1
    scene.world.revise_status(grants=(grant.document.id,))
    scene.learn()
    assert await scene.later() == []


async def test_an_expired_status_ends_all_tests() -> None:
    scene = Scene()
    await scene.use(scene.connector())
    scene.world.now += 400 * 86_400
    assert await scene.later() == []


@pytest.mark.parametrize("change", [{"name": "renamed"}, {"deleted": True}])
async def test_a_revision_that_is_over_is_not_tested(change: dict[str, Any]) -> None:
    scene = Scene()
    one = scene.connector()
    await scene.use(one)
    scene.world.revise(one, **change)
    scene.learn()
    assert await scene.later() == []


async def test_a_connector_that_no_task_uses_is_tested_for_a_day_and_then_let_go() -> None:
    scene = Scene()
    await scene.use(scene.connector())
    passed, pause = 0.0, 1.1 * SECONDS
    while passed + pause <= WATCHED_SECONDS:
        passed += pause
        assert len(await scene.later(pause)) == 1
    assert await scene.later(pause) == []
    assert await scene.later(2 * pause) == []


async def test_a_manager_that_is_kept_no_longer_is_not_made_anew_for_a_test() -> None:
    scene = Scene()
    await scene.use(scene.connector())
    await scene.registry.close()
    assert await scene.later() == []
    assert scene.probe.tried == []


async def test_a_credential_below_the_floor_or_out_of_its_authors_reach_is_used_for_no_test() -> None:
    for ends in ("floor", "grant", "deleted"):
        scene = Scene()
        world, author = scene.world, scene.world.identity("author")
        secret = world.secret("key")
        version = world.store(secret, b"credential")
        grant = world.grant(author, ["use"])
        world.grant(author, ["edit"], id=world.opaque("the other"))
        one = world.connector_with("one", ["account.key"], signer=author, type="Probed")
        scene.learn()
        await scene.use(one)
        assert len(await scene.later()) == 1, version
        if ends == "floor":
            world.revise_status(secrets={secret.document.id: 2})
        elif ends == "grant":
            world.revise_status(grants=(grant.document.id,))
        else:
            world.revise(secret, deleted=True)
        scene.learn()
        assert await scene.later() == []


async def test_the_rounds_go_on_by_themselves() -> None:
    scene = Scene(seconds=0.01)
    await scene.use(scene.connector())
    running = asyncio.create_task(scene.checks.run())
    try:
        async with asyncio.timeout(30):
            while len(scene.read()) < 3:
                scene.clock.at += 1
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
    await Scene(seconds=0).checks.run()
