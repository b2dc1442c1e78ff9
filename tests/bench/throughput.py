"""Figure 2: reveals per second with 64 in flight, the load client included.

64 coroutines of one client process each reveal one of 64 secrets again and again, against a manager and one delegate in
processes of their own. Timed: all reveals that end within some seconds, after every secret was revealed once. The ceiling
of two cores is 2 / (user and system CPU seconds of client, manager and delegate, all three, per reveal), measured over the
same seconds; the figure is what is reached of it. The client runs on uvloop, as a busy service would.
"""

from __future__ import annotations

import asyncio
import os
import time

from client import Client
from tests.bench.child import Child
from tests.bench.report import Row, against_floor, info, median
from tests.bench.rig import Rig

IN_FLIGHT = 64
CORES = 2


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    seconds, rounds = (3.0, 1) if quick else (8.0, 3)
    async with Rig() as rig:
        delegate, _ = await rig.start_delegate()
        assert rig.manager is not None
        names = [f"s{number}" for number in range(IN_FLIGHT)]
        await rig.store(names)
        client = rig.reader()
        await asyncio.gather(*(client.reveal(f"account.{name}") for name in names))
        taken = [await _load(client, names, seconds, (rig.manager, delegate)) for _ in range(rounds)]
    rate = median([count / elapsed for count, elapsed, _ in taken])
    shares = [median([cpu[who] / count for count, _, cpu in taken]) for who in range(3)]
    ceiling = CORES / sum(shares)
    print(
        f"ceiling of reveals per second = {CORES} cores / CPU seconds per reveal"
        f" = {CORES} / (client {shares[0]:.6f} + manager {shares[1]:.6f} + delegate {shares[2]:.6f}) = {ceiling:,.0f}"
    )
    return [
        against_floor("reveals per second, 64 in flight", rate, "/s", ceiling, 0.5, "at least"),
        *(
            info(f"CPU per reveal: {who}", share * 1e6, "us")
            for who, share in zip(("client", "manager", "delegate"), shares, strict=True)
        ),
    ]


async def _load(
    client: Client, names: list[str], seconds: float, others: tuple[Child, Child]
) -> tuple[int, float, tuple[float, ...]]:
    """(reveals, seconds, CPU seconds of client, manager and delegate)."""
    done = 0
    over = False

    async def reveal_on(name: str) -> None:
        nonlocal done
        while not over:
            await client.reveal(f"account.{name}")
            done += 1

    def spent() -> tuple[float, ...]:
        mine = os.times()
        return (mine.user + mine.system, *(child.cpu_seconds() for child in others))

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(reveal_on(name))
        # The queues fill first.
        await asyncio.sleep(0.5)
        began, before, first = time.perf_counter(), spent(), done
        await asyncio.sleep(seconds)
        elapsed, after, count = time.perf_counter() - began, spent(), done - first
        over = True
    return count, elapsed, tuple(now - then for now, then in zip(after, before, strict=True))
