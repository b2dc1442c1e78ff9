"""What the README says of the repository is so."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

from delegate.configuration import PROGRAM as DELEGATE
from delegate.policy import LocalPolicy
from manager.options import PROGRAM as MANAGER
from shared.documents.connector import BUILT_IN_ALIASES
from shared.names import ACCOUNT_SCOPE, Reference
from tests.architecture.source import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = ROOT / "deploy" / "examples"


def verbs() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_verb_of_make_that_a_page_names_exists() -> None:
    assert {"demo", "test"} <= verbs()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"(?:^|`|\$ )make ([a-z]+)", page.read_text(), re.MULTILINE))
        assert named <= verbs(), page.name


def test_contributing_explains_every_verb() -> None:
    explained = re.findall(r"^\| `make ([a-z]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(explained) | {"help", "setup"} == verbs() | {"help"}


def test_the_one_sentence_is_there() -> None:
    assert "**The manager moves what it cannot read and cannot order.**" in README


def test_the_package_shows_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["readme"] == "README.md"
    assert "/README.md" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_every_example_of_settings_loads() -> None:
    load: dict[str, Callable[[str], object]] = {
        "manager.toml": lambda text: MANAGER.parse([], {}, text),
        "delegate.toml": lambda text: DELEGATE.parse(
            ["--manager", "https://manager.example.com", "--keyring-file", "/keyring.json"], {}, text
        ),
        "delegate-policy.toml": lambda text: LocalPolicy.parse(text, ["Local"]),
    }
    assert {path.name for path in EXAMPLES.glob("*.toml")} == set(load)
    for name, parse in load.items():
        parse((EXAMPLES / name).read_text())


def test_what_people_write_elsewhere_is_understood() -> None:
    assert "`harnessSecretManager`" in README and "harnessSecretManager" in BUILT_IN_ALIASES
    assert '`<+secrets.getValue("account.x")>`' in README
    found = Reference.parse('<+secrets.getValue("account.x")>', ACCOUNT_SCOPE)
    assert found == Reference.parse("account.x", ACCOUNT_SCOPE)
    assert DELEGATE.name == "privyseal-delegate"
