"""The daemon's own rounds: what fails in one of them doesn't end the manager."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

import manager.daemon
from manager.clock import Clock
from manager.services import Services
from shared.errors import Unavailable
from tests.fakes.manager import until


@dataclass
class Failing:
    """A store and streams that fail at first and count how often they are asked."""

    clock: Clock = field(default_factory=Clock)
    asked: list[str] = field(default_factory=list)
    left: int = 3_500

    @property
    def store(self) -> Failing:
        return self

    @property
    def streams(self) -> Failing:
        return self

    @property
    def orders(self) -> Failing:
        return self

    @property
    def ledger(self) -> Failing:
        return self

    @property
    def tasks(self) -> Failing:
        return self

    @property
    def deferred(self) -> Failing:
        return self

    @property
    def queue(self) -> Failing:
        return self

    async def prune(self, before: int = 0) -> int:
        self.asked.append("prune the rest")
        return 0

    async def prune_tasks(self, before: int) -> int:
        self.asked.append("prune")
        if len(self.asked) == 1:
            raise Unavailable("store_unavailable", "the disk is full")
        gone = min(self.left, 1_000)
        self.left -= gone
        return gone

    async def prune_checks(self, now: int) -> int:
        self.asked.append("prune checks")
        return 0

    async def beat(self) -> None:
        self.asked.append("beat")
        raise RuntimeError("a bug")


async def test_a_full_disk_does_not_end_the_manager_and_all_that_is_old_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.daemon, "PRUNE_SECONDS", 0.01)
    parts = Failing()
    pruning = asyncio.create_task(manager.daemon._prune(cast(Services, parts)))
    await until(lambda: parts.left == 0)
    assert not pruning.done()
    pruning.cancel()


async def test_a_beat_that_fails_is_followed_by_another() -> None:
    parts = Failing()
    beating = asyncio.create_task(manager.daemon._beat(cast(Services, parts), 0.001))
    await until(lambda: len(parts.asked) > 2)
    assert not beating.done()
    beating.cancel()
