"""What a running manager tells whoever watches it: figures that follow what happens, and one line in the log for each task."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.documents.answer import AnswerDocument
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.logs import KEYS
from shared.messages import Credit, Drain, Result, Task
from shared.tracing import SIZES
from shared.wire import submission_pb2 as pb
from tests.fakes.manager import until
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import WireDelegate, wire_delegate
from tests.fakes.world import World

CLASSES = {name for _, name in SIZES} | {"more"}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


async def figures(running: Manager) -> dict[str, float]:
    async with running.http.get(f"{running.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    rows = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("privyseal_manager_"): float(value) for name, _, value in rows}


async def submit(running: Manager, task: Verified[TaskDocument], name: str = "administrator", wait: int = 20) -> int:
    url = f"{running.url}/v1/accounts/{running.world.id}/tasks?wait={wait}"
    headers = {**running.bearer(name), "Content-Type": "application/x-protobuf"}
    data = pb.Submission(document=task.compact).SerializeToString()
    async with running.http.post(url, headers=headers, data=data) as reply:
        await reply.read()
        return reply.status


@asynccontextmanager
async def delegate(running: Manager, credits: int = 4) -> AsyncIterator[WireDelegate]:
    async with wire_delegate(running.world, running.configuration.delegate_urls[0]) as one:
        if credits:
            await one.say(Credit(credits))
        yield one


async def answer(one: WireDelegate, code: Any = "ok") -> None:
    task = await one.hear(Task)
    document = AnswerDocument(v=1, acct=one.world.id, task=task.id, code=code, iat=one.world.now)
    await one.say(Result(task.id, task.attempt, one.world.delegate.sign_document(document)))


async def publish(running: Manager, *documents: Any) -> None:
    status, told = await running.call("POST", "documents", json={"documents": [one.compact for one in documents]})
    assert status == 200, told


async def test_the_figures_follow_a_task_from_its_arrival_to_its_end(running: Manager) -> None:
    world = running.world
    await publish(running, world.connector)
    async with delegate(running, credits=0) as one:
        deadline = time.monotonic() + 45
        while (before := await figures(running))["streams_opened_total"] != 1:
            assert time.monotonic() < deadline
        assert before["delegates_connected"] == 1
        submitted = asyncio.create_task(submit(running, world.check(world.connector)))
        while (await figures(running))["tasks_waiting"] != 1:
            assert time.monotonic() < deadline
        await one.say(Credit(1))
        await answer(one)
        assert await submitted == 200
        after = await figures(running)
        assert after["tasks_waiting"] == after["tasks_executing"] == 0
        assert after['tasks_completed_total{op="check"}'] == 1
        assert after['task_dispatch_seconds_count{op="check"}'] == after['task_seconds_count{op="check"}'] == 1
        assert 0 < after['task_dispatch_seconds_sum{op="check"}'] < after['task_seconds_sum{op="check"}']
        assert after["books_hits_total"] > 0
        assert after["spans_exported_total"] == after["spans_dropped_total"] == 0
        await one.say(Drain())
        while (await figures(running))["delegates_draining"] != 1:
            assert time.monotonic() < deadline
    while (await figures(running))["streams_closed_total"] != 1:
        assert time.monotonic() < deadline
    assert (await figures(running))["delegates_connected"] == 0


async def test_what_ends_first_is_told_in_seconds(running: Manager) -> None:
    world = running.world
    async with delegate(running) as one:
        granted = world.grant(world.identity("somebody"), ["reveal"])
        await publish(running, granted)
        found_now, now = await figures(running), time.time()
        ends = {
            "certificate": one.world.certificate().document.exp,
            "grant": granted.document.exp,
            "status": world.status.document.exp,
        }
        for kind, end in ends.items():
            assert abs(found_now[f'soonest_expiry_seconds{{kind="{kind}"}}'] - (end - now)) < 60, kind
        assert found_now["accounts_expired"] == 0
        assert 'soonest_expiry_seconds{kind="tls"}' not in found_now


async def test_a_stream_that_is_refused_is_counted_by_its_code(running: Manager) -> None:
    stranger = World(now=int(time.time()), name="stranger")
    async with wire_delegate(stranger, running.configuration.delegate_urls[0], greet=False) as one:
        with pytest.raises(Exception, match="account_not_found"):
            await one.greet()
    shown = await figures(running)
    assert shown['streams_refused_total{code="account_not_found"}'] == 1
    assert shown["streams_opened_total"] == 0


def finished(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["event"] == "task.finished"]


async def test_each_task_leaves_one_line_in_the_managers_log(running: Manager) -> None:
    world = running.world
    await publish(running, world.connector)
    with capture_logs() as logs:
        async with delegate(running) as one:
            task, failing = world.check(world.connector), world.check(world.connector)
            for each, code in ((task, "ok"), (failing, "denied")):
                submitted = asyncio.create_task(submit(running, each))
                await answer(one, code)
                assert await submitted == 200
            # Asked again, it isn't done again: no second line.
            assert await submit(running, task) == 200
            await until(lambda: len(finished(logs)) == 2)
        foreign = world.check(world.connector)
        assert await submit(running, foreign, "stranger") == 401
        lonely = world.check(world.connector, selectors=())
        assert await submit(running, lonely) == 412
        await until(lambda: len(finished(logs)) == 3)
    done, denied, alone = finished(logs)
    assert (done["task"], done["op"], done["code"], done["state"]) == (task.digest, "check", "ok", "done")
    assert (denied["task"], denied["code"], denied["state"]) == (failing.digest, "denied", "failed")
    assert (alone["task"], alone["code"], alone["state"], alone["attempt"]) == (
        lonely.digest,
        "no_delegate",
        "failed",
        0,
    )
    assert (done["attempt"], done["targets"], done["delegate"], done["account"]) == (1, 1, "delegate", world.id)
    assert done["thumbprint"] == world.identity("administrator").kid
    assert 0 <= done["queue_ms"] <= done["dispatch_ms"] <= done["duration_ms"]
    assert done["dispatch_ms"] + done["execution_ms"] <= done["duration_ms"]
    assert alone["dispatch_ms"] is None
    for line in (done, denied, alone):
        assert {line["size_in"], line["size_out"]} <= CLASSES
        assert line.keys() - {"log_level"} <= KEYS


async def test_a_task_that_is_refused_leaves_its_line_too(running: Manager) -> None:
    world = running.world
    old = world.connector
    await publish(running, old, world.next(old, description="newer"))
    with capture_logs() as logs:
        assert await submit(running, world.check(old)) == 409
        await until(lambda: len(finished(logs)) == 1)
    (line,) = finished(logs)
    assert (line["state"], line["op"], line["targets"], line["attempt"]) == ("refused", "check", 1, 0)
    assert re.fullmatch(r"[a-z_]+", line["code"])
    shown = await figures(running)
    assert shown[f'tasks_rejected_total{{code="{line["code"]}",op="check"}}'] == 1
