"""Inputs of secrets at custom secret managers: from options, or asked for one by one.

They are no secrets: what a script is told of where a value lies. Must not take a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from client.cli.prompts import interruptible
from shared.errors import Malformed

if TYPE_CHECKING:
    from shared.template_inputs import Asked


def given_inputs(texts: Sequence[str]) -> dict[str, str]:
    """What stands in NAME=VALUE options. Raises Malformed, without repeating them."""
    found: dict[str, str] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark:
            raise Malformed("input_malformed", "an input is written NAME=VALUE", "--input path=a/b")
        if name in found:
            raise Malformed("input_doubled", "two inputs have one name", "give each once")
        found[name] = value
    return found


def ask_inputs(wanted: Sequence[Asked]) -> dict[str, str]:
    """What is typed for each; one with a default may be left empty, and is then not said."""
    found: dict[str, str] = {}
    with interruptible():
        for one in wanted:
            shown = "" if one.default is None else " (empty: the connector's)"
            text: str = click.prompt(
                f"{one.name}{shown}", default=None if one.default is None else "", show_default=False, err=True
            )
            if text or one.default is None:
                found[one.name] = text
    return found
