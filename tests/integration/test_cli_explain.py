"""`delegate explain` and `task explain` as they are typed."""

from __future__ import annotations

import pytest

from tests.integration.installation import Installation


def digest_of(installation: Installation, op: str, before: set[str]) -> str:
    """The new task of that kind."""
    found = installation.ok("task", "list", "-o", "json").json
    (task,) = [one["task"] for one in found if one["op"] == op and one["task"] not in before]
    return str(task)


def known(installation: Installation) -> set[str]:
    return {one["task"] for one in installation.ok("task", "list", "-o", "json").json}


def test_a_dry_run_names_the_winner_and_every_rule_of_everybody(installation: Installation) -> None:
    asked = ["delegate", "explain", "--connector", "account.local", "--op", "store", "--delegate", "A"]
    told = installation.ok(*asked, "-o", "json").json
    assert (told["winner"]["name"], told["certified"], told["wanted"]["selectors"]) == ("a", "yes", ["a"])
    assert {one["name"]: one["verdict"] for one in told["delegates"]} == {"a": "winner", "b": "refused"}
    shown = installation.ok(*asked).out.decode()
    assert "the only one that can take it now" in shown
    (row,) = [line.split() for line in shown.splitlines() if "selectors_missing" in line]
    assert row[:5] == ["b", "refused", "selectors", "fail", "selectors_missing"]
    before = known(installation)
    installation.ok("secret", "set", "account.explained", "--from-stdin", "--delegate", "A", given=b"x")
    done = installation.ok("task", "explain", digest_of(installation, "store", before), "-o", "json").json
    assert done["delegate"] == told["winner"]["delegate"]


def test_a_dry_run_in_which_nobody_fits_says_so(installation: Installation) -> None:
    asked = ["delegate", "explain", "--connector", "account.local", "--where", "zone:a and not zone:a"]
    assert "nobody can take it" in installation.ok(*asked).out.decode()
    assert "nobody can take it" in installation.ok(*asked, "--op", "exec").out.decode()


def test_a_task_is_explained_also_where_nobody_took_it(installation: Installation) -> None:
    installation.ok("secret", "set", "account.unrouted", "--from-stdin", given=b"x")
    before = known(installation)
    assert installation.run("reveal", "account.unrouted", "--delegate", "nowhere").status == 7
    task = digest_of(installation, "reveal", before)
    shown = installation.ok("task", "explain", task).out.decode()
    (row,) = [line for line in shown.splitlines() if "passed over" in line]
    assert "a, b" in row and "selectors_missing" in row and "--tags nowhere" in row
    told = installation.ok("task", "explain", task, "--output", "json").json
    assert [step["what"] for step in told["steps"]] == ["refused"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["delegate", "explain"], 2),
        (["delegate", "explain", "--connector", "account.local", "--op", "dance"], 2),
        (["delegate", "explain", "--connector", "account.local", "--scope", "org/"], 2),
        (["delegate", "explain", "--connector", "account.absent"], 5),
        (["task", "explain", "A" * 43], 5),
    ],
)
def test_what_cannot_be_explained_says_why(installation: Installation, words: list[str], status: int) -> None:
    assert installation.run(*words).status == status


@pytest.mark.parametrize("digest", ["-O" + "A" * 41, "-o" + "A" * 41, "--" + "A" * 41])
@pytest.mark.parametrize("command", ["show", "explain", "cancel"])
def test_a_task_whose_digest_begins_with_a_dash_is_no_option(
    installation: Installation, command: str, digest: str
) -> None:
    assert installation.run("task", command, digest, "-o", "json").problem["code"] == "task_not_found"
