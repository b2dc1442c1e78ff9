"""Choices: which delegates a task is for, as whoever asks says it.

Promises: selectors of one origin (a task has but the highest level that is filled, and that sets the connectors' own aside), and
a condition that holds besides whatever connectors say. A choice is its selectors, so that a list of them is one too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from shared.condition import canonical
from shared.errors import Malformed
from shared.selectors import ORIGINS, normalise_all

Origin = Literal["step", "stepGroup", "stage", "pipeline"]
TASK_ORIGINS: tuple[Origin, ...] = ("step", "stepGroup", "stage", "pipeline")
assert (*TASK_ORIGINS, "connector") == ORIGINS


class Choice(tuple[str, ...]):  # noqa: SLOT001 (a tuple has no room for slots with content)
    """The selectors, normalised and sorted; `where` is a condition in its canonical form, empty for none."""

    origin: Origin
    where: str

    def __new__(cls, selectors: Iterable[str] = (), origin: str = "step", where: str = "") -> Self:
        """Raises Malformed for what is no selector, origin or condition."""
        made = super().__new__(cls, normalise_all(selectors))
        if origin not in TASK_ORIGINS:
            raise Malformed(
                "origin_unknown", "the origin of the selectors isn't known", f"one of {', '.join(TASK_ORIGINS)}"
            )
        made.origin = origin
        made.where = canonical(where) if where else ""
        return made

    @classmethod
    def of(cls, selectors: Iterable[str]) -> Choice:
        """A choice as it is; other selectors are a step's."""
        return selectors if isinstance(selectors, Choice) else Choice(selectors)
