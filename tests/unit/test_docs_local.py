"""The page on the built-in kind and the table of kinds are held to the program."""

from __future__ import annotations

import re

import msgspec
import pytest
import yaml

from delegate.secret_managers.registry import BUILT_IN
from shared.connectors.kinds import settings
from shared.connectors.local import LocalSettings
from shared.connectors.model import Model
from shared.documents.secret import LARGEST_VALUE_BYTES
from tests.architecture.source import ROOT

FOLDER = ROOT / "docs/secret-managers"
PAGE = (FOLDER / "local.md").read_text()
KINDS = (FOLDER / "README.md").read_text()
CODE = re.compile(r'(?:Malformed|Denied|NotReady|Tampered)\(\s*"([a-z_]+)"')


def test_every_field_is_on_the_page() -> None:
    own = {one.encode_name for one in msgspec.structs.fields(LocalSettings)}
    own -= {one.encode_name for one in msgspec.structs.fields(Model)}
    assert own == set(re.findall(r"^\| `(\w+)` \| no \|", PAGE, re.MULTILINE))


def test_the_example_is_taken() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    body = yaml.safe_load(text)["connector"]
    assert settings(body["type"], body["spec"]).selectors() == ("payments",)


def test_the_limit_is_that_of_every_value() -> None:
    assert f"| value | {LARGEST_VALUE_BYTES:,} bytes |" in PAGE


@pytest.mark.parametrize(
    "path",
    [
        "delegate/secret_managers/enveloped.py",
        "delegate/secret_managers/local.py",
        "shared/connectors/local.py",
        "shared/connectors/model.py",
        "shared/crypto/aead.py",
        "shared/crypto/keyring.py",
    ],
)
def test_every_error_of_the_code_is_in_the_table(path: str) -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Errors")[2], re.MULTILINE))
    made = set(CODE.findall((ROOT / path).read_text()))
    assert {one for one in made if not one.startswith("keyring_")} <= told


def test_every_kind_has_its_row_and_its_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\]\(([\w-]+\.md)\) \|$", KINDS, re.MULTILINE)
    assert [kind for kind, _ in rows] == sorted(BUILT_IN)
    pages = {path.name for path in FOLDER.glob("*.md")} - {"README.md", "writing-one.md"}
    assert {page for _, page in rows} == pages
    for kind, page in rows:
        assert f"`{kind}`" in (FOLDER / page).read_text() or f"`type: {kind}`" in (FOLDER / page).read_text()
