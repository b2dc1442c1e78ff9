"""What orders' runs come to is counted: begun, ended by how, refused, and those whose time passed."""

from __future__ import annotations

import asyncio

from manager.orders import RETRY_SECONDS
from tests.fakes.desk import Desk, checking, ended
from tests.fakes.manager import until
from tests.fakes.standing import HOUR

PREFIX = "privyseal_manager_order_runs_"


def counted(desk: Desk) -> dict[str, float]:
    """The figures of runs that aren't zero, by what comes after their common name."""
    lines = [line for line in desk.metrics.exposition().decode().splitlines() if line.startswith(PREFIX)]
    figures = {name.removeprefix(PREFIX): float(value) for name, _, value in (one.rpartition(" ") for one in lines)}
    return {name: value for name, value in figures.items() if value and not name.split("{")[0].endswith("_created")}


async def test_a_run_is_counted_when_it_begins_and_by_how_it_ended(desk: Desk) -> None:
    delegate, _, running = await desk.begun()
    assert counted(desk) == {"begun_total": 1}
    delegate.answer()
    await ended(running)
    desk.world.now += HOUR
    running = desk.orders.look()
    await until(lambda: len(delegate.tasks()) == 2)
    delegate.answer("denied")
    await ended(running)
    assert counted(desk) == {"begun_total": 2, 'ended_total{state="done"}': 1, 'ended_total{state="failed"}': 1}


async def test_what_nobody_began_in_its_time_is_overdue_until_the_next_run_counts_it(desk: Desk) -> None:
    await desk.give(checking(desk))
    await ended(desk.orders.look())
    assert counted(desk) == {}
    desk.world.now += 3 * HOUR
    assert counted(desk) == {"overdue": 3}
    delegate = desk.delegate("alpha")
    running = desk.orders.look()
    await until(delegate.tasks)
    assert counted(desk) == {"begun_total": 1, "skipped_total": 3}
    delegate.answer()
    await ended(running)


async def test_each_refusal_counts_though_they_stand_in_one_row(desk: Desk) -> None:
    desk.delegate("alpha")
    await desk.give(checking(desk))
    desk.world.revise(desk.world.connector, name="another")
    await desk.publish()
    for _ in range(3):
        await ended(desk.orders.look())
        desk.world.now += HOUR
    assert counted(desk) == {'refused_total{code="pin_stale"}': 3}
    # Two go by with nobody to look, and the next is refused too.
    desk.world.now += 2 * HOUR
    await ended(desk.orders.look())
    assert counted(desk) == {'refused_total{code="pin_stale"}': 4, "skipped_total": 2}


async def test_what_a_restart_overtook_ends_as_unknown(desk: Desk) -> None:
    _, _, running = await desk.begun()
    again = await desk.restarted()
    assert counted(again) == {'ended_total{state="unknown"}': 1}
    for one in running:
        one.cancel()
    await asyncio.wait(running, timeout=RETRY_SECONDS)
