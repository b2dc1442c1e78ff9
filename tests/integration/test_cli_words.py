"""The command line's manners: help without loading, errors with hints, formats, completion, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from client.cli.help import exit_codes
from client.cli.main import NOUNS, cli
from shared.errors import CLASSES
from tests.integration.installation import Desk, Installation


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "home")


def test_help_loads_neither_ciphers_nor_an_http_client() -> None:
    code = (
        "import sys\nfrom client.cli import main\nmain(['--help'])\n"
        "loaded = {'aiohttp', 'cryptography', 'google', 'yaml', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded - {'asyncio'} else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_noun_is_there_and_explains_itself(desk: Desk) -> None:
    for noun in NOUNS:
        shown = desk.ok(noun, "--help").out.decode()
        assert "Usage: privyseal" in shown
        command = cli.get_command(None, noun)  # type: ignore[arg-type]
        for verb in getattr(command, "commands", {}):
            assert "Usage: privyseal" in desk.ok(noun, verb, "--help").out.decode()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["secrte"], "did you mean secret?"),
        (["secret", "sett"], "secret"),
        (["reveal"], "missing"),
        (["reveal", "account.x", "--delgate", "x"], "--delegate"),
        (["reveal", "account.x", "--output", "xml"], "table, json, yaml"),
        (["reveal", "account.x", "--version", "zero"], "--version"),
        (["account", "show", "extra"], "more arguments"),
    ],
)
def test_a_wrong_command_is_told_with_what_is_meant(desk: Desk, arguments: list[str], expected: str) -> None:
    refused = desk.run(*arguments)
    assert (refused.status, refused.out) == (2, b"")
    assert expected in refused.err
    assert refused.err.startswith("error: ")


def test_without_a_context_every_command_says_how_to_get_one(desk: Desk) -> None:
    for arguments in (["reveal", "account.x"], ["secret", "list"], ["grant", "list"], ["audit", "verify"]):
        refused = desk.run(*arguments)
        assert refused.status == 7
        assert "privyseal init" in refused.err
    assert desk.run("doctor").status == 1


def test_an_error_is_a_problem_object_for_programs(desk: Desk) -> None:
    problem = desk.run("reveal", "account.x", "--output", "json").problem
    assert (problem["title"], problem["code"], problem["status"]) == ("NotReady", "context_missing", 412)


def test_options_may_stand_before_or_behind_and_the_last_one_counts(installation: Installation) -> None:
    assert json.loads(installation.ok("-o", "json", "context", "show").out)["name"] == "dev"
    assert yaml.safe_load(installation.ok("-o", "json", "context", "show", "-o", "yaml").out)["name"] == "dev"
    assert installation.run("--context", "nowhere", "context", "show").status == 5
    assert installation.run("context", "show", PRIVYSEAL_CONTEXT="nowhere").status == 5
    assert installation.ok("--context", "dev", "context", "show", PRIVYSEAL_CONTEXT="nowhere")
    assert installation.ok("context", "show", "--context", "dev", PRIVYSEAL_CONTEXT="nowhere")


def test_exit_codes_are_documented_for_every_error(desk: Desk) -> None:
    assert {name for _, name, _ in exit_codes()} >= set(CLASSES)
    shown = desk.data("help", "exit-codes")
    assert {(one["status"], one["error"]) for one in shown} >= {(5, "NotFound"), (8, "Tampered"), (0, "")}


def test_completion_completes_commands(desk: Desk) -> None:
    for shell in ("bash", "zsh", "fish"):
        result = desk.run("completion", shell)
        assert (result.status == 0 and b"_PRIVYSEAL_COMPLETE" in result.out) or result.status == 9
    words = {"_PRIVYSEAL_COMPLETE": "bash_complete", "COMP_WORDS": "privyseal se", "COMP_CWORD": "1"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("privyseal"))], env=words, capture_output=True, check=False, timeout=60
    )
    assert b"secret" in done.stdout


def test_contexts_are_added_chosen_and_removed(desk: Desk) -> None:
    address = "https://manager.example/" + "a" * 52
    added = desk.ok("context", "add", address, "--name", "one", "--org", "acme")
    assert "privyseal identity new" in added.err
    desk.ok("context", "add", address, "--name", "two", "--no-use")
    assert [(one["name"], one["current"]) for one in desk.data("context", "list")] == [("one", "*"), ("two", "")]
    assert desk.data("context", "show")["scope"] == "org/acme"
    assert desk.data("context", "use", "two", "--org", "acme", "--project", "pay")["project"] == "pay"
    assert desk.data("context", "use", "two", "--org", "other")["project"] == ""
    assert desk.run("context", "use", "two", "--org", "", "--project", "pay").status == 2
    desk.ok("context", "remove", "two")
    assert desk.run("context", "show").status == 7
    for wrong in ("http://manager.example/" + "a" * 52, "https://manager.example", "manager.example/" + "a" * 52):
        assert desk.run("context", "add", wrong).status == 2


def test_a_locked_identity_opens_with_the_passphrase_file(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    made = desk.ok("identity", "new", "locked", "-o", "json", PRIVYSEAL_PASSPHRASE_FILE=str(path)).json
    assert "ENCRYPTED" in Path(made["path"]).read_text()
    assert desk.data("identity", "show", "locked")["key"] == made["key"]
    desk.ok("context", "add", "https://127.0.0.1:1/" + "a" * 52, "--identity", "locked")
    assert desk.run("reveal", "account.x").status == 4
    assert desk.run("reveal", "account.x", PRIVYSEAL_PASSPHRASE_FILE=str(path)).status == 9


def test_an_unreachable_manager_is_told_within_seconds(desk: Desk) -> None:
    desk.ok("identity", "new", "--no-passphrase")
    desk.ok("context", "add", "http://127.0.0.1:1/" + "a" * 52)
    refused = desk.run("reveal", "account.x")
    assert refused.status == 9
    assert "can't be reached" in refused.err


def test_a_fault_of_our_own_says_so_without_a_traceback(desk: Desk) -> None:
    desk.home.mkdir()
    (desk.home / "contexts.json").mkdir()
    refused = desk.run("context", "list")
    assert refused.status in {1, 4}
    assert "Traceback" not in refused.err
