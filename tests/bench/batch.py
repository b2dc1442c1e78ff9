"""Figure 3: secrets per second when 200 are revealed in one task.

Timed: `client.reveal_all` of 200 references, from the calls to all plaintexts. Each task has 200 secrets of its own, and
one client process keeps several tasks in flight, so that both cores work; manager and one delegate are processes of their
own.

warm: client, manager and delegate have seen every document before.
cold: nobody has. Manager and delegate were started anew and have taken no task, the client is a fresh one that has not
even connected; its first sync, resolving the 200 names, and everybody's verifying are within the time.

One in flight, for information: the same tasks one after the other, warm; seconds of each task.
"""

from __future__ import annotations

import asyncio
import time

from client import Client
from shared.crypto.plaintext import Plaintext
from tests.bench.child import Unmeasured
from tests.bench.report import Row, against_value, info, median
from tests.bench.rig import Rig

IN_A_TASK = 200
IN_FLIGHT = 8


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    tasks, rounds = (5, 2) if quick else (15, 4)
    batches = [[f"b{task}_{number}" for number in range(IN_A_TASK)] for task in range(tasks)]
    async with Rig() as rig:
        await rig.start_delegate()
        await rig.store([name for names in batches for name in names])
        cold, warm, single = [], [], []
        for _ in range(rounds):
            await rig.restart()
            client = rig.reader()
            cold.append(await _rate(client, batches, IN_FLIGHT))
            warm += [await _rate(client, batches, IN_FLIGHT) for _ in range(4)]
            single += [IN_A_TASK / await _rate(client, [names], 1) for names in batches]
        latency = median(single)
    return [
        against_value("200 in one task, warm documents", median(warm), "secrets/s", 12_000, "at least"),
        against_value("200 in one task, cold documents", median(cold), "secrets/s", 5_000, "at least"),
        info("200 in one task, warm, one in flight", latency * 1000, "ms"),
    ]


async def _rate(client: Client, batches: list[list[str]], in_flight: int) -> float:
    """Secrets per second."""
    waiting = list(reversed(batches))

    async def serve() -> None:
        while waiting:
            items = await client.reveal_all([f"account.{name}" for name in waiting.pop()])
            if not all(isinstance(item, Plaintext) for item in items):
                raise Unmeasured(
                    f"a secret couldn't be revealed: {next(i for i in items if not isinstance(i, Plaintext))}"
                )

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(serve())
    return len(batches) * IN_A_TASK / (time.perf_counter() - began)
