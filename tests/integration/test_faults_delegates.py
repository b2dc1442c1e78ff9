"""Delegates that misbehave, and a thousand that come back at once: simulated, over the real protocol, at a real manager process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from shared.audit import Head, Link, verify
from shared.documents.answer import AnswerDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as
from shared.documents.task import TaskDocument, WantedSelector
from shared.messages import Checked, Credit, Heartbeat, Task
from tests.fakes.faulty_site import is_said
from tests.fakes.manager_process import ManagerProcess, manager_process
from tests.fakes.strays import CAPACITY, Stray
from tests.fakes.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 60.0
PATIENT = ["--silence", "60s"]
"""All delegates of a test are one process, which a busy machine may keep from beating; silence is none of their faults here."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ManagerProcess]:
    """One for all cases; each brings delegates of its own."""
    world = World(now=int(time.time()))
    async with manager_process(tmp_path_factory.mktemp("manager"), world, PATIENT) as one:
        yield one


async def until(happened: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


def check(running: ManagerProcess, **changes: Any) -> Verified[TaskDocument]:
    """A task that any delegate may do, for ten minutes from now."""
    return running.world.check(running.world.connector, exp=running.world.now + 600, **changes)


def only(stray: Stray) -> dict[str, Any]:
    """What a task for that delegate alone says."""
    return {"selectors": (WantedSelector(stray.name, "step"),)}


async def row(running: ManagerProcess, task: Verified[TaskDocument]) -> dict[str, Any]:
    """The task's own, once it has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = [one for one in await running.rows() if one["task"] == task.digest and one["finished_at"]]
        if found:
            return found[0]
        assert time.monotonic() < deadline, "the task has no end"
        await asyncio.sleep(0.02)


async def is_done(running: ManagerProcess, task: Verified[TaskDocument], by: Stray) -> None:
    status, outcome = await running.submit(task)
    assert (status, outcome.state) == (200, "done"), outcome
    answered_by(outcome, task, by)


def answered_by(outcome: Any, task: Verified[TaskDocument], by: Stray) -> None:
    answer = parse_as(AnswerDocument, outcome.answer).verified_by(VerifyingKey.of(by.identity.key)).document
    assert answer.task == task.digest


async def test_one_that_takes_tasks_and_never_answers_keeps_its_tasks_and_nobody_elses(running: ManagerProcess) -> None:
    world = running.world
    async with Stray(world, running.delegate_url, "mute") as mute, Stray(world, running.delegate_url, "fair") as fair:
        fair.on_task = fair.answer
        await until(lambda: mute.is_open and fair.is_open, "both")
        held = [check(running, **only(mute)) for _ in range(CAPACITY)]
        # Who submits them doesn't wait for ever: he is told that they go on.
        told = await asyncio.gather(*(running.submit(task, wait=1) for task in held))
        assert {(status, outcome.state) for status, outcome in told} == {(202, "running")}
        # Full as it is, it gets no more; what it alone may do waits, and the others' tasks pass by.
        waiting = asyncio.create_task(running.submit(check(running, **only(mute))))
        for _ in range(20):
            await is_done(running, check(running, **only(fair)), fair)
        assert not waiting.done() and len(mute.tasks) == CAPACITY
        # Given up by their submitter they end at once, and it hears of that.
        for task in held:
            assert (await running.call("DELETE", f"tasks/{task.digest}"))[0] < 300
        assert {(await row(running, task))["state"] for task in held} == {"cancelled"}
        assert {(await row(running, task))["code"] for task in held} == {"cancelled"}
        await until(lambda: set(mute.cancels) == {task.digest for task in held}, "it to hear of it")
        # It doesn't come back: what waited ends with a reason, too.
    status, problem = await waiting
    assert (status, problem["code"]) == (412, "no_delegate") and problem["delegates"]


async def test_one_that_answers_twice_is_cut_off_and_its_first_answer_counts(running: ManagerProcess) -> None:
    world = running.world
    async with Stray(world, running.delegate_url, "echo") as echo, Stray(world, running.delegate_url, "rest") as rest:
        rest.on_task = rest.answer
        await until(lambda: echo.is_open and rest.is_open, "both")
        kept = asyncio.create_task(running.submit(check(running, **only(echo))))
        await until(lambda: echo.tasks, "its first task")

        def twice(task: Task) -> None:
            echo.say(echo.result(task))
            echo.say(echo.result(task))

        echo.on_task = twice
        task = check(running, **only(echo))
        await is_done(running, task, echo)
        await until(lambda: echo.welcomes == 2, "it to be cut off and come back")
        assert (await is_said(running.program, "stream.refused", delegate="echo"))["code"] == "protocol_violation"
        found = await row(running, task)
        assert (found["state"], found["code"], found["attempts"]) == ("done", "ok", 1)
        # What else it had was lost with its stream. Nobody else may have it, so it gets that again.
        echo.on_task = echo.answer
        status, outcome = await kept
        assert (status, outcome.state) == (200, "done")
        await is_done(running, check(running, **only(rest)), rest)


@pytest.mark.parametrize("flood", ["heartbeats", "tests", "credit"])
async def test_one_that_floods_its_stream_delays_nobody_and_fills_no_memory(
    running: ManagerProcess, flood: str
) -> None:
    world = running.world
    status = Path(f"/proc/{running.program.pid}/status")

    def resident() -> int:
        return int(status.read_text().partition("VmRSS:")[2].split()[0])

    async with Stray(world, running.delegate_url, "loud") as loud, Stray(world, running.delegate_url, "calm") as calm:
        calm.on_task = calm.answer
        await until(lambda: loud.is_open and calm.is_open, "both")
        await is_done(running, check(running, **only(calm)), calm)
        before, started = resident(), time.time()
        if flood == "heartbeats":
            for _ in range(20_000):
                loud.say(Heartbeat())
        elif flood == "tests":
            for _ in range(200):
                loud.say(Checked("x" * 100_000))
        else:
            for _ in range(2_000):
                loud.say(Credit(CAPACITY))
        for _ in range(30):
            began = time.monotonic()
            await is_done(running, check(running, **only(calm)), calm)
            # Generous: what it waits for is a turn of the loop, not the end of the flood.
            assert time.monotonic() - began < 5.0
        assert calm.welcomes == 1
        if flood != "heartbeats":
            refused = await is_said(running.program, "stream.refused", started, delegate="loud")
            assert refused["code"] == {"tests": "document_malformed", "credit": "protocol_violation"}[flood]
        assert resident() - before < 64 * 1024


async def test_a_thousand_come_back_at_once_after_a_kill_and_no_task_is_lost(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    doomed = world.secret("doomed")
    async with (
        manager_process(tmp_path, world, [*PATIENT, "--log-level", "warning"]) as running,
        AsyncExitStack() as stack,
    ):
        strays = [Stray(world, running.delegate_url, f"stray-{number}") for number in range(1_000)]
        for one in strays:
            await stack.enter_async_context(one)
        await until(lambda: all(one.is_open for one in strays), "all to be there")
        # Accepted and not answered; and one that may not happen twice.
        tasks = [check(running) for _ in range(200)]
        asked = [asyncio.create_task(running.submit(task)) for task in tasks]
        victim = strays[500]
        never = world.delete(doomed, to=victim.identity.kid)
        asked.append(asyncio.create_task(running.submit(never)))
        await until(lambda: sum(len(one.tasks) for one in strays) == len(asked), "all tasks to be given")
        await running.program.kill()
        for failed in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(failed, aiohttp.ClientError), failed
        for one in strays:
            one.on_task = one.answer
        await running.program.start()
        # Their submitters ask again while delegates come back, as clients do.
        outcomes = await asyncio.gather(*(_insisting(running, task) for task in tasks))
        assert len(outcomes) == 200
        assert {outcome.state for outcome in outcomes} == {"done"}
        await until(lambda: all(one.welcomes == 2 and one.is_open for one in strays), "all to be back")
        assert await running.figure("delegates_connected") == 1_000
        rows = {one["task"]: one for one in await running.rows() if one["finished_at"]}
        assert {rows[task.digest]["code"] for task in tasks} == {"ok"}
        # What may happen once was begun once, and its end is known for unknown.
        assert (rows[never.digest]["state"], rows[never.digest]["code"]) == ("unknown", "manager_restarted")
        assert sum(task.id == never.digest for one in strays for task in one.tasks) == 1
        await _is_unbroken(running)


async def _insisting(running: ManagerProcess, task: Verified[TaskDocument]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        status, outcome = await running.submit(task)
        if status < 300:
            return outcome
        assert (status, outcome["code"]) == (412, "no_delegate"), outcome
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def _is_unbroken(running: ManagerProcess) -> None:
    """The audit's chain."""
    head = Head()
    while True:
        _, page = await running.call("GET", f"audit?after={head.seq}&limit=500")
        if not page["entries"]:
            return
        head = verify([Link(**one) for one in page["entries"]], head)
