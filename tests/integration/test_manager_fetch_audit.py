"""What the manager writes down of direct fetches and of logins that are tried, and what naming templates and connectors shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.documents.task import Target
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import wire_delegate
from tests.fakes.world import World
from tests.integration.test_manager_adversary import (
    answer_of,
    audited,
    delegate_url,
    publish,
    submit,
    taken,
)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


async def told(running: Manager, task: Any) -> list[tuple[str, str]]:
    """(outcome, targets) of a task's entries, in order."""
    async with asyncio.timeout(20):
        while len(entries := [one for one in await audited(running) if one.get("task") == task.digest]) < 2:
            if entries and entries[0]["outcome"] == "refused":
                break
            await asyncio.sleep(0.01)
    return [(one["outcome"], one["targets"]) for one in entries]


async def test_the_path_and_the_version_of_what_is_fetched_stand_in_the_audit(running: Manager) -> None:
    world = running.world
    store = world.connector_with("store", (), type="Local")
    await publish(running, store)
    async with wire_delegate(world, delegate_url(running)) as delegate:
        task = world.fetch(store, "teams/a b/db,x#key", metadata={"version": "3"})
        submitting = asyncio.create_task(submit(running, task))
        await delegate.say(answer_of(world, await taken(delegate)))
        assert (await submitting)[0] == 200
    named = f"{store.document.id}/teams/a%20b/db%2Cx%23key?version=3"
    assert await told(running, task) == [("asked", named), ("done", named)]


async def test_what_is_fetched_or_tried_without_a_grant_stands_in_the_audit_too(running: Manager) -> None:
    world = running.world
    store, login = world.connector_with("store", (), type="Local"), world.login("deploy")
    mallory = world.identity("mallory")
    await publish(running, store, login, world.grant(mallory, ["view"]))
    for task, named in (
        (world.fetch(store, "teams/a", mallory), f"{store.document.id}/teams/a"),
        (world.check_login(login, "db.internal", mallory), f"{login.document.id}/db.internal"),
    ):
        status, problem = await submit(running, task, "mallory")
        assert (status, problem["code"]) == (403, "grant_missing")
        assert await told(running, task) == [("refused", named)]


async def test_no_path_hides_among_so_many_that_the_audit_could_not_name_them(running: Manager) -> None:
    world = running.world
    store, reader = world.connector_with("store", (), type="Local"), world.identity("reader")
    grant = world.grant(reader, ["fetch", "reveal"], resource=f"{store.document.resource}/teams")
    await publish(running, store, grant)
    paths = ["teams/a", *(f"teams/{n}{'x' * 2_000}" for n in range(40))]
    task = world.task("reveal", [Target(connector=store.document.id, reference=path) for path in paths], reader)
    async with wire_delegate(world, delegate_url(running)):
        status, problem = await submit(running, task, "reader")
    assert (status, problem["code"]) == (400, "targets_too_long")
    assert json.dumps(problem).count("teams") == 0
    ((outcome, _),) = await told(running, task)
    assert outcome == "refused"


# What naming shows.


async def test_naming_a_template_or_a_connector_of_another_scope_shows_neither(running: Manager) -> None:
    world = running.world
    lowly = world.identity("lowly")
    grant = world.grant(lowly, ["edit", "use", "view"], "org/acme")
    template = world.template("script", "org/else")
    theirs = world.custom("theirs", template, scope="org/else")
    mine = world.custom("mine", template, (), "org/acme", lowly)
    above = world.template("above")
    custom = world.custom("custom", above, (), "org/acme", lowly)
    secret = world.secret("secret", "org/acme", lowly, connector=theirs.document.id)
    await publish(running, grant, template, theirs, mine, above, custom, secret)
    wanted = {
        "connectors": [{"id": mine.document.id}, {"id": custom.document.id}],
        "secrets": [{"scope": "org/acme", "identifier": "secret"}],
    }
    _, shown = await running.call("POST", "resolve", "lowly", json=wanted)
    assert set(shown["documents"]) == {mine.compact, custom.compact, above.compact, secret.compact}
