"""The pages of Google's kinds say what the kinds do: fields, permissions, error codes and limits."""

from __future__ import annotations

import re

import msgspec
import pytest
import yaml

from delegate.credentials import gcp_calls, gcp_http, gcp_identities, gcp_tokens
from delegate.secret_managers import gcp_entry, gcp_kms, gcp_secret_manager, ownership, selection, texts
from shared.connectors.gcp import Federation
from shared.connectors.gcp_kms import MOST_PREVIOUS, GcpKmsSettings
from shared.connectors.gcp_secret_manager import GcpSecretManagerSettings
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from tests.architecture.source import ROOT

KMS, SECRETS = ((ROOT / f"docs/secret-managers/{name}.md").read_text() for name in ("gcp-kms", "gcp-secret-manager"))
CREDENTIALS = (gcp_calls, gcp_http, gcp_identities, gcp_tokens)


def codes(*modules: object) -> set[str]:
    """Every code in the tables and errors of these modules."""
    found: set[str] = set()
    for one in modules:
        text = (ROOT / f"{one.__name__.replace('.', '/')}.py").read_text()  # type: ignore[attr-defined]
        errors = r"(?:Denied|Malformed|NotFound|NotReady|Conflict|Tampered|Unavailable|Overloaded|Expired)"
        found |= set(re.findall(rf"{errors}\(?,?\s*\"([a-z_]+)\"", text))
    return found


def told(page: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", page.split("## Errors")[1]))


@pytest.mark.parametrize(("page", "model"), [(KMS, GcpKmsSettings), (SECRETS, GcpSecretManagerSettings)])
def test_every_field_is_on_the_page(page: str, model: type[Model]) -> None:
    own = {field.encode_name for one in (model, Federation) for field in msgspec.structs.fields(one)}
    own -= {field.encode_name for field in msgspec.structs.fields(Model)}
    assert own <= set(re.findall(r"`(\w+)`", page))


@pytest.mark.parametrize(("page", "model"), [(KMS, GcpKmsSettings), (SECRETS, GcpSecretManagerSettings)])
def test_the_example_is_taken(page: str, model: type[Model]) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    body = yaml.safe_load(text)["connector"]
    assert isinstance(settings(body["type"], body["spec"]), model)


def test_every_error_is_on_one_of_the_pages() -> None:
    common = codes(*CREDENTIALS)
    assert common
    assert common | codes(gcp_kms) <= told(KMS)
    assert codes(gcp_secret_manager, gcp_entry, ownership, selection, texts) <= told(SECRETS)


def test_the_permissions_are_exactly_those_that_are_used() -> None:
    assert set(re.findall(r"`(cloudkms\.[\w.]+)`", KMS)) == {gcp_kms._ENCRYPT, gcp_kms._DECRYPT}
    reading, writing = (
        set(block.split()) for block in re.findall(r"^```\n(secretmanager.*?)^```", SECRETS, re.MULTILINE | re.DOTALL)
    )
    assert writing == {permission for _, permission in gcp_secret_manager._METHODS.values()}
    assert reading == {gcp_secret_manager._METHODS[verb][1] for verb in ("get", "access")}


def test_the_limits_are_those_of_the_program() -> None:
    assert f"at most {MOST_PREVIOUS} keys" in KMS
    assert f"| {gcp_secret_manager.LONGEST_VALUE:,} bytes" in SECRETS
    assert f"`{gcp_entry.CHECKED}`" in SECRETS
    assert f"`{gcp_entry.TASKS}`" in SECRETS
    assert f"the last {gcp_entry.MOST_TASKS}" in SECRETS
    for name in gcp_identities.PROJECT_VARIABLES:
        assert f"`{name}`" in SECRETS
