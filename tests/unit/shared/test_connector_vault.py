"""Vault's settings: today's YAML for every access type, and what is wrong told by path, never by value."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.kinds import settings
from shared.connectors.vault import (
    ACCESS_TYPES,
    TOKEN_FILE,
    VaultConnection,
    VaultSettings,
    VaultTransitSettings,
    segments,
)
from shared.errors import Malformed

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
URL: dict[str, Any] = {"vaultUrl": "https://vault.example.com:8200", "renewalIntervalMinutes": 60}
TOKEN: dict[str, Any] = {**URL, "authToken": "account.vtoken"}
WAYS: dict[str, dict[str, Any]] = {
    "TOKEN": {"authToken": "account.vtoken"},
    "APP_ROLE": {"appRoleId": "r", "secretId": "account.vsid"},
    "VAULT_AGENT": {"useVaultAgent": True, "sinkPath": "/vault/sink/token", "delegateSelectors": ["d1"]},
    "AWS_IAM": {
        "useAwsIam": True,
        "awsRegion": "us-east-1",
        "vaultAwsIamRole": "role",
        "xvaultAwsIamServerId": "account.hdr",
        "delegateSelectors": ["d1"],
    },
    "K8s_AUTH": {"useK8sAuth": True, "vaultK8sAuthRole": "role", "delegateSelectors": ["d1"]},
    "JWT": {"useJwtAuth": True, "jwtAuthRole": "role", "jwtAuthPath": "harness/jwt"},
    "CERT": {"accessType": "CERT", "clientCertificate": PEM, "clientKey": "account.vkey"},
    "USERPASS": {"accessType": "USERPASS", "username": "u", "password": "account.pw"},
    "LDAP": {"accessType": "LDAP", "username": "u", "password": "account.pw"},
}
REFERENCES = {
    "TOKEN": ("account.vtoken",),
    "APP_ROLE": ("account.vsid",),
    "AWS_IAM": ("account.hdr",),
    "CERT": ("account.vkey",),
    "USERPASS": ("account.pw",),
    "LDAP": ("account.pw",),
}


def vault(**changes: Any) -> VaultSettings:
    found = settings("Vault", {**TOKEN, **changes})
    assert isinstance(found, VaultSettings)
    return found


def refused(base: dict[str, Any] = TOKEN, kind: str = "Vault", **changes: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        settings(kind, {**base, **changes})
    assert caught.value.code == "connector_malformed"
    assert "hunter2" not in repr(caught.value.problem())
    return caught.value


def test_every_access_type_is_tried_here() -> None:
    assert set(WAYS) == set(ACCESS_TYPES)


@pytest.mark.parametrize("kind", ["Vault", "VaultTransit"])
@pytest.mark.parametrize("access", WAYS)
def test_each_access_type_is_understood_with_and_without_its_name(kind: str, access: str) -> None:
    own = {"keyName": "payments"} if kind == "VaultTransit" else {}
    for spec in ({**URL, **own, **WAYS[access]}, {**URL, **own, **WAYS[access], "accessType": access}):
        found = settings(kind, spec)
        assert isinstance(found, VaultConnection)
        assert found.access == access
        assert found.references() == REFERENCES.get(access, ())


def test_what_is_left_out_has_its_documented_default() -> None:
    found = vault()
    assert (found.base_path, found.namespace, found.secret_engine_name, found.secret_engine_version) == (
        "/harness",
        "",
        "secret",
        2,
    )
    assert (found.enable_cache, found.renew_app_role_token, found.writable) == (True, True, True)
    assert found.secret_engine_manually_configured is False
    assert (found.k8s_auth_endpoint, found.service_account_token_path) == ("kubernetes", TOKEN_FILE)
    assert (found.app_role_path, found.aws_auth_path, found.cert_auth_path) == ("approle", "aws", "cert")
    assert (found.userpass_path, found.ldap_auth_path) == ("userpass", "ldap")
    transit = settings("VaultTransit", {**TOKEN, "keyName": "payments"})
    assert isinstance(transit, VaultTransitSettings)
    assert (transit.secret_engine_name, transit.previous_key_names) == ("transit", ())


def test_all_fields_of_todays_yaml_at_once_are_taken_and_the_said_access_type_counts() -> None:
    everything = {
        **{key: value for way in WAYS.values() for key, value in way.items()},
        **dict.fromkeys(("useVaultAgent", "useAwsIam", "useK8sAuth", "useJwtAuth"), False),
        "basePath": "/harness",
        "namespace": "team-a",
        "readOnly": False,
        "secretEngineName": "secret",
        "secretEngineVersion": 2,
        "secretEngineManuallyConfigured": True,
        "enableCache": True,
        "renewAppRoleToken": True,
        "executeOnDelegate": True,
        "default": False,
        "serviceAccountTokenPath": TOKEN_FILE,
        "k8sAuthEndpoint": "kubernetes",
        "accessType": "APP_ROLE",
    }
    found = vault(**everything)
    assert found.access == "APP_ROLE"
    assert found.references() == ("account.vkey", "account.vsid")


def test_empty_texts_count_as_absent() -> None:
    assert vault(namespace="", sinkPath="", jwtAuthPath="", caCertificate="", awsRegion="").access == "TOKEN"
    assert vault(basePath="/").base_path == "/"


def test_both_spellings_of_read_only_are_understood_and_never_both() -> None:
    assert not vault(readOnly=True).writable
    assert not vault(isReadOnly=True).writable
    assert vault(isReadOnly=False).writable
    assert refused(readOnly=True, isReadOnly=True).facts["path"] == "spec.isReadOnly"


def test_the_host_is_that_of_the_url() -> None:
    assert vault().host == "vault.example.com"
    assert vault(vaultUrl="https://[fd00::1]:8200/").host == "fd00::1"
    for url in ("http://127.0.0.1:8200", "http://localhost:8200", "http://[::1]:8200"):
        assert vault(vaultUrl=url)


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"vaultUrl": None}, "vaultUrl", "Vault URL cannot be empty"),
        ({"vaultUrl": 5}, "vaultUrl", "give a URL such as"),
        ({"vaultUrl": "vault.example.com"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "ftp://vault.example.com"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://h:0"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://h:99999"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://u:hunter2@h"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://h/?a=hunter2"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://h/#a"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://h/../v1"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "https://h\\@evil"}, "vaultUrl", "Please check the url and try again"),
        ({"vaultUrl": "http://vault.example.com"}, "vaultUrl", "don't travel in the clear"),
        ({"vaultUrl": "http://127.0.0.1.evil.example"}, "vaultUrl", "don't travel in the clear"),
        ({"namespace": "a b"}, "namespace", "give a namespace in printable ASCII"),
        ({"namespace": "a\nX-Vault-Token: x"}, "namespace", "give a namespace in printable ASCII"),
        ({"renewalIntervalMinutes": None}, "renewalIntervalMinutes", "Renewal interval cannot be empty"),
        ({"renewalIntervalMinutes": -1}, "renewalIntervalMinutes", "Invalid value for renewal interval"),
        ({"renewalIntervalMinutes": "x"}, "renewalIntervalMinutes", "give a whole number"),
        ({"secretEngineVersion": 0}, "secretEngineVersion", "Invalid value for secret engine version: give 1 or 2"),
        ({"secretEngineVersion": 3}, "secretEngineVersion", "Invalid value for secret engine version: give 1 or 2"),
        ({"secretEngineName": ""}, "secretEngineName", "give a path of segments"),
        ({"secretEngineName": "a/../sys"}, "secretEngineName", "give a path of segments"),
        ({"basePath": "/a//b"}, "basePath", "give a path of segments"),
        ({"basePath": "a\x00"}, "basePath", "give a path of segments"),
        ({"basePath": "a\u200bb"}, "basePath", "give a path of segments"),
        ({"testPaths": ["a", "./b"]}, "testPaths[1]", "give a path of segments"),
        ({"readOnly": True, "default": True}, "default", "a read-only Vault can't be the default"),
        ({"caCertificate": "x"}, "caCertificate", "give certificates in PEM"),
        ({"caCertificate": "p\u00e4m"}, "caCertificate", "give certificates in PEM"),
        ({"caCertificate": PEM + "-----BEGIN PRIVATE KEY-----hunter2"}, "caCertificate", "there is a private key in it"),
        ({"clientCertificate": PEM}, "clientKey", "go together"),
        ({"clientKey": "account.k"}, "clientKey", "go together"),
        ({"clientCertificate": PEM, "clientKey": "-----BEGIN hunter2"}, "clientKey", "the key itself goes into that secret"),
        ({"accessType": "GITHUB"}, "accessType", "Invalid access type: give one of TOKEN, APP_ROLE"),
        ({"authToken": None}, "accessType", "the authentication is missing"),
        ({"authToken": "hvs.hunter2 x"}, "authToken", "the token itself goes into that secret"),
        ({"accessType": "TOKEN", "authToken": None}, "authToken", "You must provide an auth token"),
        ({"appRoleId": "r", "secretId": "s"}, "accessType", "both authToken and an AppRole are given"),
        ({"accessType": "APP_ROLE", "appRoleId": "r"}, "secretId", "You must provide a Secret Id"),
        ({"accessType": "APP_ROLE", "secretId": "s"}, "appRoleId", "You must provide an App Role Id"),
        ({**WAYS["APP_ROLE"], "accessType": "APP_ROLE", "appRolePath": ".."}, "appRolePath", "give a path of segments"),
        ({"useVaultAgent": True, "useAwsIam": True}, "useAwsIam", "useVaultAgent and useAwsIam can not be used together"),
        ({"useK8sAuth": True, "accessType": "JWT"}, "accessType", "useK8sAuth says K8s_AUTH"),
        ({"useVaultAgent": True}, "sinkPath", "You must provide a sink path"),
        ({**WAYS["VAULT_AGENT"], "sinkPath": "vault/sink"}, "sinkPath", "give an absolute path on the delegate"),
        ({**WAYS["VAULT_AGENT"], "sinkPath": "/vault/../etc/shadow"}, "sinkPath", "give an absolute path on the delegate"),
        ({**WAYS["VAULT_AGENT"], "delegateSelectors": []}, "delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({**WAYS["AWS_IAM"], "vaultAwsIamRole": ""}, "vaultAwsIamRole", "You must provide vault role"),
        ({**WAYS["AWS_IAM"], "awsRegion": ""}, "awsRegion", "You must provide aws region"),
        ({**WAYS["AWS_IAM"], "awsRegion": "evil.example/"}, "awsRegion", "give the code of a region"),
        ({**WAYS["AWS_IAM"], "delegateSelectors": []}, "delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({**WAYS["K8s_AUTH"], "vaultK8sAuthRole": ""}, "vaultK8sAuthRole", "You must provide vault role"),
        ({**WAYS["K8s_AUTH"], "serviceAccountTokenPath": ""}, "serviceAccountTokenPath", "service account token path"),
        ({**WAYS["K8s_AUTH"], "serviceAccountTokenPath": "t"}, "serviceAccountTokenPath", "give an absolute path"),
        ({**WAYS["K8s_AUTH"], "k8sAuthEndpoint": ""}, "k8sAuthEndpoint", "give a path of segments"),
        ({**WAYS["K8s_AUTH"], "delegateSelectors": []}, "delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({**WAYS["JWT"], "jwtAuthRole": ""}, "jwtAuthRole", "You must provide vault role"),
        ({**WAYS["JWT"], "jwtAuthPath": ""}, "jwtAuthPath", "You must provide the auth path"),
        ({**WAYS["JWT"], "jwtAuthPath": "sts.amazonaws.com"}, "jwtAuthPath", "a cloud's own audience"),
        ({**WAYS["JWT"], "jwtAuthPath": "/STS.amazonaws.com.cn/"}, "jwtAuthPath", "a cloud's own audience"),
        ({**WAYS["JWT"], "jwtAuthPath": "//iam.googleapis.com/projects/1"}, "jwtAuthPath", "a cloud's own audience"),
        ({**WAYS["JWT"], "jwtAuthPath": "x/AzureADTokenExchange"}, "jwtAuthPath", "a cloud's own audience"),
        ({"accessType": "CERT"}, "clientCertificate", "You must provide a client certificate"),
        ({"accessType": "USERPASS", "password": "pw"}, "username", "You must provide a user name"),
        ({"accessType": "LDAP", "username": "u"}, "password", "You must provide a password"),
        ({**WAYS["LDAP"], "username": "../../sys/seal"}, "username", "a user name has no slash"),
        ({**WAYS["USERPASS"], "username": ".."}, "username", "a user name has no slash"),
        ({"valtUrl": "x"}, "valtUrl", "there is no such field: give one of "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    why = refused(**changes)
    assert why.facts["path"] == f"spec.{path}"
    assert text in why.detail


def test_a_transit_key_needs_a_name_that_vault_takes() -> None:
    assert "Key name cannot be empty" in refused(kind="VaultTransit").detail
    for name in ("a/b", "../sys", "", ".a", "a-"):
        assert refused(kind="VaultTransit", keyName=name).facts["path"] == "spec.keyName"
        why = refused(kind="VaultTransit", keyName="a", previousKeyNames=[name])
        assert why.facts["path"] == "spec.previousKeyNames[0]"
        assert "the name of a key" in why.detail
    assert refused(kind="VaultTransit", keyName="a", secretEngineName="/").facts["path"] == "spec.secretEngineName"


def test_the_segments_of_a_path_are_the_same_with_slashes_at_its_ends() -> None:
    assert segments("/a/b c/") == segments("a/b c") == ("a", "b c")
    assert segments("") == segments("/") == ()
