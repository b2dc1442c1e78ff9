"""Selectors: the tags by which a task finds its delegate.

Both sides are trimmed and lower-cased; a delegate must own every effective selector; only the highest filled level of
origin counts (step, step group, stage, pipeline, then the connector's own); none means any delegate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.errors import Malformed

ORIGINS = ("step", "stepGroup", "stage", "pipeline", "connector")
"""Where a selector can be set, the strongest first."""

SELECTOR = r"^[0-9a-z_.:=/@+\-]{1,128}$(?!\n)"
MAXIMUM = 64
"""Selectors that one task or delegate may carry."""

_selector = re.compile(SELECTOR)


def normalise(text: str) -> str:
    """One selector, trimmed and lower-cased. Raises Malformed."""
    # Some letters outside of ASCII have their lower-case form within it: two spellings would mean one thing.
    selector = text.strip().lower() if text.isascii() else ""
    if not _selector.match(selector):
        raise Malformed(
            "selector_malformed",
            "a selector is malformed",
            "a selector has 1 to 128 letters, digits and the characters _ . : = / @ + -",
        )
    return selector


def normalise_all(texts: Iterable[str]) -> tuple[str, ...]:
    """Selectors normalised, without doubles, sorted. Raises Malformed, also for more than `MAXIMUM`."""
    selectors = tuple(sorted({normalise(text) for text in texts}))
    if len(selectors) > MAXIMUM:
        raise Malformed("selectors_too_many", f"more than {MAXIMUM} selectors are given", "use fewer selectors")
    return selectors


def effective(of_task: Iterable[tuple[str, str]], of_connectors: Iterable[str]) -> frozenset[str]:
    """The selectors that count: `of_task` are (selector, origin) pairs, `of_connectors` those of all connectors used."""
    levels: dict[str, set[str]] = {"connector": set(of_connectors)}
    for selector, origin in of_task:
        levels.setdefault(origin, set()).add(selector)
    for origin in ORIGINS:
        if levels.get(origin):
            return frozenset(levels[origin])
    return frozenset()


def missing(wanted: Iterable[str], owned: Iterable[str]) -> tuple[str, ...]:
    """The selectors that the owner lacks, sorted; empty when he has them all."""
    return tuple(sorted(set(wanted) - set(owned)))
