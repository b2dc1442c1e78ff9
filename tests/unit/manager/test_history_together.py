"""What has ended comes to the disk with the next access, or by itself a moment later."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.clock import Clock
from manager.endings import Endings
from manager.history import History
from manager.metrics import ManagerMetrics
from manager.store import Store
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from tests.fakes.world import World
from tests.unit.manager.test_history import assigned


def given(world: World, name: str) -> tuple[Caller, Assignment, TaskDocument]:
    task: Verified[TaskDocument] = world.delete(world.secret(name))
    return Caller(world.id, task.kid), assigned(world, task, "any"), task.document


async def test_what_has_ended_is_durable_before_the_next_access_is(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    one, two, next_one = (given(world, name) for name in ("one", "two", "three"))
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        history = History(store, Clock(), Endings(Clock(), ManagerMetrics("0")))
        for ended in (one, two):
            ended[1].life = ended[1].life.dispatched("delegate").answered("ok", others=False)
            history.ended(*ended)
        await history.access(*next_one)
        for _, assignment, _ in (one, two):
            row = await store.task(world.id, assignment.id)
            assert row is not None and row.state == "done"
        told = [json.loads(link.entry) for link in await store.audit_page(world.id)]
        assert [entry["outcome"] for entry in told] == ["done", "done", "asked"]
        assert [entry["task"] for entry in told] == [each[1].id for each in (one, two, next_one)]


async def test_what_has_ended_is_written_without_another_access_too_each_time(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store, asyncio.timeout(20):
        history = History(store, Clock(), Endings(Clock(), ManagerMetrics("0")))
        for name in ("one", "two"):
            ended = given(world, name)
            ended[1].life = ended[1].life.dispatched("delegate").answered("ok", others=False)
            history.ended(*ended)
            while await store.task(world.id, ended[1].id) is None:
                await asyncio.sleep(0.005)
