"""`--var`: the variables of expressions in references, such as `env.name` in <+secrets.getValue("db_" + <+env.name>)>."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from shared.errors import Malformed

F = TypeVar("F", bound=Callable[..., Any])
_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_]*(\.[A-Za-z_][0-9A-Za-z_]*)*\Z")


def varying(command: F) -> F:
    """The option by which a command is told what its expressions' variables are."""
    return click.option(
        "--var", "variables", multiple=True, metavar="NAME=VALUE", help="a variable of expressions in references"
    )(command)


def variables_of(given: tuple[str, ...]) -> dict[str, str]:
    """What the options say. Raises Malformed."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.match(name):
            raise Malformed("argument_malformed", "--var is not what it must be", "write --var env.name=VALUE")
        if name in found:
            raise Malformed("argument_malformed", f"--var gives {name} twice", "give each name once")
        found[name] = value
    return found
