"""Measures the figures, each beside its floor, in one run: `python -m tests.bench [--only NAME] [--quick]`.

A table on standard output and build/bench.json. A bound that isn't reached is told and doesn't fail the run; a figure
that can't be measured does. How busy the machine was with other things is told too. `--quick` takes fewer samples (and
300 idle delegates instead of 1,000).
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import uvloop

from tests.bench import (
    aws_kms,
    batch,
    choosing,
    delegate_memory,
    handing,
    idle,
    kinds,
    manager_memory,
    masking,
    reconnecting,
    reveal,
    throughput,
)
from tests.bench.child import busy_percent
from tests.bench.report import Row, info, table, write
from tests.bench.rig import BUILD

FIGURES: Mapping[str, Callable[[bool], Coroutine[Any, Any, list[Row]]]] = {
    "reveal": reveal.measure,
    "throughput": throughput.measure,
    "handing": handing.measure,
    "batch": batch.measure,
    "delegate": delegate_memory.measure,
    "manager": manager_memory.measure,
    "masking": masking.measure,
    "choosing": choosing.measure,
    "idle": idle.measure,
    "reconnecting": reconnecting.measure,
    "aws_kms": aws_kms.measure,
    "kinds": kinds.measure,
}


def main(arguments: list[str]) -> int:
    """0 when every figure asked for was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=list(FIGURES), action="append", help="this figure; may be given again")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    chosen = parser.parse_args(arguments)
    if platform.system() != "Linux":
        print("The figures read /proc: they are measured on Linux only.", file=sys.stderr)
        return 1
    rows: list[Row] = []
    busy: list[float] = []
    failed = False
    for name, figure in FIGURES.items():
        if chosen.only and name not in chosen.only:
            continue
        busy.append(busy_percent(1.0))
        began = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += uvloop.run(figure(chosen.quick))
        except Exception:  # noqa: BLE001 (whatever it is, the other figures are still worth having)
            failed = True
            print(f"{name} could not be measured:", file=sys.stderr)
            traceback.print_exc()
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    rows.append(info("machine: busy with other things before a figure, at most", max(busy), "%"))
    print(table(rows))
    write(rows, BUILD / "bench.json")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
