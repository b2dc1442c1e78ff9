"""What is written down of tasks, and what of those whose end couldn't be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.clock import Clock
from manager.endings import Endings
from manager.history import History
from manager.metrics import ManagerMetrics
from manager.routing import Wanted
from manager.store import Store
from shared.errors import Conflict
from shared.task import Life
from tests.fakes.world import World


async def test_a_task_whose_end_could_not_be_written_is_unknown_when_it_comes_again(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    task = world.delete(world.secret("x"))
    caller = Caller(world.id, task.kid)
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        history = History(store, Clock(), Endings(Clock(), ManagerMetrics("0")))
        assignment = Assignment(
            account=world.id,
            id=task.digest,
            compact=task.compact,
            op="delete",
            wanted=Wanted("main", 1, frozenset(), frozenset()),
            exp=task.document.exp,
            inputs=(),
            stored=(),
            documents=[],
            life=Life("never"),
            principal=task.kid,
        )
        await history.begin(caller, assignment, task.document)
        for _ in range(2):
            with pytest.raises(Conflict) as why:
                await history.begin(caller, assignment, task.document)
            assert (why.value.code, why.value.facts) == ("task_known", {"state": "unknown"})
        row = await store.task(world.id, task.digest)
        assert row is not None
        assert (row.state, row.code) == ("unknown", "outcome_unwritten")
        assert len(await store.audit_page(world.id)) == 2
