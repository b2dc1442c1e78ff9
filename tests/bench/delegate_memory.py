"""Figure 4: a delegate that does nothing: its resident memory, and how long it takes to be ready.

Memory: resident bytes (smaps_rollup) of the delegate's process with an open stream, after it has settled, without any task
so far; the median of several. Floor: a process with one open grpc.aio stream and nothing else (`echo_delegate`).
Start: from the start of the process to the first 200 of /readyz, which says that the manager has welcomed it and that its
status and keyring are believed; asked every 5 ms.
"""

from __future__ import annotations

from tests.bench.child import Child, free_port, listens
from tests.bench.report import Row, against_value, median
from tests.bench.rig import Rig

MEGABYTE = 1_000_000


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    count = 3 if quick else 9
    async with Rig() as rig:
        floor = await _floor(rig)
        starts, sizes = [], []
        for number in range(count):
            delegate, seconds = await rig.start_delegate()
            starts.append(seconds)
            if number < 3:
                sizes.append(await delegate.settled_bytes())
            await delegate.stop()
    return [
        against_value(
            "delegate: resident memory, idle", median(sizes) / MEGABYTE, "MB", 70, "at most", floor / MEGABYTE
        ),
        against_value("delegate: start to ready", median(starts), "s", 1, "at most"),
    ]


async def _floor(rig: Rig) -> int:
    http_port, grpc_port = free_port(), free_port()
    manager = Child(["tests.bench.echo", str(http_port), str(grpc_port)], rig.folder / "echo-manager.log")
    bare = None
    try:
        await manager.until(lambda: listens(grpc_port), "listening")
        bare = Child(["tests.bench.echo_delegate", str(grpc_port), "100"], rig.folder / "echo-delegate.log")
        return await bare.settled_bytes()
    finally:
        if bare is not None:
            await bare.stop()
        await manager.stop()
