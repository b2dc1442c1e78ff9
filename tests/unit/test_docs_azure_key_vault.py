"""The pages on Azure Key Vault say what its kinds do: fields, hosts, limits, rights, and every error that their code knows."""

from __future__ import annotations

import re

import msgspec
import pytest
import yaml

from delegate.secret_managers import azure_key_vault, azure_key_vault_key, azure_names, azure_references
from shared.connectors.azure_key_vault import CLOUDS, AzureKeyVaultSettings
from shared.connectors.azure_key_vault_key import MOST_PREVIOUS, AzureKeyVaultKeySettings
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from tests.architecture.source import ROOT

FOLDER = ROOT / "docs/secret-managers"
SECRETS, KEYS = (FOLDER / "azure-key-vault.md").read_text(), (FOLDER / "azure-key-vault-key.md").read_text()
SOURCES = [*ROOT.glob("delegate/credentials/azure*.py"), *ROOT.glob("delegate/secret_managers/azure*.py")]
CODE = re.compile(
    r'(?:Refusal|Malformed|Denied|NotFound|Conflict|NotReady|Tampered|Unavailable|Overloaded|Expired)\(\s*(?:\w+,\s*)?"([a-z_]+)"'
)


@pytest.mark.parametrize(("page", "model"), [(SECRETS, AzureKeyVaultSettings), (KEYS, AzureKeyVaultKeySettings)])
def test_every_field_is_on_the_page_and_its_example_is_taken(page: str, model: type[Model]) -> None:
    own = {one.encode_name for one in msgspec.structs.fields(model)}
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert sorted(own - common - set(re.findall(r"`(\w+)`", page))) == []
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    body = yaml.safe_load(text)["connector"]
    assert isinstance(settings(body["type"], body["spec"]), model)


def test_every_clouds_hosts_are_on_the_page() -> None:
    for name, cloud in CLOUDS.items():
        assert f"| `{name}` | `NAME.{cloud.suffix}` | `{cloud.authority}` | `{cloud.audience}` |" in SECRETS


def test_the_names_on_the_page_are_those_of_the_program() -> None:
    for text, name in (("my_secret", "my--secret"), ("dbPassword", "db-password"), ("DB", "x-1-d-b")):
        assert azure_names.name_of(text) == name
        assert f"`{text}`: `{name}`" in SECRETS
    assert azure_names.name_of("acme.web.db") == "acme-0web-0db"
    assert f"`{azure_names.CHECKED}`" in SECRETS


def test_limits_and_metadata_are_those_of_the_program() -> None:
    assert f"{azure_key_vault.LONGEST_VALUE:,} bytes of text, or {azure_key_vault.LONGEST_BYTES:,} bytes" in SECRETS
    assert all(f"| `{key}` |" in SECRETS for key in azure_references.METADATA)
    assert f"up to {azure_key_vault.SETTLE_SECONDS:.0f} seconds" in SECRETS
    assert f"at most {MOST_PREVIOUS} of" in KEYS
    assert azure_key_vault_key.ALGORITHM in KEYS


def test_every_right_that_is_asked_for_is_in_the_tables() -> None:
    source = "".join(path.read_text() for path in SOURCES)
    asked = set(re.findall(r'"(secrets|keys)/(\w+)"', source)) - {("keys", "main")}
    assert {kind for kind, _ in asked} == {"secrets", "keys"}
    for kind, verb in asked:
        words = re.sub(r"([A-Z])", r" \1", verb).title()
        assert words in (SECRETS if kind == "secrets" else KEYS).partition("## Permissions")[2], verb


def test_every_error_of_the_code_is_in_a_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall(path.read_text())}
    codes |= {azure_key_vault.SECRET_NOT_FOUND, azure_key_vault.SECRET_DELETED, "metadata_malformed", "version_exists"}
    assert {"azure_denied", "azure_throttled", "key_unfit", "purge_protected"} <= codes
    tables = SECRETS.partition("## Errors")[2] + KEYS.partition("## Errors")[2]
    assert sorted(code for code in codes if f"`{code}`" not in tables) == []
