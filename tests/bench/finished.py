"""What the manager's own log says of tasks that ended: one line each, `task.finished`, with how long each part took.

Promises: only the lines that were written since the last time, each once; a line that isn't there after all is `Unmeasured`.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec

from tests.bench.child import Unmeasured

READ_SECONDS = 10.0


class Line(msgspec.Struct):
    """A task's line, as far as the figures need it; milliseconds (docs/operations.md)."""

    event: str = ""
    state: str = ""
    dispatch_ms: float | None = None
    execution_ms: float = 0.0
    duration_ms: float = 0.0


_decoder = msgspec.json.Decoder(Line)


class Finished:
    """One manager's log, from its present end on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._at = log.stat().st_size

    async def read(self, count: int) -> list[Line]:
        """The next `count` tasks that ended, all of them done."""
        until, found = time.monotonic() + READ_SECONDS, list[Line]()
        while len(found) < count:
            data = self._log.read_bytes()[self._at :]
            whole = data[: data.rfind(b"\n") + 1]
            self._at += len(whole)
            lines = (_decoder.decode(one) for one in whole.splitlines() if one.startswith(b"{"))
            found += [line for line in lines if line.event == "task.finished"]
            if time.monotonic() > until:
                raise Unmeasured(f"the manager's log has {len(found)} of {count} tasks")
            await asyncio.sleep(0.01)
        if len(found) > count or any(line.state != "done" for line in found):
            raise Unmeasured("other tasks ended meanwhile, or some failed")
        return found
