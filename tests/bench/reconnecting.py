"""Figure: 1,000 delegates that come back at once after the manager was killed.

The delegates are a swarm in one process over TLS; each keeps its identity, and comes back by the delegates' own rule and
default bounds: a random pause of up to 0.5 s that doubles with each failure in a row, up to 30 s. The manager is ended with
SIGKILL and started again at once. Measured for each delegate: from its first dial at a manager that listens again, which is the
end of its pause, to the manager's welcome; that it had to dial again counts. The figure is the slowest.

For information: over how long those first dials were spread, the seconds from listening to the last welcome, and the manager's CPU
time for each acceptance, its start and the TLS handshake included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tests.bench.child import Child, Unmeasured, listens
from tests.bench.manager_memory import certificate
from tests.bench.report import Row, against_value, info, median
from tests.bench.rig import BUILD, Rig
from tests.bench.swarm import Dial, Swarming, swarming

RETURN_SECONDS = 120.0


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    count, rounds = (300, 1) if quick else (1_000, 1)
    tls = certificate(BUILD.absolute() / "bench-tls.crt", BUILD.absolute() / "bench-tls.key")
    slowest, spread, whole, cost = list[float](), list[float](), list[float](), list[float]()
    async with Rig(tls) as rig:
        target = rig.delegate_origin.partition("://")[2]
        async with swarming(rig.folder, target, rig.delegate_origin, rig.keyring_file, rig.ca_file) as swarm:
            if await swarm.grow(count) != count:
                raise Unmeasured("not all delegates are connected")
            for _ in range(rounds):
                assert rig.manager is not None
                await swarm.come_back()
                rig.manager.kill()
                manager, listening = await _restart(rig)
                returned = _returned(await _everybody(swarm), listening)
                cost.append(manager.cpu_seconds() / count)
                first, last = min(dialled for dialled, _ in returned), max(dialled for dialled, _ in returned)
                slowest.append(max(welcomed - dialled for dialled, welcomed in returned))
                spread.append(last - first)
                whole.append(max(welcomed for _, welcomed in returned) - listening)
    words = f"{count:,} reconnects after a kill, the slowest after its pause"
    return [
        against_value(words, max(slowest), "s", 5, "at most"),
        info("reconnects: their first dials are spread over", median(spread), "s"),
        info("reconnects: from listening to the last welcome", median(whole), "s"),
        info("reconnects: the manager's CPU time for each", median(cost) * 1000, "ms"),
    ]


async def _restart(rig: Rig) -> tuple[Child, float]:
    """The manager anew, and when it listened to delegates."""
    port = int(rig.delegate_origin.rpartition(":")[2])
    starting = asyncio.create_task(rig.start_manager())
    while not listens(port):
        if starting.done():
            starting.result()
        await asyncio.sleep(0.005)
    listening = time.monotonic()
    return await starting, listening


async def _everybody(swarm: Swarming) -> list[list[Dial]]:
    """Each one's dials, once all are welcomed."""
    until = time.monotonic() + RETURN_SECONDS
    while True:
        returns = await swarm.returns()
        if all(dials and dials[-1][1] is not None for dials in returns):
            return returns
        if time.monotonic() > until:
            raise Unmeasured("some delegates didn't come back")
        # The swarm has other things to do.
        await asyncio.sleep(0.25)


def _returned(returns: Sequence[Sequence[Dial]], listening: float) -> list[tuple[float, float]]:
    """For each: when it first dialled a manager that listened, and when it was welcomed for good."""
    found = []
    for dials in returns:
        welcomed = dials[-1][1]
        assert welcomed is not None
        first = next((dialled for dialled, _ in dials if dialled >= listening), dials[-1][0])
        found.append((max(first, listening), welcomed))
    return found
