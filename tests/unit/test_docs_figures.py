"""The page on figures has every figure that the bench measures, each with the bounds that the bench holds it to."""

from __future__ import annotations

import ast
import inspect
import re
import sys

from tests.architecture.source import ROOT
from tests.bench.__main__ import FIGURES

PAGE = (ROOT / "docs" / "figures.md").read_text()
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| figure")]


def test_every_figure_stands_on_the_page_and_none_that_there_is_not() -> None:
    assert {name for row in ROWS for name in re.findall(r"`(\w+)`", row[1])} == set(FIGURES)


def test_every_bound_stands_beside_its_figure() -> None:
    missing = []
    for name, figure in FIGURES.items():
        (row,) = (row for row in ROWS if f"`{name}`" in row[1])
        numbers = {float(one.replace(",", "")) for one in re.findall(r"[\d.,]*\d", row[-1].replace("half", "0.5"))}
        missing += [(name, bound) for bound in _bounds(figure.__module__) if bound not in numbers]
    # What AWS KMS is held to stands with the kinds.
    assert [one for one in missing if one[0] != "aws_kms"] == []


def _bounds(module: str) -> list[float]:
    """The numbers that are given to `report.against_value` and `report.against_floor`."""
    calls = (one for one in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))) if isinstance(one, ast.Call))
    return [
        float(argument.value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in {"against_value", "against_floor"}
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int | float)
    ]
