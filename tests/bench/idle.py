"""Figure: what 2,000 idle delegates cost the task of somebody else.

Idle ones are a swarm in another process over TLS: certificate, hello with its proof, credit, heartbeats both ways every two
seconds. One more delegate is a real process; the tasks ask for it by a tag that no other carries, so that the same one answers in
both cases. Measured: from a task's arrival to its handing over to that delegate (`dispatch_ms` of the manager's line for the
task), p99 of reveals one after the other; with 10 idle ones, with 2,000, and with 10 again. Floor: p99 of both times with 10
together, so that what only the machine did counts for neither.
"""

from __future__ import annotations

from client import Client
from tests.bench.child import Unmeasured
from tests.bench.finished import Finished
from tests.bench.manager_memory import certificate
from tests.bench.report import Row, against_floor, info, median, percentile
from tests.bench.rig import BUILD, Rig
from tests.bench.swarm import Swarming, swarming

NAME = "account.one"
TAG = "answering"
FEW = 10
FIRST = 50


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    many, count = (300, 300) if quick else (2_000, 700)
    tls = certificate(BUILD.absolute() / "bench-tls.crt", BUILD.absolute() / "bench-tls.key")
    async with Rig(tls) as rig:
        await rig.start_delegate({"PRIVYSEAL_DELEGATE_TAGS": TAG})
        await rig.store(["one"])
        client = rig.reader()
        few, crowd = list[float](), list[float]()
        for among, found in ((FEW, few), (many, crowd), (FEW, few)):
            target = rig.delegate_origin.partition("://")[2]
            async with swarming(rig.folder, target, rig.delegate_origin, rig.keyring_file, rig.ca_file) as swarm:
                await _crowd(swarm, among)
                found.extend(await _dispatches(rig, client, count))
                await _crowd(swarm, among)
    words = f"dispatch p99 with {many:,} idle delegates"
    return [
        against_floor(words, percentile(crowd, 99), "ms", percentile(few, 99), 3, "at most"),
        info(f"dispatch p50 with {many:,} idle delegates", median(crowd), "ms"),
        info(f"dispatch p50 with {FEW} idle delegates", median(few), "ms"),
    ]


async def _crowd(swarm: Swarming, count: int) -> None:
    connected = await swarm.grow(count)
    if connected != count:
        raise Unmeasured(f"only {connected} of {count} idle delegates are connected")


async def _dispatches(rig: Rig, client: Client, count: int) -> list[float]:
    """Milliseconds from arrival to handing over of each."""
    assert rig.manager is not None
    for _ in range(FIRST):
        await client.reveal(NAME, selectors=[TAG])
    finished = Finished(rig.manager.log)
    await finished.read(0)
    for _ in range(count):
        await client.reveal(NAME, selectors=[TAG])
    return [line.dispatch_ms or 0.0 for line in await finished.read(count)]
