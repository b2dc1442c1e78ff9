"""What the documentation says of metrics is what there is."""

from __future__ import annotations

from pathlib import Path

import delegate.metrics
import manager.metrics

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def rows() -> set[str]:
    return {line for line in OPERATIONS.read_text().splitlines() if line.startswith("| `privyseal_")}


def test_every_metric_is_in_the_one_table_and_no_other_is() -> None:
    described = {
        f"| `{one.name}` | {one.type} | {', '.join(one.labels) or '-'} | {one.meaning} |"
        for one in (*manager.metrics.table(), *delegate.metrics.table())
    }
    assert rows() == described
