"""Real processes in real control groups, measured by themselves; skipped where this machine has none that can be made."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from client.ports import HeldPorts
from delegate.cgroups import memberships, mounts
from shared.messages import Heartbeat
from tests.fakes.delegates import keyring_file, world_of_today
from tests.fakes.manager import FakeManager, until

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024

CHILD = """
import json, mmap, os, sys, time
sys.stdin.readline()
from delegate.load import meter, percent_of_memory, percent_of_processor
measured = meter()
def told(**more):
    memory, processor = measured.memory(), measured.processor()
    print(json.dumps({"memory": memory.used, "limit": memory.limit, "source": processor.source, "cores": processor.cores,
                      "used": processor.used, "at": time.monotonic(), **more}), flush=True)
told()
for line in sys.stdin:
    what, amount = line.split()
    if what == "hold":
        held = bytearray(os.urandom(1)) * int(amount)
    elif what == "read":
        with open(amount, "rb") as file:
            while file.read(2**20): pass
    elif what == "spin":
        until = time.monotonic() + float(amount)
        while time.monotonic() < until: pass
    told(spent=sum(os.times()[:2]))
"""


class Groups:
    """New groups for one process, one in each hierarchy that has a limit that is wanted."""

    def __init__(self) -> None:
        found = {
            controller: mount
            for mount in mounts(Path("/proc/self/mountinfo").read_text())
            for controller in mount.controllers or {""}
        }
        self.version = 1 if "memory" in found else 2
        self.mine: dict[str, Path] = {}
        if self.version == 1:
            wanted = {name: found[name] for name in ("memory", "cpu", "cpuacct") if name in found}
        else:
            wanted = {"": found[""]} if "" in found else {}
        own = memberships(Path("/proc/self/cgroup").read_text())
        for name, mount in wanted.items():
            # Below our own, so that its limits stay in force.
            here = Path(mount.point + own.get(name, "/").removeprefix(mount.root.rstrip("/")))
            self.mine[name] = here / f"privyseal-test-{os.getpid()}"

    def make(self) -> None:
        """Raises OSError where that isn't allowed."""
        for folder in set(self.mine.values()):
            folder.mkdir(exist_ok=True)
        if self.version == 1:
            self._write("memory", "memory.limit_in_bytes", 256 * MIB)
            self._write("cpu", "cpu.cfs_period_us", 100_000)
            self._write("cpu", "cpu.cfs_quota_us", 50_000)
        else:
            self._write("", "memory.max", 256 * MIB)
            self._write("", "cpu.max", "50000 100000")

    def _write(self, name: str, file: str, value: object) -> None:
        (self.mine[name] / file).write_text(f"{value}\n")

    def take(self, pid: int) -> None:
        """Moves a process in."""
        for folder in set(self.mine.values()):
            (folder / "cgroup.procs").write_text(f"{pid}\n")

    def remove(self) -> None:
        for folder in set(self.mine.values()):
            with suppress(OSError):
                folder.rmdir()


@pytest.fixture
def groups() -> Iterator[Groups]:
    if sys.platform != "linux":
        pytest.skip("control groups are Linux's")
    made = Groups()
    try:
        if not made.mine:
            pytest.skip("no hierarchy of control groups is mounted here")
        made.make()
    except (OSError, KeyError) as why:
        made.remove()
        pytest.skip(f"no control group with limits can be made here: {type(why).__name__}")
    yield made
    made.remove()


@asynccontextmanager
async def child(groups: Groups) -> AsyncIterator[Any]:
    """A process in these groups; called with a line it does that and tells what it measures then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin and process.stdout
    groups.take(process.pid)
    writer, reader = process.stdin, process.stdout

    async def ask(line: str) -> dict[str, Any]:
        writer.write(f"{line}\n".encode())
        async with asyncio.timeout(30):
            told: dict[str, Any] = json.loads(await reader.readline())
        return told

    try:
        yield ask
    finally:
        writer.close()
        await process.wait()


async def test_a_process_sees_its_own_limits_and_what_it_uses_of_them(groups: Groups, tmp_path: Path) -> None:
    async with child(groups) as ask:
        first = await ask("begin")
        assert first["limit"] == 256 * MIB
        assert first["cores"] == 0.5
        assert first["source"].endswith(f"/privyseal-test-{os.getpid()}")
        held = await ask(f"hold {100 * MIB}")
        assert 95 * MIB < held["memory"] - first["memory"] < 130 * MIB
        # What is only kept of files is no use of memory.
        path = tmp_path / "large"
        path.write_bytes(bytes(64 * MIB))
        os.sync()
        read = await ask(f"read {path}")
        assert read["memory"] - held["memory"] < 24 * MIB
        spun = await ask("spin 1.5")
        used, spent = spun["used"] - read["used"], spun["spent"] - read["spent"]
        # As the kernel counts for the process itself, however little of its half a core this machine gave it.
        assert spent > 0.05 and abs(used - spent) < 0.05 + 0.2 * spent
        assert 100 * used / ((spun["at"] - read["at"]) * 0.5) <= 130


async def test_a_delegates_process_in_a_full_group_says_that_it_is_over(groups: Groups, tmp_path: Path) -> None:
    world = world_of_today()
    async with FakeManager(world) as manager:
        (health,) = (held := HeldPorts()).take(1)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "delegate.main", "--manager", manager.url, "--name", "full"),
            *("--keyring-file", str(keyring_file(world, tmp_path))),
            *("--health-address", f"127.0.0.1:{health}", "--cpu-limit-percent", "0"),
            # It needs some for itself: more than this much of 256 MiB.
            *("--memory-limit-percent", "10"),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            groups.take(process.pid)
            link = await manager.connection()
            # Three looks, two seconds apart.
            beat = await until(lambda: next((one for one in link.heard(Heartbeat) if one.is_over), None), 30)
            assert beat.memory is not None
            assert 10 <= beat.memory.percent < 100
            assert beat.memory.limit_percent == 10
        finally:
            process.terminate()
            out, _ = await process.communicate()
            held.let_go()
        assert b"load.over_limit" in out
