"""A manager that is killed with tasks in its queue: each comes to exactly the end that was promised when it was taken in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from tests.fakes.killable import Killable, killable
from tests.fakes.queueing import has_failed, outcome, serving, submit
from tests.fakes.world import World


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Killable]:
    world = World(now=int(time.time()))
    async with killable(tmp_path, world) as one:
        status, told = await one.call("POST", "documents", json={"documents": [world.connector.compact]})
        assert status == 200, told
        yield one


def check(running: Killable, **changes: Any) -> Verified[TaskDocument]:
    return running.world.check(running.world.connector, **{"exp": running.world.now + 3_600, **changes})


async def restart(running: Killable) -> None:
    await running.kill()
    await running.start()


async def queued(running: Killable, **changes: Any) -> Verified[TaskDocument]:
    task = check(running, **changes)
    status, told = await submit(running, task)
    assert (status, told.state) == (202, "queued")
    return task


async def test_what_waited_is_done_once_after_a_kill_and_what_had_ended_is_not_done_again(running: Killable) -> None:
    ended = [await queued(running) for _ in range(3)]
    async with serving(running) as before:
        outcomes = {task.digest: (await outcome(running, task.digest))[1] for task in ended}
        assert sorted(before.given) == sorted(outcomes)
    waiting = [await queued(running) for _ in range(20)]
    cancelled = await queued(running)
    assert (await running.call("DELETE", f"tasks/{cancelled.digest}"))[0] == 204
    await restart(running)
    # Its sealed outcome is there as before, from another process.
    for digest, told in outcomes.items():
        assert (await outcome(running, digest, wait=0)) == (200, told)
        assert (await submit(running, next(one for one in ended if one.digest == digest))) == (200, told)
    status, told = await outcome(running, cancelled.digest, wait=0)
    assert (status, told.state) == (200, "cancelled")
    shown = (await running.call("GET", "tasks"))[1]["tasks"]
    assert sum(one["state"] == "queued" for one in shown) == 20
    async with serving(running) as after:
        for task in waiting:
            status, told = await outcome(running, task.digest)
            assert (status, told.state, told.code) == (200, "done", "ok")
        assert sorted(after.given) == sorted(one.digest for one in waiting)
    shown = (await running.call("GET", "tasks"))[1]["tasks"]
    assert {one["task"]: one["state"] for one in shown} == {
        **{one.digest: "done" for one in (*ended, *waiting)},
        cancelled.digest: "cancelled",
    }


async def test_what_was_killed_with_its_manager_in_mid_task_is_done_again(running: Killable) -> None:
    task = check(running)
    async with serving(running) as before:
        before.is_answering.clear()
        status, told = await submit(running, task, query="queue=1&wait=0")
        assert (status, told.state) == (202, "running")
        async with asyncio.timeout(20):
            while not before.given:
                await asyncio.sleep(0.01)
        await running.kill()
    await running.start()
    async with serving(running) as after:
        status, told = await outcome(running, task.digest)
        assert (status, told.state) == (200, "done")
        assert after.given == [task.digest]


async def test_a_value_that_waited_is_stored_once(running: Killable) -> None:
    world = running.world
    secret = world.secret("x")
    version = world.store(secret, b"the value", exp=world.now + 3_600)
    await running.call("POST", "documents", json={"documents": [secret.compact]})
    status, told = await submit(running, version.task, inputs=(version.input.raw,))
    assert (status, told.state) == (202, "queued"), told
    await restart(running)
    async with serving(running) as one:
        assert (await outcome(running, version.task.digest))[1].state == "done"
        assert one.given == [version.task.digest]
    await restart(running)
    status, told = await running.call("GET", f"secrets/{secret.document.id}/versions")
    assert (status, [one["n"] for one in told["versions"]]) == (200, [1])
    async with serving(running) as one:
        assert (await submit(running, version.task, inputs=(version.input.raw,)))[1].state == "done"
        assert one.given == []


async def test_one_whose_time_ends_while_no_manager_runs_says_so_afterwards(running: Killable) -> None:
    task = await queued(running, exp=int(time.time()) + 5)
    await running.kill()
    while time.time() < task.document.exp:
        await asyncio.sleep(0.1)
    await running.start()
    async with serving(running) as one:
        status, told = await outcome(running, task.digest)
        assert (status, told.state, told.code) == (200, "expired", "expired")
        assert one.given == []
    await restart(running)
    status, told = await outcome(running, task.digest, wait=0)
    assert (status, told.state) == (200, "expired")


async def test_a_signer_who_was_revoked_is_refused_after_a_restart_too(running: Killable) -> None:
    world = running.world
    granted = world.grant(world.identity("somebody"), ["use", "edit", "view"])
    await running.call("POST", "documents", json={"documents": [granted.compact]})
    task = check(running, signer=world.identity("somebody"))
    assert (await submit(running, task, name="somebody"))[0] == 202
    revoked = world.revise_status(grants=(granted.document.id,))
    assert (await running.call("POST", "documents", json={"documents": [revoked.compact]}))[0] == 200
    await restart(running)
    async with serving(running) as one:
        await has_failed(running, task.digest)
        assert one.given == []


async def test_what_cannot_be_written_is_not_said_to_be_kept(running: Killable) -> None:
    kept = await queued(running)
    running.limit_files(0)
    task = check(running)
    status, told = await submit(running, task)
    assert (status, told["code"]) == (503, "store_unavailable")
    # Nor is it said that one is cancelled that isn't.
    assert (await running.call("DELETE", f"tasks/{kept.digest}"))[0] == 503
    running.limit_files()
    await restart(running)
    async with serving(running) as one:
        assert (await outcome(running, kept.digest))[1].state == "done"
        assert one.given == [kept.digest]
        # It was never taken in: now it is, and done.
        status, told = await submit(running, task)
        assert (status, told.state) == (200, "done")


async def test_a_manager_that_is_told_to_end_ends_at_once_though_tasks_wait(running: Killable) -> None:
    task = await queued(running)
    began = time.monotonic()
    assert await running.stop() == 0
    assert time.monotonic() - began < 20
    await running.start()
    async with serving(running):
        assert (await outcome(running, task.digest))[1].state == "done"


async def test_the_trail_of_a_task_that_died_with_its_manager_says_so(running: Killable) -> None:
    world = running.world
    secret = world.secret("x")
    version = world.store(secret, b"the value")
    await running.call("POST", "documents", json={"documents": [secret.compact]})
    async with serving(running) as one:
        status, told = await submit(running, version.task, query="wait=20", inputs=(version.input.raw,))
        assert (status, told.state) == (200, "done"), told
        one.is_answering.clear()
        task = world.delete(secret, version)
        status, told = await submit(running, task, query="wait=0")
        assert (status, told.state) == (202, "running")
        deadline = time.monotonic() + 20
        while task.digest not in one.given:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        # It has a row already, and stands in the list once.
        shown = (await running.call("GET", "tasks"))[1]["tasks"]
        assert [one["state"] for one in shown if one["task"] == task.digest] == ["leased"]
        await running.kill()
    await running.start()
    status, told = await running.call("GET", f"tasks/{task.digest}/explanation")
    assert (status, told["state"], told["code"]) == (200, "unknown", "manager_restarted")
    (step,) = told["steps"]
    assert (step["what"], step["delegate"], step["code"]) == ("lost", world.delegate.kid, "manager_restarted")
    assert step["why"]


async def test_what_waits_is_sealed_in_the_database(running: Killable) -> None:
    secret = running.world.secret("x")
    version = running.world.store(secret, b"a value that nobody may read", exp=running.world.now + 3_600)
    await running.call("POST", "documents", json={"documents": [secret.compact]})
    status, told = await submit(running, version.task, inputs=(version.input.raw,))
    assert (status, told.state) == (202, "queued")
    await running.kill()
    kept = b"".join(one.read_bytes() for one in running.folder.glob("manager.db*"))
    # The sealed input is there, and what it seals is not.
    assert version.input.raw[:64] in kept
    assert b"a value that nobody may read" not in kept
