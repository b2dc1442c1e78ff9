"""docs/cli.md is the command line as it is, and every command that a page prints can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from client.cli.help import exit_codes
from client.cli.main import cli
from client.cli.session import Session
from shared.documents.fields import Permission
from tests.architecture.source import ROOT

PAGE = ROOT / "docs" / "cli.md"
PAGES = [ROOT / "README.md", ROOT / "docs" / "operations.md", PAGE]
ROW = re.compile(r"^\| `(privyseal [^`]+)` \| (.+) \| `(.+)` \|$", re.MULTILINE)


def leaves(command: click.Command, context: click.Context, path: str) -> Iterator[str]:
    """Every command that does something, as it is typed."""
    if not isinstance(command, click.Group):
        yield path
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, click.Context(below, parent=context, info_name=name), f"{path} {name}")


def parse(words: list[str]) -> click.Command:
    """Parses a command without running it. Raises click's errors."""
    command, context = cli, cli.make_context("privyseal", list(words), obj=Session())
    found: click.Command = command
    while isinstance(found, click.Group):
        rest = [*context._protected_args, *context.args]
        name, below, rest = found.resolve_command(context, rest)
        assert below is not None and name is not None
        found, context = below, below.make_context(name, rest, parent=context)
    return found


def calls(line: str) -> Iterator[list[str]]:
    """The calls of privyseal in a line of shell."""
    line = line.removeprefix("$ ").replace('eval "$(privyseal completion bash)"', "privyseal completion bash")
    parts: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    yield from (part[1:] for part in parts if part and part[0] == "privyseal")


def shell_lines(page: Path) -> Iterator[str]:
    """Lines of the page's blocks that begin as a command does."""
    for block in re.findall(r"^```(?:sh)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if re.match(r"(\$ )?(echo .*\| *)?privyseal ", line))


def test_every_command_is_on_the_page_once_and_no_other_is() -> None:
    documented = [command for command, _, _ in ROW.findall(PAGE.read_text())]
    assert sorted(documented) == sorted(leaves(cli, click.Context(cli), "privyseal"))


def test_every_example_is_of_its_own_command_and_can_be_typed() -> None:
    for command, _, example in ROW.findall(PAGE.read_text()):
        (words,) = calls(example.replace("\\|", "|"))
        assert words[: len(command.split()) - 1] == command.split()[1:], example
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_every_command_that_a_page_prints_can_be_typed(page: Path) -> None:
    lines = [line for line in shell_lines(page) if "[OPTIONS]" not in line]
    for line in lines:
        for words in calls(line):
            parse(words)
    assert page != PAGES[0] or len(lines) > 5


def test_an_option_that_is_not_there_is_seen() -> None:
    with pytest.raises(click.NoSuchOption):
        parse(["secret", "list", "--everything"])


def test_the_exit_codes_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| (\d+) \| (\S+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(str(status), name or "-", meaning) for status, name, meaning in exit_codes()]


def test_the_permissions_on_the_page_are_all_that_there_are() -> None:
    (told,) = re.findall(r"^Permissions: (.+?)\. A grant", PAGE.read_text(), re.MULTILINE)
    assert re.findall(r"`(\w+)`", told) == [
        "view",
        "use",
        "reveal",
        "fetch",
        "edit",
        "delete",
        "exec",
        "renew",
        "admin",
    ]
    assert set(re.findall(r"`(\w+)`", told)) == set(get_args(Permission))


def test_the_global_options_are_on_the_page() -> None:
    text = PAGE.read_text()
    for option in cli.params:
        for name in option.opts:
            assert f"`{name}" in text
        if isinstance(option, click.Option) and isinstance(option.envvar, str):
            assert f"`{option.envvar}`" in text
