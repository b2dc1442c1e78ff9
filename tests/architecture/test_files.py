"""Files: one noun each and short, named for what they hold, and proto/ never a package."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.architecture.source import PACKAGES, ROOT, lies_in, sources

LINES = 400
TEST_LINES = 500  # a suite is a list of sentences, not an argument
LONGER = {
    "manager/migrations": "a migration is written once and read never",
    "tests/contract": "a contract is one class, so that whoever must keep it finds all of it",
}
# Words that name no thing: what would be put there belongs to a noun. And words that this project has others for.
EMPTY_NAMES = re.compile(r"(^|_)(common|helpers?|misc|utils?|utilities|agents?|jobs?|workers?)(_|$)")


def too_long(path: str, text: str) -> list[str]:
    lines = text.count("\n")
    most = TEST_LINES if lies_in(path, ("tests",)) else LINES
    return (
        [f"{path} has {lines} lines: past {most} it is two files"]
        if lines > most and not lies_in(path, tuple(LONGER))
        else []
    )


def badly_named(path: str) -> list[str]:
    parts = path.lower().removesuffix(".py").replace("-", "_").split("/")
    return [f"{path}: {part!r} says nothing about what it holds" for part in parts if EMPTY_NAMES.search(part)]


def tracked() -> list[str]:
    """Every file that is committed or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_no_source_file_is_too_long() -> None:
    assert [line for path, text in sources(*PACKAGES, "deploy", "tests") for line in too_long(path, text)] == []


def test_a_file_that_is_too_long_is_seen() -> None:
    assert too_long("shared/a.py", "x\n" * 401)
    assert too_long("shared/a.py", "x\n" * 400) == []
    assert too_long("tests/unit/test_a.py", "x\n" * 501)
    assert too_long("manager/migrations/versions/a.py", "x\n" * 401) == []


def test_every_place_that_may_be_longer_exists() -> None:
    assert [place for place in LONGER if not (ROOT / place).is_dir()] == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [line for path in tracked() for line in badly_named(path)] == []


@pytest.mark.parametrize(
    "path", ["shared/util.py", "client/http_helpers.py", "common/a.py", "deploy/worker-pool/x.toml", "Agent.md"]
)
def test_a_name_that_says_nothing_is_seen(path: str) -> None:
    assert badly_named(path) or badly_named(path.removesuffix(".md"))


@pytest.mark.parametrize("path", ["shared/utility_meter.py", "delegate/commonwealth.py", "docs/architecture.md"])
def test_a_name_that_only_looks_alike_is_left_alone(path: str) -> None:
    assert badly_named(path) == []


def test_proto_is_text_and_never_a_package() -> None:
    # google-cloud-kms imports proto-plus under the name `proto`: a package of ours would stand in its way.
    assert {path.suffix for path in (ROOT / "proto").rglob("*") if path.is_file()} == {".proto"}


def test_every_python_file_says_what_it_promises() -> None:
    """A module docstring; only an empty `__init__.py` has nothing to say."""
    silent = [
        path for path, text in sources(*PACKAGES) if text.strip() and not text.lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []
