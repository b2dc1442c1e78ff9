"""What is written down of tasks, and what of those whose end couldn't be."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Literal

import pytest

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.clock import Clock
from manager.endings import Endings
from manager.history import Change, Entry, History
from manager.metrics import ManagerMetrics
from manager.routing import Wanted
from manager.rows import TaskRow
from manager.store import Store
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Unavailable
from shared.task import Life
from tests.fakes.world import World


def assigned(world: World, task: Verified[TaskDocument], repeat: Literal["any", "never"] = "never") -> Assignment:
    return Assignment(
        account=world.id,
        id=task.digest,
        compact=task.compact,
        op="delete",
        wanted=Wanted("main", 1, frozenset(), frozenset()),
        exp=task.document.exp,
        inputs=(),
        stored=(),
        documents=[],
        life=Life(repeat),
        principal=task.kid,
    )


class Locked(Store):
    """A store that takes nothing while somebody else has it."""

    tries: int | None = None

    def put_task(
        self, account: str, task: TaskRow, audit: Sequence[Entry] = (), beside: Change | None = None
    ) -> Awaitable[None]:
        if self.tries is not None:
            self.tries += 1
            raise Unavailable("store_unavailable", "somebody else has locked the database", "try again")
        return super().put_task(account, task, audit, beside)


async def test_an_end_that_could_not_be_written_is_written_as_soon_as_the_store_works_again(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    task = world.delete(world.secret("x"))
    caller, assignment = Caller(world.id, task.kid), assigned(world, task)
    async with Locked(f"sqlite:///{tmp_path}/manager.db") as store, asyncio.timeout(20):
        history = History(store, Clock(), Endings(Clock(), ManagerMetrics("0")))
        await history.begin(caller, assignment, task.document)
        store.tries = 0
        with pytest.raises(Unavailable):
            await history.failed(caller, assignment, task.document)
        history.is_over(world.id, task.digest, is_written=False)
        while store.tries < 2:
            await asyncio.sleep(0.01)
        row = await store.task(world.id, task.digest)
        assert row is not None and row.state == "queued"
        store.tries = None
        while row is None or row.state == "queued":
            await asyncio.sleep(0.01)
            row = await store.task(world.id, task.digest)
        assert (row.state, row.code) == ("unknown", "outcome_unwritten")
        told = [json.loads(one.entry)["outcome"] for one in await store.audit_page(world.id)]
        assert told == ["submitted", "unknown"]


async def test_an_end_that_was_written_stays_as_it_is(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    task = world.delete(world.secret("x"))
    caller, assignment = Caller(world.id, task.kid), assigned(world, task)
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        history = History(store, Clock(), Endings(Clock(), ManagerMetrics("0")))
        await history.begin(caller, assignment, task.document)
        assignment.life = assignment.life.refused("no_delegate")
        await history.failed(caller, assignment, task.document)
        history.is_over(world.id, task.digest, is_written=False)
        history.is_over(world.id, task.digest, is_written=False)
        await asyncio.gather(*history._closing)
        row = await store.task(world.id, task.digest)
        assert row is not None and (row.state, row.code) == ("failed", "no_delegate")


async def test_a_task_whose_end_could_not_be_written_is_unknown_when_it_comes_again(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    task = world.delete(world.secret("x"))
    caller = Caller(world.id, task.kid)
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        history = History(store, Clock(), Endings(Clock(), ManagerMetrics("0")))
        assignment = assigned(world, task)
        await history.begin(caller, assignment, task.document)
        for _ in range(2):
            with pytest.raises(Conflict) as why:
                await history.begin(caller, assignment, task.document)
            assert (why.value.code, why.value.facts) == ("task_known", {"state": "unknown"})
        row = await store.task(world.id, task.digest)
        assert row is not None
        assert (row.state, row.code) == ("unknown", "outcome_unwritten")
        assert len(await store.audit_page(world.id)) == 2
