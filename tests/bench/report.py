"""Rows of the report: a table for people, and build/bench.json for programs.

Promises: a bound is judged here and nowhere else. `bound` speaks of the ratio to the floor for `x`, else of the value.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

Sense = Literal["at most", "at least"]


class Row(msgspec.Struct, frozen=True):
    """One line; those without a bound are there to explain others. `words` says the bound to people."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    bound: float | None = None
    met: bool | None = None
    words: str = ""


def info(name: str, value: float, unit: str) -> Row:
    """A figure that nothing depends on."""
    return Row(name, _rounded(value), unit)


def beside(name: str, value: float, unit: str, floor: float) -> Row:
    """A figure with its ratio to another of the same run; neither is bounded."""
    return Row(name, _rounded(value), unit, _rounded(floor), _rounded(value / floor))


def against_floor(name: str, value: float, unit: str, floor: float, bound: float, sense: Sense) -> Row:
    """A figure whose ratio to its floor is bounded."""
    ratio = value / floor
    met = _holds(ratio, bound, sense)
    return Row(name, _rounded(value), unit, _rounded(floor), _rounded(ratio), bound, met, f"{sense} {bound:g} x")


def against_value(name: str, value: float, unit: str, bound: float, sense: Sense, floor: float | None = None) -> Row:
    """A figure that is bounded itself; the floor, where there is one, stands beside it."""
    ratio = None if not floor else _rounded(value / floor)
    met = _holds(value, bound, sense)
    beside = None if floor is None else _rounded(floor)
    return Row(name, _rounded(value), unit, beside, ratio, bound, met, f"{sense} {bound:,g} {unit}")


def _holds(value: float, bound: float, sense: Sense) -> bool:
    return value <= bound if sense == "at most" else value >= bound


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def median(samples: Sequence[float]) -> float:
    """p50."""
    return statistics.median(samples)


def percentile(samples: Sequence[float], percent: int) -> float:
    """The sample that `percent` of all don't exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def table(rows: Sequence[Row]) -> str:
    """For people."""
    cells = [("figure", "value", "floor", "ratio", "to reach", "")]
    for row in rows:
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        cells.append(
            (
                row.name,
                f"{row.value:,g} {row.unit}",
                "" if row.floor is None else f"{row.floor:,g} {row.unit}",
                "" if row.ratio is None else f"{row.ratio:.2f} x",
                row.words,
                verdict,
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def write(rows: Sequence[Row], path: Path) -> None:
    """The list, for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = [{name: member for name, member in msgspec.structs.asdict(row).items() if name != "words"} for row in rows]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
