"""What is printed: aligned for people, whole for programs, and never able to move the cursor."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from client.cli.output import Output, moment, plain
from shared.errors import Malformed, NotReady

ROWS: list[dict[str, Any]] = [
    {"name": "a", "scope": "org/acme", "extra": 1},
    {"name": "longer", "scope": None, "extra": [1, 2]},
]
COLUMNS = [("NAME", "name"), ("SCOPE", "scope")]


def test_people_get_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table", False).table(COLUMNS, ROWS)
    assert capsys.readouterr().out.splitlines() == ["NAME    SCOPE", "a       org/acme", "longer  -"]


def test_programs_get_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json", False).table(COLUMNS, ROWS)
    assert json.loads(capsys.readouterr().out) == ROWS
    Output("yaml", False).table(COLUMNS, ROWS)
    assert yaml.safe_load(capsys.readouterr().out) == ROWS


def test_nothing_is_said_about_an_empty_table_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table", False).table(COLUMNS, [], "nothing here")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "nothing here\n")


def test_a_claim_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table", False).record({"name": "\x1b[2Jgone\r\n", "list": ["one", "t\two"]})
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert printed.splitlines()[0] == "name  ?[2Jgone??"


def test_an_error_names_each_delegate_and_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    why = NotReady(
        "no_delegate",
        "no delegate can take the task",
        "start one",
        delegates=[{"name": "a", "reasons": [{"code": "x", "detail": "it lacks zone:b"}, {"code": "busy"}]}],
    )
    Output("table", True).error(why)
    assert capsys.readouterr().err.splitlines() == [
        "error: no delegate can take the task",
        "  a: it lacks zone:b; busy",
        "hint: start one",
    ]
    Output("json", True).error(why)
    assert json.loads(capsys.readouterr().err)["code"] == "no_delegate"


@pytest.mark.parametrize(
    "delegates", [[{"name": "a", "reasons": 1}], [{"name": "a", "reasons": [2, None]}], [3], {}, 4]
)
def test_an_error_with_senseless_reasons_is_printed_all_the_same(
    delegates: object, capsys: pytest.CaptureFixture[str]
) -> None:
    why = NotReady("no_delegate", "no delegate can take the task", "start one", delegates=delegates)
    Output("table", True).error(why)
    assert capsys.readouterr().err.startswith("error: no delegate can take the task\n")


def test_an_error_with_endlessly_nested_facts_is_printed_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    why = NotReady("no_delegate", "no delegate can take the task", delegates=[{"name": nested}])
    Output("table", True).error(why)
    assert "error: no delegate" in capsys.readouterr().err
    Output("json", True).error(why)
    assert json.loads(capsys.readouterr().err)["code"] == "no_delegate"


@pytest.mark.parametrize("control", ["\x1b[2J", "\x9b2J", "\x7f", "\u202e", "\u2028"])
def test_no_form_of_output_lets_a_control_character_through(control: str, capsys: pytest.CaptureFixture[str]) -> None:
    json_out, text = Output("json", False), Output("table", False)
    json_out.data({"name": control})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": control}
    json_out.error(NotReady("code", control))
    text.note(control)
    text.warning(control)
    text.done(control)
    text.error(NotReady("code", control, control))
    captured = capsys.readouterr()
    for one in control:
        if not one.isprintable():
            assert one not in printed + captured.out + captured.err


def test_an_error_lists_what_else_is_wrong_and_what_stands_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table", False).error(Malformed("a", "first", "mend", problems=["second", "third\x1b"]))
    Output("table", False).error(Malformed("a", "used", secrets=["account.x"], problems="no list"))
    assert capsys.readouterr().err == "error: first\n  second\n  third?\nhint: mend\nerror: used\n  account.x\n"


def test_quiet_leaves_out_remarks_but_not_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output("table", True)
    out.note("remark")
    out.done("done")
    out.warning("careful")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "warning: careful\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), ("", "-"), (True, "yes"), ([], "-"), ([1, "a"], "1, a"), ({"a": None}, "a=-"), (0, "0")],
)
def test_a_cell_is_one_line(value: object, shown: str) -> None:
    assert plain(value) == shown


def test_a_moment_is_in_utc() -> None:
    assert moment(1_800_000_000) == "2027-01-15 08:00:00Z"
    assert moment(None) == moment(0) == moment("x") == moment(2**60) == "-"
