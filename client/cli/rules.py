"""Rules: what the manager says of each delegate, as rows of a table. Its word may be anything: what isn't a row is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULES = [
    ("DELEGATE", "name"),
    ("VERDICT", "verdict"),
    ("RULE", "rule"),
    ("ANSWER", "answer"),
    ("CODE", "code"),
    ("WHY", "detail"),
    ("REMEDY", "remedy"),
]
"""(title, key) of each column."""

REFUSALS = [one for one in RULES if one[1] not in {"verdict", "answer"}]
"""Where only what failed is shown."""


def rows_of(delegates: object, *, failing: bool = False) -> list[dict[str, Any]]:
    """A row for each rule of each delegate, or for the `failing` ones alone."""
    return [
        {**rule, "answer": rule.get("verdict"), "name": _name(one), "verdict": one.get("verdict")}
        for one in those(delegates)
        for rule in those(one.get("rules"))
        if not failing or rule.get("verdict") == "fail"
    ]


def those(told: object) -> list[Mapping[str, Any]]:
    """The objects of what should be a list of them."""
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def _name(one: Mapping[str, Any]) -> object:
    name = one.get("name") or one.get("delegate")
    return f"{name} ({one['group']})" if one.get("group") else name
