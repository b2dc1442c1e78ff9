"""A program of ours whose wall clock a test steps: what NTP, a resumed machine or a person does to it.

    python -m tests.fakes.stepped OFFSET_FILE MODULE ARGUMENT...

The file holds seconds, read at each look at the clock; where it isn't there, none are added. Only the wall clock moves, for all of
the process's Python: CLOCK_MONOTONIC and timers go on, as they do when a machine's clock is set. (A time namespace can't do this: it
has no CLOCK_REALTIME.)
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path


def install(file: Path) -> None:
    """`time.time` and `time.time_ns` with the file's seconds on top, before anything has taken them."""
    real, real_ns = time.time, time.time_ns

    def offset() -> float:
        try:
            return float(file.read_text() or "0")
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + int(offset() * 1_000_000_000)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    module, sys.argv = sys.argv[2], [sys.argv[2], *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
