"""The page on Vault names every field that its kinds take, and every error that their code knows."""

from __future__ import annotations

import re

import msgspec
import pytest

from shared.connectors.model import Model
from shared.connectors.vault import ACCESS_TYPES, TOKEN_FILE, VaultSettings, VaultTransitSettings
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/secret-managers/vault.md").read_text()
NAMED = set(re.findall(r"`([A-Za-z0-9_]+)`", PAGE))
SOURCES = [*ROOT.glob("delegate/credentials/vault*.py"), *ROOT.glob("delegate/secret_managers/vault*.py")]
CODE = re.compile(
    r'(?:Refusal|Malformed|Denied|NotFound|Conflict|NotReady|Tampered|Unavailable)\(\s*(?:\w+,\s*)?"([a-z_]+)"'
)


@pytest.mark.parametrize("model", [VaultSettings, VaultTransitSettings])
def test_every_field_is_on_the_page(model: type[Model]) -> None:
    own = {one.encode_name for one in msgspec.structs.fields(model)}
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert sorted(own - common - NAMED) == []


def test_every_access_type_is_on_the_page() -> None:
    assert sorted(set(ACCESS_TYPES) - NAMED) == []
    assert TOKEN_FILE.rpartition("/serviceaccount/")[0] + "/" in PAGE


def test_every_error_of_the_code_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall(path.read_text())}
    assert {"vault_denied", "version_replaced", "vault_token_dead"} <= codes
    table = PAGE.partition("## Errors")[2]
    assert sorted(code for code in codes if f"`{code}`" not in table) == []
