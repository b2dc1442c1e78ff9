"""Choices: which delegates a task is for, said once and signed as it was said."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from client.choice import TASK_ORIGINS, Choice
from client.cli.delegates import choosing
from client.cli.main import cli
from shared.errors import Malformed


def test_a_choice_is_its_selectors_normalised_and_once_each() -> None:
    made = Choice([" Zone:B", "zone:b", "EU"], "pipeline", "NOT(Test)")
    assert list(made) == ["eu", "zone:b"]
    assert (made.origin, made.where) == ("pipeline", "not test")


def test_nothing_chosen_is_any_delegate() -> None:
    assert not Choice()
    assert (Choice().origin, Choice().where) == ("step", "")
    # A condition alone leaves the connectors' own selectors as they are.
    assert not Choice(where="eu")


def test_a_choice_stays_itself_and_other_selectors_are_a_steps() -> None:
    made = Choice(["a"], "stage", "b")
    assert Choice.of(made) is made
    plain = Choice.of(["B", "a"])
    assert (plain, plain.origin, plain.where) == (("a", "b"), "step", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((["a b"],), "selector_malformed"),
        (([f"a{at}" for at in range(65)],), "selectors_too_many"),
        (([], "connector"), "origin_unknown"),
        (([], "Step"), "origin_unknown"),
        (([], "step", "a and"), "condition_malformed"),
        (([], "step", " "), "condition_malformed"),
        (([], "step", "and".join(["(" + "a" * 22 + " or b)"] * 31)), "condition_malformed"),
    ],
)
def test_what_no_task_could_say_is_refused(arguments: Any, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        Choice(*arguments)
    assert caught.value.code == code


# ---- the options


def typed(*words: str) -> Choice:
    """What a command is given for these words. Raises the command's error."""
    given: list[Choice] = []

    @click.command()
    @choosing
    @click.argument("name", default="")
    def command(delegates: Choice, name: str) -> None:
        """Something for a delegate."""
        given.append(delegates)

    assert command.help == "Something for a delegate."
    told = CliRunner().invoke(command, list(words), catch_exceptions=False)
    if told.exit_code:
        raise click.ClickException(told.output)
    (one,) = given
    return one


def test_a_command_is_told_which_delegates_in_three_options() -> None:
    made = typed("--delegate", "EU", "--delegate", "zone:a", "--delegate-origin", "stage", "--where", "NOT (test)", "x")
    assert isinstance(made, Choice)
    assert (made, made.origin, made.where) == (("eu", "zone:a"), "stage", "not test")
    plain = typed("x")
    assert (plain, plain.origin, plain.where) == ((), "step", "")


@pytest.mark.parametrize("origin", TASK_ORIGINS)
def test_every_origin_of_a_task_can_be_typed(origin: str) -> None:
    assert typed("--delegate", "eu", "--delegate-origin", origin).origin == origin


def test_a_connectors_origin_cannot_be_typed() -> None:
    with pytest.raises(click.ClickException, match="'connector' is not one of"):
        typed("--delegate-origin", "connector")


def test_a_condition_that_is_none_is_told_where() -> None:
    with pytest.raises(Malformed, match="needs a tag, not or \\( at 7"):
        typed("--where", "eu and")


@pytest.mark.parametrize(
    "command",
    [
        "reveal",
        "exec",
        "secret set",
        "secret test",
        "secret delete",
        "secret reveal",
        "connector test",
        "template test",
    ],
)
def test_every_command_for_a_delegate_takes_them(command: str) -> None:
    told = CliRunner().invoke(cli, [*command.split(), "--help"])
    assert told.exit_code == 0
    for option in ("--delegate ", "--delegate-origin", "--where"):
        assert option in told.output
