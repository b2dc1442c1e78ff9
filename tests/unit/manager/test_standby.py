"""Tasks that wait in the queue, over simulated delegates: those for whom there is a place don't wait for those that have none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from manager import standby
from manager.authentication import Caller
from manager.metrics import ManagerMetrics
from manager.standby import MOST_TRIED
from manager.tasks import Submitted, Tasks
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument, WantedSelector
from tests.fakes.desk import CAPACITY, Desk
from tests.fakes.manager import until


@pytest.fixture
async def tasks(desk: Desk) -> AsyncIterator[Tasks]:
    one = Tasks(desk.store, desk.books, desk.dispatcher, desk.clock, ManagerMetrics("0"))
    await one.recover()
    yield one
    for delegate in list(desk.fleet):
        cast("Any", delegate.cut)()
    one.deferred.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await one.drain()


def wanted(desk: Desk, tag: str = "") -> Verified[TaskDocument]:
    selectors = (WantedSelector(tag, "step"),) if tag else ()
    return desk.world.check(desk.world.connector, selectors=selectors, exp=desk.world.now + 3_600)


async def submit(desk: Desk, tasks: Tasks, task: Verified[TaskDocument], wait: float = 0.0) -> str:
    caller = Caller(desk.world.id, desk.world.administrator.kid)
    return (await tasks.submit_lasting(caller, Submitted(task.compact, may_wait=True), wait)).state


async def test_what_waits_for_a_busy_delegate_keeps_nothing_from_one_with_places(desk: Desk, tasks: Tasks) -> None:
    alpha = desk.delegate("alpha")
    for _ in range(CAPACITY + 2 * MOST_TRIED):
        assert await submit(desk, tasks, wanted(desk, "alpha")) in {"running", "queued"}
    await until(lambda: len(alpha.tasks()) == CAPACITY and desk.dispatcher.waiting == MOST_TRIED)
    mine = wanted(desk, "beta")
    assert await submit(desk, tasks, mine) in {"running", "queued"}
    beta = desk.delegate("beta")
    await until(lambda: [one.id for one in beta.tasks()] == [mine.digest])


async def test_what_is_with_delegates_keeps_nothing_from_being_tried(desk: Desk, tasks: Tasks) -> None:
    waiting = [wanted(desk) for _ in range(3 * CAPACITY)]
    for one in waiting:
        assert await submit(desk, tasks, one) in {"running", "queued"}
    delegates = [desk.delegate(name) for name in ("alpha", "beta", "gamma")]
    watching = asyncio.create_task(tasks.deferred.watch())
    try:
        await until(lambda: sum(len(one.tasks()) for one in delegates) == 3 * CAPACITY)
    finally:
        watching.cancel()


async def test_what_its_submitter_asks_for_again_in_the_moment_in_which_it_is_tried_is_tried_after_that(
    desk: Desk, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever may have it is looked for in the very next step.
    monkeypatch.setattr(standby, "STIR_SECONDS", 0.0)
    task, caller = wanted(desk), Caller(desk.world.id, desk.world.administrator.kid)
    assert await submit(desk, tasks, task, wait=20.0) == "queued"
    await until(lambda: tasks.running(caller, task.digest) is None)
    entry = tasks.deferred.find(caller, task.digest)
    assert entry is not None and entry.pause == 0
    alpha = desk.delegate("alpha")
    again = await tasks.submit(caller, Submitted(task.compact, may_wait=True))
    assert (await again).state == "queued"
    await until(lambda: entry.pause)
    assert tasks.running(caller, task.digest) is None and alpha.tasks() == []
    entry.not_before = 0.0
    desk.dispatcher.offer(alpha.row)
    await until(alpha.tasks)
    running = tasks.running(caller, task.digest)
    assert running is not None
    async with asyncio.timeout(20):
        assert (await alpha.serve(running)).state == "done"
    assert len(alpha.tasks()) == 1
