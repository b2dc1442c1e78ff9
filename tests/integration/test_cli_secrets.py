"""Secrets on the command line: set, revealed, listed and deleted through real processes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.integration.installation import Installation


@pytest.mark.parametrize("value", [b"x", b"correct horse\n", bytes(range(256)), "käse ✓".encode(), os.urandom(100_000)])
def test_a_value_comes_back_byte_for_byte(installation: Installation, value: bytes) -> None:
    name = f"account.exact_{len(value)}"
    installation.ok("secret", "set", name, "--from-stdin", given=value)
    assert installation.ok("reveal", name).out == value
    assert installation.ok("secret", "reveal", name, "--delegate", "zone:b").out == value


def test_the_main_job_works_with_the_processes_that_people_start(installation: Installation) -> None:
    stored = installation.process("secret", "set", "account.main_job", "--from-stdin", given=b"hunter2")
    assert (stored.status, stored.err) == (0, "")
    revealed = installation.process("reveal", "account.main_job")
    assert (revealed.status, revealed.out, revealed.err) == (0, b"hunter2", "")


def test_setting_again_makes_a_version_and_older_ones_stay(installation: Installation) -> None:
    for n, value in enumerate((b"one", b"two", b"three"), 1):
        assert installation.data("secret", "set", "account.again", "--from-stdin", given=value)["version"] == n
    assert installation.ok("reveal", "account.again").out == b"three"
    assert installation.ok("reveal", "account.again", "--version", "1").out == b"one"
    versions = installation.data("secret", "versions", "account.again")
    assert [one["n"] for one in versions] == [1, 2, 3]
    missing = installation.run("reveal", "account.again", "--version", "9")
    assert (missing.status, missing.out) == (5, b"")


def test_a_file_keeps_its_name_and_type_and_is_written_privately(installation: Installation, tmp_path: Path) -> None:
    source, target = tmp_path / "server.pem", tmp_path / "copy.pem"
    source.write_bytes(os.urandom(2_000_000))
    shown = installation.data("secret", "set", "account.pem", "--file", str(source))
    assert (shown["type"], shown["filename"]) == ("SecretFile", "server.pem")
    installation.ok("reveal", "account.pem", "--out", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_ten_megabytes_are_stored_and_a_byte_more_is_refused_before_anything_is_sent(
    installation: Installation, tmp_path: Path
) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(10_000_000))
    installation.ok("secret", "set", "account.big", "--file", str(path))
    assert installation.ok("reveal", "account.big").out == path.read_bytes()
    with path.open("ab") as file:
        file.write(b"x")
    before = len(installation.data("task", "list", "--limit", "1000"))
    for arguments, given in ((["--file", str(path)], b""), (["--from-stdin"], path.read_bytes())):
        refused = installation.run("secret", "set", "account.bigger", *arguments, given=given)
        assert refused.status == 2
        assert "10 MB" in refused.err
    assert len(installation.data("task", "list", "--limit", "1000")) == before


def test_a_value_in_the_arguments_is_refused_and_not_repeated(installation: Installation) -> None:
    refused = installation.run("secret", "set", "account.argv", "correct-horse-battery")
    assert refused.status == 2
    assert "--from-stdin" in refused.err
    assert "correct-horse" not in refused.err
    for arguments in (["--value", "correct-horse"], ["--value=correct-horse"]):
        refused = installation.run("secret", "set", "account.argv", *arguments)
        assert refused.status == 2
        assert "correct-horse" not in refused.err
    assert installation.run("reveal", "account.argv").status == 5


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("acount.x", 2),
        ("org.x", 2),
        ("account.", 2),
        ("account.a-b", 2),
        ("<+secrets.get(x)>", 2),
        ("account.nowhere", 5),
    ],
)
def test_a_reference_that_means_nothing_is_told(installation: Installation, reference: str, status: int) -> None:
    refused = installation.run("reveal", reference)
    assert (refused.status, refused.out) == (status, b"")
    assert refused.err.startswith("error: ")
    assert "hint: " in refused.err


def test_scopes_keep_names_apart_and_references_reach_upwards(installation: Installation) -> None:
    installation.ok("org", "create", "apart")
    installation.ok("project", "create", "inner", "--org", "apart")
    inner = ("--org", "apart", "--project", "inner")
    for reference, value in (("account.apart", b"top"), ("org.apart", b"middle"), ("apart", b"bottom")):
        installation.ok("secret", "set", reference, "--from-stdin", *inner, given=value)
    revealed = installation.data("reveal", "account.apart", "org.apart", "apart", *inner)
    assert [one["value"] for one in revealed] == ["top", "middle", "bottom"]
    expression = installation.ok("reveal", '<+secrets.getValue("org.apart")>', *inner)
    assert expression.out == b"middle"
    here = installation.data("secret", "list", *inner)
    assert [one["scope"] for one in here] == ["org/apart/project/inner"]
    everywhere = installation.data("secret", "list", "--all")
    assert {"account", "org/apart", "org/apart/project/inner"} <= {
        one["scope"] for one in everywhere if one["identifier"] == "apart"
    }


def test_several_references_come_as_lines_and_a_missing_one_is_an_error_beside_them(
    installation: Installation,
) -> None:
    for name in ("line_a", "line_b"):
        installation.ok("secret", "set", f"account.{name}", "--from-stdin", given=name.encode())
    result = installation.run("reveal", "account.line_a", "account.nowhere", "account.line_b")
    assert result.status == 5
    assert result.out == b"account.line_a\tline_a\naccount.line_b\tline_b\n"
    assert result.err.count("error: ") == 1


def test_what_is_known_of_a_secret_is_shown_without_its_value(installation: Installation) -> None:
    arguments = ("--description", "for payments", "--tag", "team=pay", "--tag", "env=prod", "--name", "The token")
    installation.ok("secret", "set", "account.meta", "--from-stdin", *arguments, given=b"invisible-value")
    shown = installation.ok("secret", "get", "account.meta", "--output", "json")
    assert shown.json["tags"] == {"team": "pay", "env": "prod"}
    assert (shown.json["description"], shown.json["name"], shown.json["version"]) == ("for payments", "The token", 1)
    installation.ok("secret", "set", "account.meta", "--from-stdin", "--description", "changed", given=b"invisible-two")
    again = installation.data("secret", "get", "account.meta")
    assert (again["description"], again["tags"], again["version"]) == ("changed", shown.json["tags"], 2)
    for command in (["secret", "list", "--all"], ["secret", "versions", "account.meta"], ["task", "list"]):
        assert b"invisible" not in installation.ok(*command).out


def test_a_deleted_secret_is_gone_and_its_name_can_be_used_again(installation: Installation) -> None:
    installation.ok("secret", "set", "account.gone", "--from-stdin", given=b"old")
    asked = installation.run("secret", "delete", "account.gone")
    assert asked.status == 7
    assert "--yes" in asked.err
    installation.ok("secret", "delete", "account.gone", "--yes")
    assert installation.run("reveal", "account.gone").status == 5
    assert installation.run("secret", "delete", "account.gone", "--yes").status == 5
    assert installation.data("secret", "set", "account.gone", "--from-stdin", given=b"new")["version"] == 1
    assert installation.ok("reveal", "account.gone").out == b"new"


def test_a_secret_keeps_its_type(installation: Installation, tmp_path: Path) -> None:
    installation.ok("secret", "set", "account.text_kind", "--from-stdin", given=b"text")
    refused = installation.run("secret", "set", "account.text_kind", "--from-stdin", "--type", "file", given=b"x")
    assert refused.status == 2
    assert "SecretText" in refused.err


def test_a_selector_that_nobody_carries_names_every_delegate_and_why(installation: Installation) -> None:
    installation.ok("secret", "set", "account.routed", "--from-stdin", given=b"x")
    for command in (
        ["reveal", "account.routed"],
        ["secret", "set", "account.routed", "--from-stdin"],
        ["secret", "delete", "account.routed", "--yes"],
    ):
        refused = installation.run(*command, "--delegate", "zone:nowhere", given=b"y")
        assert (refused.status, refused.out) == (7, b"")
        for name in ("a", "b"):
            (row,) = [line for line in refused.err.splitlines() if line.split()[:1] == [name]]
            assert row.split()[1:3] == ["selectors", "selectors_missing"]
            assert "it lacks the selector zone:nowhere" in row
            assert "--tags zone:nowhere" in row
    problem = installation.run("reveal", "account.routed", "--delegate", "zone:nowhere", "-o", "json").problem
    assert {one["name"] for one in problem["delegates"]} == {"a", "b"}
    assert installation.ok("reveal", "account.routed").out == b"x"


def test_an_empty_value_is_refused(installation: Installation) -> None:
    refused = installation.run("secret", "set", "account.empty", "--from-stdin", given=b"")
    assert refused.status == 2
    assert "empty" in refused.err
    assert installation.run("reveal", "account.empty").status == 5
