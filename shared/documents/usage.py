"""Usage: which applications and environments something is for, and which of them a task states.

Promises: labels only narrow. What is for some of them is for no task that states another or none; what a task states has to
be covered by its signer's grant. A label is a word of the account's own: nothing proves that a task belongs to it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.errors import Denied

LABEL = r"^[0-9A-Za-z_][0-9A-Za-z_.\-]{0,127}$(?!\n)"
Label = Annotated[str, Meta(pattern=LABEL)]
Labels = Annotated[tuple[Label, ...], Meta(max_length=64)]
"""In order, each once; none means any."""


class Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a secret, a connector or a grant is for; without one, for anything."""

    applications: Labels = ()
    environments: Labels = ()

    def __post_init__(self) -> None:
        if not self.applications and not self.environments:
            raise ValueError("Expected an application or an environment")
        for labels in (self.applications, self.environments):
            if list(labels) != sorted(set(labels)):
                raise ValueError("Expected labels in order, each once")


class TaskUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a task says that it is for."""

    application: Label | None = None
    environment: Label | None = None

    def __post_init__(self) -> None:
        if self.application is None and self.environment is None:
            raise ValueError("Expected an application or an environment")


def check_usage(usage: Usage | None, stated: TaskUsage | None, what: str) -> None:
    """Raises Denied (`usage_missing`, `usage_other`) where a task states nothing, or something else, of what `what` is for."""
    if usage is None:
        return
    for name, said, allowed in _both(usage, stated):
        if not allowed or said in allowed:
            continue
        code, how = ("usage_missing", "no") if said is None else ("usage_other", "another")
        raise Denied(
            code,
            f"{what} is for the {name} {' or '.join(allowed)}, and the task states {how} {name}",
            f"state it, where it is so: --{name}",
            allowed=list(allowed),
        )


def covers(usage: Usage | None, stated: TaskUsage | None) -> bool:
    """Whether a grant for `usage` carries what states that; what states nothing is covered by a grant for anything alone."""
    return all(not allowed or said in allowed for _, said, allowed in _both(usage, stated))


def lies_within(inner: Usage | None, outer: Usage | None) -> bool:
    """Whether `inner` allows nothing that `outer` doesn't."""
    if outer is None or inner is None:
        return outer is None
    pairs = ((inner.applications, outer.applications), (inner.environments, outer.environments))
    return all(not above or (below and set(below) <= set(above)) for below, above in pairs)


def _both(usage: Usage | None, stated: TaskUsage | None) -> tuple[tuple[str, str | None, tuple[str, ...]], ...]:
    """Name, what is stated, what is allowed; for each of the two."""
    return (
        ("application", stated.application if stated else None, usage.applications if usage else ()),
        ("environment", stated.environment if stated else None, usage.environments if usage else ()),
    )
