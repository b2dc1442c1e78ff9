"""Tasks that may wait for a delegate: kept until one can take them, checked anew then, and ended with a reason in any case."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manager.queue import Submission
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from tests.fakes.queueing import begins, has_failed, outcome, serving, submit
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.world import World


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    world = World(now=int(time.time()))
    async with running_manager(tmp_path, world) as one:
        await found(one)
        status, told = await one.call("POST", "documents", json={"documents": [world.connector.compact]})
        assert status == 200, told
        yield one


async def check(running: Manager, **changes: Any) -> Verified[TaskDocument]:
    return running.world.check(running.world.connector, **{"exp": running.world.now + 3_600, **changes})


async def states(running: Manager) -> dict[str, str]:
    status, told = await running.call("GET", "tasks")
    assert status == 200
    return {one["task"]: one["state"] for one in told["tasks"]}


async def metric(running: Manager, name: str) -> float:
    async with running.http.get(f"{running.url}/metrics") as reply:
        for line in (await reply.text()).splitlines():
            if line.startswith(f"privyseal_manager_{name} "):
                return float(line.split()[1])
    raise AssertionError(name)


async def test_what_nobody_can_take_is_kept_and_done_when_somebody_comes(running: Manager) -> None:
    task = await check(running)
    status, told = await submit(running, task)
    assert (status, told.state) == (202, "queued")
    assert await states(running) == {task.digest: "queued"}
    assert (await outcome(running, task.digest, wait=0))[1].state == "queued"
    assert await metric(running, "tasks_queued") == 1
    waiting = asyncio.create_task(outcome(running, task.digest))
    async with serving(running) as one:
        status, told = await waiting
        assert (status, told.state, told.code) == (200, "done", "ok")
        assert told.sealed.startswith(b"sealed to the reader") and told.answer and told.certificate
        # Who submits it once more gets the same, and nobody does it again.
        status, again = await submit(running, task)
        assert (status, again) == (200, told)
        assert one.given == [task.digest]
    assert await states(running) == {task.digest: "done"}
    assert await metric(running, "tasks_queued") == 0


async def test_what_somebody_can_take_is_done_at_once(running: Manager) -> None:
    task = await check(running)
    async with serving(running):
        status, told = await submit(running, task)
    assert (status, told.state) == (200, "done")
    entries = (await running.call("GET", "audit"))[1]["entries"]
    assert "queued" not in str(entries)


async def test_what_waits_for_a_busy_delegate_is_kept_too(running: Manager) -> None:
    first, second = await check(running), await check(running)
    async with serving(running, credits=1) as one:
        await begins(running, one, first)
        status, told = await submit(running, second)
        assert (status, told.state) == (202, "queued")
        one.is_answering.set()
        assert (await outcome(running, first.digest))[1].state == "done"
        assert (await outcome(running, second.digest))[1].state == "done"
        assert one.given == [first.digest, second.digest]


async def test_what_its_delegate_lost_waits_for_the_next(running: Manager) -> None:
    task = await check(running)
    async with serving(running) as one:
        await begins(running, one, task)
    assert (await outcome(running, task.digest, wait=1))[1].state in {"queued", "running"}
    async with serving(running) as another:
        assert (await outcome(running, task.digest))[1].state == "done"
        assert another.given == [task.digest]


async def test_what_may_not_run_twice_is_not_queued(running: Manager) -> None:
    world = running.world
    task = world.delete(world.secret("x"))
    status, told = await submit(running, task)
    assert (status, told["code"]) == (400, "task_not_queueable")
    assert await states(running) == {}


@pytest.mark.parametrize("query", ["queue=1&priority=urgent", "priority="])
async def test_a_priority_that_is_none_is_refused(running: Manager, query: str) -> None:
    status, told = await submit(running, await check(running), query=query)
    assert (status, told["code"]) == (400, "parameter_malformed")


async def test_the_urgent_ones_that_wait_are_done_first(running: Manager) -> None:
    tasks = {}
    for priority in ("low", "normal", "high", "low", "high"):
        task = await check(running)
        tasks[task.digest] = priority
        assert (await submit(running, task, query=f"queue=1&priority={priority}"))[0] == 202
    async with serving(running, credits=1) as one:
        for digest in tasks:
            assert (await outcome(running, digest))[1].state == "done"
        assert [tasks[digest] for digest in one.given] == ["high", "high", "normal", "low", "low"]


async def test_a_signer_who_was_revoked_meanwhile_is_refused_when_his_task_would_run(running: Manager) -> None:
    world = running.world
    somebody = world.identity("somebody")
    granted = world.grant(somebody, ["use", "edit", "view"])
    await running.call("POST", "documents", json={"documents": [granted.compact]})
    task = await check(running, signer=somebody)
    assert (await submit(running, task, name="somebody"))[0] == 202
    revoked = world.revise_status(grants=(granted.document.id,))
    status, told = await running.call("POST", "documents", json={"documents": [revoked.compact]})
    assert status == 200, told
    async with serving(running) as one:
        await has_failed(running, task.digest)
        assert one.given == []
    status, told = await running.call("GET", f"tasks/{task.digest}")
    assert (status, told["code"]) == (200, "grant_revoked")


async def test_a_cancelled_one_is_never_done_and_says_so(running: Manager) -> None:
    task = await check(running)
    await submit(running, task)
    assert (await running.call("DELETE", f"tasks/{task.digest}", "stranger"))[0] in {401, 403, 404}
    assert (await running.call("DELETE", f"tasks/{task.digest}"))[0] == 204
    status, told = await outcome(running, task.digest)
    assert (status, told.state, told.code) == (200, "cancelled", "cancelled")
    async with serving(running) as one:
        other = await check(running)
        assert (await submit(running, other))[1].state == "done"
        assert one.given == [other.digest]
    assert (await running.call("DELETE", f"tasks/{task.digest}"))[0] == 404


async def test_one_that_is_being_done_can_be_cancelled_too(running: Manager) -> None:
    task = await check(running)
    await submit(running, task)
    # It has it as soon as it is there.
    async with serving(running, answering=False) as one:
        deadline = time.monotonic() + 20
        while not one.given:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert (await running.call("DELETE", f"tasks/{task.digest}"))[0] == 204
        status, told = await outcome(running, task.digest)
        assert (status, told.state) == (200, "cancelled")


async def test_one_whose_time_is_over_ends_as_expired(running: Manager) -> None:
    task = await check(running, exp=int(time.time()) + 4)
    assert (await submit(running, task))[0] == 202
    status, told = await outcome(running, task.digest)
    assert (status, told.state, told.code) == (200, "expired", "expired")
    assert await states(running) == {task.digest: "expired"}


async def test_why_one_waits_is_told_of_each_delegate(running: Manager) -> None:
    task = await check(running, exp=running.world.now + 600)
    await submit(running, task)
    status, told = await running.call("GET", f"tasks/{task.digest}/explanation")
    assert (status, told["state"], told["wanted"]["keyring"]) == (200, "queued", "main")
    assert told["delegates"] == []
    status, told = await running.call("GET", f"tasks/{task.digest}/explanation", "stranger")
    assert status in {401, 403, 404}


async def test_another_signers_outcome_is_not_to_be_had(running: Manager) -> None:
    world = running.world
    granted = world.grant(world.identity("somebody"))
    await running.call("POST", "documents", json={"documents": [granted.compact]})
    task = await check(running)
    await submit(running, task)
    assert (await outcome(running, task.digest, name="somebody", wait=0))[0] == 404
    # Nor does it help to submit it in one's own name.
    status, told = await submit(running, task, name="somebody")
    assert (status, told["code"]) == (403, "task_of_another")
    async with serving(running):
        assert (await outcome(running, task.digest))[1].state == "done"
    assert (await outcome(running, task.digest, name="somebody", wait=0))[0] == 404


async def test_what_begins_to_be_kept_while_it_runs_has_ended_when_it_has(running: Manager) -> None:
    task = await check(running)
    async with serving(running) as one:
        await begins(running, one, task, query="wait=0")
        status, told = await submit(running, task, query="queue=1&wait=0")
        assert (status, told.state) == (202, "running")
        one.is_answering.set()
        status, told = await outcome(running, task.digest)
        assert (status, told.state) == (200, "done")
        assert await metric(running, "tasks_queued") == 0
    assert await states(running) == {task.digest: "done"}
    assert one.given == [task.digest]


async def test_two_who_cancel_one_task_end_it_once(running: Manager) -> None:
    task = await check(running)
    await submit(running, task)
    gone = await asyncio.gather(*(running.call("DELETE", f"tasks/{task.digest}") for _ in range(5)))
    # Whose request is read first is nobody's choice.
    assert 204 in (told := {status for status, _ in gone}) and told <= {204, 404}
    entries = (await running.call("GET", "audit"))[1]["entries"]
    assert sum('"cancelled"' in str(one) for one in entries) == 1
    assert await states(running) == {task.digest: "cancelled"}


async def test_what_cannot_be_read_any_more_ends_with_that_reason(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    async with running_manager(tmp_path, world) as first:
        await found(first)
        status, told = await first.call("POST", "documents", json={"documents": [world.connector.compact]})
        assert status == 200, told
        kept, foreign = [await check(first) for _ in range(4)], await check(first)
        for task in (*kept, foreign):
            assert (await submit(first, task))[0] == 202
    with contextlib.closing(sqlite3.connect(tmp_path / "manager.db")) as database, database:
        rewritten = {
            0: b"garbage",
            1: msgspec.msgpack.encode(Submission("a.b.c", (), ())),
            2: msgspec.msgpack.encode(Submission(kept[3].compact, (), ())),
        }
        for number, submission in rewritten.items():
            statement = "UPDATE queue SET submission = ? WHERE task = ?"
            assert database.execute(statement, (submission, kept[number].digest)).rowcount == 1
        statement = "UPDATE queue SET principal = ? WHERE task = ?"
        assert database.execute(statement, (world.delegate.kid, foreign.digest)).rowcount == 1
    async with running_manager(tmp_path, world) as again, serving(again) as one:
        told = [(await outcome(again, task.digest))[1] for task in kept]
        assert [(each.state, each.code) for each in told] == [
            ("failed", "queue_unreadable"),
            ("failed", "queue_unreadable"),
            ("failed", "queue_unreadable"),
            ("done", "ok"),
        ]
        assert one.given == [kept[3].digest]
        async with asyncio.timeout(20):
            while await metric(again, "tasks_queued"):
                await asyncio.sleep(0.01)
        entries = (await again.call("GET", "audit"))[1]["entries"]
        assert sum('"queue_unreadable"' in str(each) for each in entries) == 3
        told = [each for each in entries if foreign.digest in str(each) and '"failed"' in str(each)]
        assert len(told) == 1 and '"task_of_another"' in str(told)
