"""The page on references shows those that are understood, and what it says of paths and expressions is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from client.meanings import meaning
from shared.errors import Malformed
from shared.names import Reference, Scope
from shared.references import KINDS, DirectReference, parse

PAGE = Path("docs/references.md").read_text()


def test_the_references_are_those_that_are_understood() -> None:
    shown = re.findall(r"`(\w+://CONNECTOR/[^`]*)`", PAGE)
    assert {one.partition(":")[0] for one in shown} == set(KINDS)
    for text in shown:
        found = parse(text.replace("VERSION", "7"), Scope())
        assert isinstance(found, DirectReference)
        assert f"`{found.kind}`" in PAGE


@pytest.mark.parametrize("path", ["a//b", "a/../b", "./a", "a\\b", "a%2eb", "a?b"])
def test_a_path_that_the_page_calls_refused_is(path: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(f"hashicorpvault://vault1/{path}", Scope())
    assert f"`{caught.value.code}`" in PAGE


def test_the_examples_of_expressions_mean_what_they_say() -> None:
    examples = re.findall(r"reveal \'(<\+.*>)\'", PAGE)
    first, second = (meaning(one, Scope(), {"env.name": "prod"}) for one in examples)
    assert first == Reference(Scope(), "db_prod")
    assert isinstance(second, DirectReference)
    assert second.reference == "prod/db#password"
