"""YAML that is shown: nothing in it moves the cursor, turns text around or can't be seen, and it is read as what was written."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from client.cli.output import Output
from client.descriptions import yaml_of
from client.secret_descriptions import secret_yaml
from client.template_descriptions import template_yaml
from client.yaml_texts import yaml_text

UNSEEN = "if true; then # \u202e } \u2066 a\u200b\u00ad\u061c\x9b2J\x1b[2J\U000e0041\u2028\x85\t\ufeff\r"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [UNSEEN, "a\nb \n", "null", "- x"]
)


@pytest.mark.parametrize("write", [template_yaml, yaml_of, secret_yaml])
def test_a_script_that_shows_another_than_it_runs_is_seen_through(write: Any) -> None:
    written = write({"name": UNSEEN, UNSEEN: ["x\n" + UNSEEN + "\n"]})
    assert all(one.isprintable() or one == "\n" for one in written)
    (body,) = yaml.safe_load(written).values()
    assert body == {"name": UNSEEN, UNSEEN: ["x\n" + UNSEEN + "\n"]}


def test_output_as_yaml_shows_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    Output("yaml", False).data({"name": UNSEEN})
    printed = capsys.readouterr().out
    assert all(one.isprintable() or one == "\n" for one in printed)
    assert yaml.safe_load(printed) == {"name": UNSEEN}


def test_a_script_of_several_lines_keeps_them() -> None:
    assert yaml_text({"script": "a=1\nb=é\n"}, literal=True) == "script: |\n  a=1\n  b=é\n"


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=3), max_size=4), st.booleans())
def test_every_text_is_read_as_what_was_written(value: dict[str, Any], literal: bool) -> None:
    written = yaml_text(value, literal=literal)
    assert all(one.isprintable() or one == "\n" for one in written)
    assert yaml.safe_load(written) == value
