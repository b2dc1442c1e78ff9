"""`--delegate`, `--delegate-origin`, `--where`: which delegates a task is for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from client.choice import TASK_ORIGINS, Choice

F = TypeVar("F", bound=Callable[..., Any])


def choosing(command: F) -> F:
    """The options by which a command is told which delegates it is for; it gets a `Choice` as `delegates`."""

    @wraps(command)
    def chosen(*arguments: Any, delegates: tuple[str, ...], delegate_origin: str, where: str, **others: Any) -> Any:
        return command(*arguments, delegates=Choice(delegates, delegate_origin, where), **others)

    options = (
        click.option(
            "--delegate", "delegates", multiple=True, metavar="SELECTOR", help="a delegate with this selector"
        ),
        click.option(
            "--delegate-origin",
            type=click.Choice(TASK_ORIGINS),
            default="step",
            show_default=True,
            help="where these selectors come from; any of them sets the connectors' own aside",
        ),
        click.option("--where", default="", metavar="CONDITION", help="as in: region=eu and not tier=test"),
    )
    made: Callable[..., Any] = chosen
    for option in reversed(options):
        made = option(made)
    return cast(F, made)
