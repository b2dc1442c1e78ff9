"""Options of usage: what a task is for, and what a secret or a grant is to be for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from shared.documents.usage import TaskUsage, Usage
from shared.errors import Malformed

F = TypeVar("F", bound=Callable[..., Any])


def stating(command: F) -> F:
    """The options by which a task states what it is for."""
    application = click.option("--application", metavar="NAME", help="what it is for, where secrets are for some")
    environment = click.option("--environment", metavar="NAME", help="the same of environments")
    return application(environment(command))


def stated(application: str | None, environment: str | None) -> TaskUsage | None:
    """What the options state. Raises Malformed."""
    given = {"application": application, "environment": environment}
    return _read({name: text for name, text in given.items() if text is not None}, TaskUsage)


def labels(applications: Sequence[str], environments: Sequence[str]) -> Usage | None:
    """Labels in any order. Raises Malformed."""
    given = {"applications": sorted(set(applications)), "environments": sorted(set(environments))}
    return _read({name: some for name, some in given.items() if some}, Usage)


def shown(usage: Usage | None) -> dict[str, list[str]]:
    """What something is for, as it is printed; empty lists mean anything."""
    return {
        "applications": list(usage.applications) if usage else [],
        "environments": list(usage.environments) if usage else [],
    }


S = TypeVar("S", TaskUsage, Usage)


def _read(given: dict[str, Any], form: type[S]) -> S | None:
    import msgspec

    if not given:
        return None
    try:
        return msgspec.convert(given, form)
    except msgspec.ValidationError:
        raise Malformed(
            "usage_malformed",
            "an application or environment isn't written as one can be",
            "letters, digits and _ . -, beginning with none of the last two; at most 128 of them, and 64 labels",
        ) from None
