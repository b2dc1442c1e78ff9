"""Settings of Azure Key Vault, secrets and keys: today's YAML is read, and what is wrong is told by path and by what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.azure_key_vault import CLOUDS, AzureKeyVaultSettings
from shared.connectors.azure_key_vault_key import AzureKeyVaultKeySettings
from shared.connectors.kinds import settings
from shared.errors import Malformed

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
VERSION = "0123456789abcdef0123456789abcdef"
APP: dict[str, Any] = {"clientId": GUID, "tenantId": GUID}
BASE: dict[str, Any] = {"vaultName": "Devops-kv1", **APP, "secretKey": "account.azureKey"}
SYSTEM = {
    "useManagedIdentity": True,
    "azureManagedIdentityType": "SystemAssignedManagedIdentity",
    "delegateSelectors": ["d1"],
}
USER = {**SYSTEM, "azureManagedIdentityType": "UserAssignedManagedIdentity", "managedClientId": GUID}


def azure(**changes: Any) -> AzureKeyVaultSettings:
    found = settings("AzureKeyVault", {**BASE, **changes})
    assert isinstance(found, AzureKeyVaultSettings)
    return found


def key(**changes: Any) -> AzureKeyVaultKeySettings:
    found = settings("AzureKeyVaultKey", {**BASE, "keyName": "main", **changes})
    assert isinstance(found, AzureKeyVaultKeySettings)
    return found


def test_the_fields_are_those_of_todays_yaml() -> None:
    full = azure(
        subscription="20d6a917-99fa-4b1b-9b2e-a3d624e9dcf0",
        azureEnvironmentType="AZURE_US_GOVERNMENT",
        vaultConfiguredManually=True,
        enablePurge=True,
        delegateSelectors=["d1"],
        executeOnDelegate=True,
        default=False,
        useManagedIdentity=False,
        managedClientId="",
    )
    assert (full.enable_purge, full.identity, full.host) == (True, "secret", "devops-kv1.vault.usgovcloudapi.net")
    assert full.references() == ("account.azureKey",)


def test_what_is_left_out_has_its_documented_default() -> None:
    plain = azure()
    assert (plain.azure_environment_type, plain.enable_purge, plain.use_managed_identity) == ("AZURE", False, False)
    assert plain.host == "devops-kv1.vault.azure.net"
    assert plain.oidc_audience is None


def test_each_cloud_has_its_own_hosts_and_audience() -> None:
    for name, cloud in CLOUDS.items():
        one = azure(azureEnvironmentType=name, secretKey=None, useOidc=True)
        assert one.host == f"devops-kv1.{cloud.suffix}"
        assert one.oidc_audience == cloud.audience
    assert len({cloud.authority for cloud in CLOUDS.values()}) == len(CLOUDS)


@pytest.mark.parametrize(
    ("spec", "identity", "named"),
    [
        ({}, "secret", {"secretKey": "account.azureKey"}),
        ({"secretKey": None, "certificate": "org.cert"}, "certificate", {"certificate": "org.cert"}),
        ({"secretKey": None, "useOidc": True}, "oidc", {}),
        (SYSTEM, "managed", {}),
        ({**USER, "clientId": None, "tenantId": None, "secretKey": None}, "managed", {}),
        # What was left behind by another identity means nothing, and isn't asked for.
        ({**SYSTEM, "certificate": "org.cert", "useOidc": True}, "managed", {}),
    ],
)
def test_one_identity_counts_and_only_its_secret_is_named(spec: Any, identity: str, named: dict[str, str]) -> None:
    found = azure(**spec)
    assert (found.identity, found.named_references()) == (identity, named)


def test_a_key_is_named_in_one_version_or_in_any() -> None:
    assert (key().key_name, key().key_version, key().previous_keys) == ("main", "", ())
    full = key(keyVersion=VERSION, previousKeys=["before", f"main/{VERSION}"])
    assert (full.key_version, full.previous_keys) == (VERSION, ("before", f"main/{VERSION}"))
    assert full.references() == ("account.azureKey",)


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"vaultName": None}, "vaultName", "Vault name cannot be empty"),
        ({"vaultName": "https://kv.vault.azure.net"}, "vaultName", "the name of a vault, not its URL"),
        ({"vaultName": "kv.evil.example"}, "vaultName", "the name of a vault, not its URL"),
        ({"vaultName": "a--b"}, "vaultName", "the name of a vault"),
        ({"vaultName": "ab"}, "vaultName", "the name of a vault"),
        ({"vaultName": "a" * 25}, "vaultName", "the name of a vault"),
        ({"vaultName": "1kv"}, "vaultName", "the name of a vault"),
        ({"vaultName": "kv1\n"}, "vaultName", "the name of a vault"),
        ({"azureEnvironmentType": "AZURE_GERMANY"}, "azureEnvironmentType",
         "Invalid Azure environment type: give one of AZURE, AZURE_US_GOVERNMENT, AZURE_CHINA"),
        ({"clientId": None}, "clientId", "Client Id cannot be empty"),
        ({"clientId": "app"}, "clientId", "give a GUID"),
        ({"tenantId": ""}, "tenantId", "Tenant Id cannot be empty"),
        ({"tenantId": "a/b"}, "tenantId", "give the tenant's GUID, or one of its domains"),
        ({"tenantId": "../common"}, "tenantId", "give the tenant's GUID"),
        ({"secretKey": None}, "secretKey", "the identity is missing"),
        ({"secretKey": "Kx8Q~notAReference.0"}, "secretKey", "the client secret itself goes into that secret"),
        ({"certificate": "org.cert"}, "certificate", "secretKey and certificate can not be used together"),
        ({"useOidc": True}, "useOidc", "secretKey and useOidc can not be used together"),
        ({"useManagedIdentity": True, "delegateSelectors": ["d"]}, "azureManagedIdentityType",
         "Managed identity type cannot be empty"),
        ({**SYSTEM, "azureManagedIdentityType": "Both"}, "azureManagedIdentityType", "Invalid managed identity type"),
        ({**SYSTEM, "delegateSelectors": []}, "delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({**USER, "managedClientId": ""}, "managedClientId", "Managed client Id cannot be empty"),
        ({"vaultUrl": "https://kv.vault.azure.net"}, "vaultUrl", "there is no such field: give one of "),
        ({"enablePurge": "yes"}, "enablePurge", "give true or false"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        azure(**changes)
    assert caught.value.code == "connector_malformed"
    assert caught.value.facts["path"] == f"spec.{path}"
    assert text in caught.value.detail


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"keyName": None}, "keyName", "Key name cannot be empty"),
        ({"keyName": "a/b"}, "keyName", "give the name of a key"),
        ({"keyVersion": "latest"}, "keyVersion", "a version of the key"),
        ({"previousKeys": ["a/b"]}, "previousKeys[0]", "give at most 32 keys of the same vault"),
        ({"previousKeys": ["a"] * 33}, "previousKeys", "give at most 32 keys of the same vault"),
        ({"enablePurge": True}, "enablePurge", "there is no such field"),
    ],
)
def test_what_is_wrong_with_a_key_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        key(**changes)
    assert str(caught.value.facts["path"]).startswith(f"spec.{path.removesuffix('[0]')}")
    assert text in caught.value.detail
