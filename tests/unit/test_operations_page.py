"""What the documentation says of metrics, health and log lines is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import delegate.metrics
import manager.metrics
from delegate.metrics import DelegateMetrics
from manager.metrics import ManagerMetrics
from shared.logs import KEYS

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def cells(prefix: str) -> list[list[str]]:
    lines = OPERATIONS.read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith(prefix)]


def test_every_metric_is_in_the_one_table_and_no_other_is() -> None:
    described = [
        [f"`{one.name}`", one.type, ", ".join(one.labels) or "-", one.meaning, process, one.alarm or "-"]
        for process, table in (("manager", manager.metrics.table()), ("delegate", delegate.metrics.table()))
        for one in table
    ]
    assert cells("| `privyseal_") == described


def test_the_table_is_what_the_programs_expose() -> None:
    exposed = {
        (metric.name + ("_total" if metric.type == "counter" else ""), metric.type, metric.documentation)
        for figures in (ManagerMetrics("1"), DelegateMetrics("1"))
        for metric in figures.registry.collect()
    }
    assert {(name.strip("`"), kind, meaning) for name, kind, _, meaning, _, _ in cells("| `privyseal_")} == exposed


def test_every_key_of_a_tasks_line_is_one_that_a_line_may_carry() -> None:
    text = OPERATIONS.read_text()
    table = text[text.index("| key | manager | delegate |") : text.index("It is no audit")]
    keys = {key for row in table.splitlines()[2:] if row for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert len(keys) > 12
    assert keys <= KEYS
