"""`--wait-for-delegate`, `--priority`: what becomes of a task that no delegate can take now, and how urgent it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from client.cli.session import session
from client.patience import LONGEST_SECONDS, Patience
from shared.errors import Malformed
from shared.task import PRIORITIES

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

_priority = click.option(
    "--priority",
    type=click.Choice(PRIORITIES),
    default="normal",
    show_default=True,
    help="how the manager serves it among tasks that wait",
)
_wait = click.option(
    "--wait-for-delegate",
    metavar="TIME",
    help="where none can take the task, the manager keeps it so long, at most 1d, and this command waits",
)
_detach = click.option(
    "--detach",
    is_flag=True,
    help="don't wait here for a delegate: done when the manager keeps the task, by default for 1d",
)


def urgent(command: F) -> F:
    """The option by which a command says how urgent its task is."""

    @wraps(command)
    def told(context: click.Context, *arguments: Any, priority: Any, **others: Any) -> Any:
        session(context).patience = Patience(priority=priority)
        return command(context, *arguments, **others)

    return cast(F, _priority(told))


def waiting(command: F) -> F:
    """The options by which a command's task may wait for a delegate."""

    @wraps(command)
    def told(
        context: click.Context, *arguments: Any, wait_for_delegate: str | None, priority: Any, **others: Any
    ) -> Any:
        session(context).patience = Patience(_seconds(wait_for_delegate), priority)
        return command(context, *arguments, **others)

    return cast(F, _wait(_priority(told)))


def detaching(command: F) -> F:
    """Besides `waiting`: the option by which it is handed over to the manager."""

    @wraps(command)
    def told(context: click.Context, *arguments: Any, detach: bool, **others: Any) -> Any:
        run = session(context)
        if detach:
            run.patience = Patience(run.patience.seconds or LONGEST_SECONDS, run.patience.priority, True)
        return command(context, *arguments, **others)

    return waiting(cast(F, _detach(told)))


def _seconds(text: str | None) -> int:
    if text is None:
        return 0
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise Malformed(
            "time_malformed",
            "--wait-for-delegate is no time up to a day",
            "write --wait-for-delegate 90s, 15m, 6h or 1d",
        )
    return seconds
