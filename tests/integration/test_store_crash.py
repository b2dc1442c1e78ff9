"""What the store acknowledged is there after the process was killed, on SQLite."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from manager.store import Store
from shared.audit import Head, verify

A = "a" * 52

PROGRAM = """
import asyncio, sys
from manager.rows import TaskRow
from manager.store import Store

async def main():
    async with Store(sys.argv[1]) as store:
        async def write(lane):
            n = 0
            while True:
                task = f"{lane}-{n}"
                await store.put_task("a" * 52, TaskRow(task, "op", "p", "done"), [{"at": 1, "task": task}])
                print(task, flush=True)
                n += 1
        await asyncio.gather(*map(write, range(8)))

asyncio.run(main())
"""


def _run_until_killed(url: str, count: int) -> set[str]:
    """The tasks that were acknowledged before the kill, at least `count` of them."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        told = "".join(process.stdout.readline() for _ in range(count))
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    # The last line may have been cut.
    return set(told.split("\n")[:-1])


async def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/manager.db"
    acknowledged: set[str] = set()
    for count in (100, 200, 300):
        acknowledged |= await asyncio.to_thread(_run_until_killed, url, count)
        async with Store(url) as store:
            stored: set[str] = set()
            after = ""
            while True:
                page = await store.tasks(A, before=after, limit=500)
                stored.update(row.task for row in page.items)
                after = page.next
                if not after:
                    break
            assert len(acknowledged) >= count / 2
            assert acknowledged <= stored
            head = Head()
            while rows := await store.audit_page(A, head.seq, 500):
                head = verify(rows, head)
            assert head.seq >= len(stored)
