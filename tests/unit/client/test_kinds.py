"""What is installed beside the client: found by real metadata, loaded when used, never instead of what is built in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.cli.wizard import Wizard
from client.descriptions import Description, describe
from client.kinds import GROUP, installed_kinds
from client.manifest import Manifest
from shared.connectors.kinds import KINDS
from shared.errors import Malformed
from shared.names import Scope

MODEL = """
from shared.connectors.model import Model, Text
from shared.documents.fields import SecretReference

class Settings(Model, frozen=True, kw_only=True):
    shelf: Text
    key: SecretReference
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("shelf_"):
            del sys.modules[name]


def install(site: Path, package: str, code: str, **kinds: str) -> None:
    """As an installer leaves a package: its module and its metadata."""
    (site / f"{package}.py").write_text(code)
    info = site / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    told = "".join(f"{kind} = {package}:{name}\n" for kind, name in kinds.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{told}")
    # A folder that was looked at in the same tick of the clock counts as unchanged.
    importlib.invalidate_caches()


def described(kind: str, **spec: str) -> Description:
    manifest = Manifest("shelf.yaml", 1, "connector", {"name": "x", "type": kind, "spec": spec}, {})
    return describe(manifest, installed_kinds())


def test_a_package_brings_a_kind(site: Path) -> None:
    install(site, "shelf_good", MODEL, Shelf="Settings")
    kinds = installed_kinds()
    assert "Shelf" in kinds.names
    assert "shelf_good" not in sys.modules
    assert described("Shelf", shelf="upper", key="account.key").settings.references() == ("account.key",)
    with pytest.raises(Malformed, match=r"shelf\.yaml:1: connector\.spec\.key") as caught:
        described("Shelf", shelf="upper")
    assert caught.value.facts["path"] == "connector.spec.key"


def test_a_package_that_claims_a_built_in_kind_is_never_imported(site: Path) -> None:
    install(site, "shelf_thief", MODEL, Local="Settings", AwsKms="Settings")
    assert installed_kinds().names == tuple(sorted(KINDS))
    assert described("Local").settings == KINDS["Local"]()
    assert "shelf_thief" not in sys.modules


def test_a_package_whose_import_fails_is_told_at_its_own_kind_alone(site: Path) -> None:
    install(site, "shelf_broken", "raise RuntimeError('hunter2')", Shelf="Settings")
    assert described("Local")
    with pytest.raises(Malformed) as caught:
        described("Shelf", shelf="upper")
    why = caught.value
    assert (why.code, why.facts["path"]) == ("kind_unloadable", "connector.type")
    assert "shelf_broken 1.2" in why.hint and "hunter2" not in why.detail


def test_a_kind_that_two_packages_claim_is_nobodys(site: Path) -> None:
    for package in ("shelf_one", "shelf_two"):
        install(site, package, MODEL, Shelf="Settings")
    with pytest.raises(Malformed) as caught:
        described("Shelf", shelf="upper", key="account.key")
    assert caught.value.code == "kind_unloadable"
    assert "shelf_one 1.2 and shelf_two 1.2" in caught.value.hint
    assert not {"shelf_one", "shelf_two"} & set(sys.modules)


class Typist:
    """Answers by the question's first word."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self._answers = answers
        self.told: list[str] = []

    def title(self, text: str) -> None:
        """Nothing to answer."""

    def ask(self, question: str, default: str = "", choices: object = ()) -> str:
        left = self._answers.get(question.split(maxsplit=1)[0], [])
        return left.pop(0) if left else default

    def agrees(self, question: str, default: bool) -> bool:
        return default

    def say(self, text: str) -> None:
        self.told.append(text)


def test_the_wizard_asks_for_what_a_packages_model_needs_and_again_for_a_kind_that_is_broken(site: Path) -> None:
    install(site, "shelf_good", MODEL, Shelf="Settings")
    install(site, "shelf_broken", "raise RuntimeError", Broken="Settings")
    typist = Typist({"Name": ["x"], "Type": ["Broken", "Shelf"], "shelf": ["upper"], "key": ["account.key"]})
    body = Wizard(typist, installed_kinds()).ask(Scope())
    assert (body["type"], body["spec"]) == ("Shelf", {"shelf": "upper", "key": "account.key"})
    assert ["shelf_broken 1.2" in one for one in typist.told] == [True]
