"""`--env`, `--directory`, `--timeout`: how a command runs on its delegate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def running(how_long: str) -> Callable[[F], F]:
    """The options, which give `plain`, `directory` and `timeout`; `how_long` is what the help says of the last."""
    env = click.option(
        "--env", "plain", multiple=True, metavar="NAME=VALUE", help="another variable: no secret, sealed all the same"
    )
    directory = click.option(
        "--directory",
        default="",
        metavar="DIR",
        help="where it runs on the delegate; by default an empty folder of its own",
    )
    timeout = click.option(
        "--timeout",
        type=click.IntRange(1, 86_400),
        default=600,
        show_default=True,
        metavar="SECONDS",
        help=how_long,
    )
    return lambda command: env(directory(timeout(command)))
