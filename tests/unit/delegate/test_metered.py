"""The calls of secret managers are timed by their kind, and what goes through is left as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from delegate.clock import Clock
from delegate.metered import Calls
from delegate.metrics import MOST_KINDS, DelegateMetrics
from shared.errors import Denied


class StepClock(Clock):
    """Each look at it is half a second after the one before."""

    def __init__(self) -> None:
        self._at = 0.0

    def monotonic(self) -> float:
        self._at += 0.5
        return self._at


class Shelf:
    """Gives back what it was asked with, or raises."""

    concurrency = 7

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.asked: list[tuple[Any, ...]] = []
        self.closed = False

    async def _act(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        if self.failure is not None:
            raise self.failure
        return arguments

    async def check(self) -> None:
        await self._act()

    async def store(self, secret: Any, plaintext: Any) -> Any:
        return await self._act(secret, plaintext)

    async def fetch(self, secret: Any, stored: Any) -> Any:
        return await self._act(secret, stored)

    async def look_up(self, secret: Any) -> Any:
        return await self._act(secret)

    async def delete(self, secret: Any, stored: Any) -> None:
        await self._act(secret, stored)

    async def close(self) -> None:
        self.closed = True


def shown(metrics: DelegateMetrics, name: str) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    rows = (line.rpartition(" ") for line in lines if line.startswith(f"privyseal_delegate_{name}{{"))
    return {key.partition("{")[2].rstrip("}"): float(value) for key, _, value in rows}


async def test_each_call_is_timed_and_gives_what_the_manager_gives() -> None:
    metrics, shelf, one, two = DelegateMetrics("1"), Shelf(), object(), object()
    manager: Any = Calls(metrics, StepClock()).of(shelf, "Shelf")  # type: ignore[arg-type]
    assert manager.concurrency == 7
    assert await manager.store(one, two) == (one, two)
    assert await manager.fetch(one, two) == (one, two)
    assert await manager.look_up(one) == (one,)
    await manager.delete(one, None)
    await manager.check()
    assert shelf.asked == [(one, two), (one, two), (one,), (one, None), ()]
    sums = shown(metrics, "provider_seconds_sum")
    assert sums == {f'call="{call}",kind="Shelf"': 0.5 for call in ("store", "fetch", "look_up", "delete", "check")}
    assert shown(metrics, "provider_errors_total") == {}
    await manager.close()
    assert shelf.closed


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Denied("provider_denied", "zq-canary"), "denied"),
        (ValueError("zq-canary"), "internal"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_a_failure_is_counted_by_its_class_and_raised_as_it_is(failure: BaseException, error: str) -> None:
    metrics = DelegateMetrics("1")
    manager: Any = Calls(metrics, StepClock()).of(Shelf(failure), "Shelf")  # type: ignore[arg-type]
    with pytest.raises(type(failure)) as caught:
        await manager.fetch(None, None)
    assert caught.value is failure
    assert shown(metrics, "provider_errors_total") == {f'call="fetch",error="{error}",kind="Shelf"': 1.0}
    assert shown(metrics, "provider_seconds_count") == {'call="fetch",kind="Shelf"': 1.0}
    assert b"zq-canary" not in metrics.exposition()


def test_kinds_beyond_those_that_have_room_count_as_other() -> None:
    metrics = DelegateMetrics("1")
    for at in range(3 * MOST_KINDS):
        metrics.called(f"Kind{at}", "check", 0.1)
    counts = shown(metrics, "provider_seconds_count")
    assert len(counts) == MOST_KINDS + 1
    assert counts['call="check",kind="other"'] == 2 * MOST_KINDS
