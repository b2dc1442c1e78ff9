"""CyberArk's settings: every field of both kinds, and what is wrong told by path, never by value."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.cyberark_ccp import CyberArkCcpSettings
from shared.connectors.cyberark_conjur import AUDIENCE, CREDENTIAL_TYPES, ApiKey, CyberArkConjurSettings, Jwt
from shared.connectors.kinds import settings
from shared.connectors.servers import parts_of
from shared.errors import Malformed

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
API_KEY = {"type": "ApiKey", "spec": {"login": "host/apps/privyseal", "apiKey": "account.conjurKey"}}
JWT = {"type": "Jwt", "spec": {"serviceId": "privyseal"}}
CONJUR: dict[str, Any] = {"url": "https://conjur.example.com", "account": "acme", "credential": API_KEY}
CCP: dict[str, Any] = {
    "url": "https://ccp.example.com",
    "appId": "PrivySeal",
    "clientCertificate": PEM,
    "clientKey": "account.ccpKey",
}
SPECS = {"CyberArkConjur": CONJUR, "CyberArkCcp": CCP}


def conjur(**changes: Any) -> CyberArkConjurSettings:
    found = settings("CyberArkConjur", {**CONJUR, **changes})
    assert isinstance(found, CyberArkConjurSettings)
    return found


def ccp(**changes: Any) -> CyberArkCcpSettings:
    found = settings("CyberArkCcp", {**CCP, **changes})
    assert isinstance(found, CyberArkCcpSettings)
    return found


def refused(kind: str, **changes: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        settings(kind, {**SPECS[kind], **changes})
    assert caught.value.code == "connector_malformed"
    assert "hunter2" not in repr(caught.value.problem())
    return caught.value


def api_key(**changes: Any) -> dict[str, Any]:
    return {"credential": {"type": "ApiKey", "spec": {**API_KEY["spec"], **changes}}}  # type: ignore[dict-item]


def jwt(**changes: Any) -> dict[str, Any]:
    return {"credential": {"type": "Jwt", "spec": {**JWT["spec"], **changes}}}  # type: ignore[dict-item]


def test_what_is_left_out_has_its_documented_default() -> None:
    found = conjur()
    assert isinstance(found.credential, ApiKey)
    assert (found.ca_certificate, found.references(), found.oidc_audience) == ("", ("account.conjurKey",), None)
    one = ccp()
    assert (one.web_service, one.reason, one.fail_on_password_change) == ("AIMWebService", "Privy Seal", False)
    assert (one.ca_certificate, one.references(), one.oidc_audience) == ("", ("account.ccpKey",), None)


def test_an_id_tokens_audience_is_conjur_or_what_is_said() -> None:
    found = conjur(credential=JWT)
    assert isinstance(found.credential, Jwt)
    assert (found.oidc_audience, found.credential.spec.host_id, found.references()) == (AUDIENCE, "", ())
    assert conjur(**jwt(audience="https://conjur.example.com")).oidc_audience == "https://conjur.example.com"
    assert conjur(**jwt(hostId="host/apps/privyseal"))
    assert conjur(**jwt(hostId=""))


def test_all_fields_at_once_are_taken() -> None:
    assert conjur(caCertificate=PEM, url="https://acme.secretsmgr.cyberark.cloud/api/", delegateSelectors=["d1"])
    assert ccp(caCertificate=PEM, webService="AIMWebServiceCert", reason="", failOnPasswordChange=True)


def test_an_application_is_known_by_a_certificate_or_by_the_delegates_machine() -> None:
    assert ccp(clientCertificate="", clientKey=None, delegateSelectors=["d1"]).references() == ()
    why = refused("CyberArkCcp", clientCertificate="", clientKey=None)
    assert why.facts["path"] == "spec.delegateSelectors"
    for half in ({"clientCertificate": ""}, {"clientKey": None}):
        assert refused("CyberArkCcp", **half).facts["path"] == "spec.clientKey"


def test_a_url_is_an_origin_and_a_base_path() -> None:
    assert parts_of("https://conjur.example.com") == ("https://conjur.example.com", "")
    assert parts_of("https://h:8443/") == ("https://h:8443", "")
    assert parts_of("https://h/api/v1/") == ("https://h", "/api/v1")
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://[fd00::1]:8443"):
        assert conjur(url=url)


URLS = [
    "",
    "conjur.example.com",
    "ftp://conjur.example.com",
    "https://",
    "https://h:0",
    "https://h:99999",
    "https://[::1",
    "https://u:hunter2@h",
    "https://h/?a=hunter2",
    "https://h/#hunter2",
    "https://h/a/../hunter2",
    "https://h/%2e%2e/hunter2",
    "https://h/a b",
    "https://h//b",
    "https://h\\hunter2",
    "http://hunter2.example.com",
]


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("url", URLS)
def test_a_url_that_could_lead_elsewhere_is_refused(kind: str, url: str) -> None:
    assert refused(kind, url=url).facts["path"] == "spec.url"


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"url": None}, "url", "URL cannot be empty"),
        ({"url": 5}, "url", "give a URL such as"),
        ({"account": None}, "account", "Account cannot be empty"),
        ({"account": "hunter2/x"}, "account", "letters, digits"),
        ({"credential": None}, "credential", "the credential is missing"),
        ({"credential": {"type": "hunter2", "spec": {}}}, "credential.type", "Invalid credential type"),
        ({"caCertificate": "hunter2"}, "caCertificate", "certificates in PEM"),
        ({"caCertificate": "-----BEGIN PRIVATE KEY-----hunter2"}, "caCertificate", "there is a private key in it"),
        ({"default": True}, "default", "only reads"),
        (api_key(login=None), "credential.spec.login", "You must provide a login"),
        (api_key(login="host//hunter2"), "credential.spec.login", "none of them empty"),
        (api_key(login="../hunter2"), "credential.spec.login", "none of them empty"),
        (api_key(login="hunter2/."), "credential.spec.login", "none of them empty"),
        (api_key(login="hunter2/"), "credential.spec.login", "none of them empty"),
        (api_key(login="hunter2\n"), "credential.spec.login", "none of them empty"),
        (api_key(apiKey=None), "credential.spec.apiKey", "You must provide an API key"),
        (api_key(apiKey="hunter2 !"), "credential.spec.apiKey", "the key itself goes into that secret"),
        (jwt(serviceId=None), "credential.spec.serviceId", "the id of the JWT authenticator"),
        (jwt(serviceId="a/../hunter2"), "credential.spec.serviceId", "none of them empty"),
        (jwt(hostId="/hunter2"), "credential.spec.hostId", "none of them empty"),
        (jwt(audience=""), "credential.spec.audience", "in one line"),
        (jwt(audience="hunter2\r"), "credential.spec.audience", "in one line"),
        (jwt(audience="sts.amazonaws.com"), "credential.spec.audience", "a cloud's own audience"),
        (jwt(audience="//IAM.googleapis.com/hunter2"), "credential.spec.audience", "a cloud's own audience"),
        (jwt(audience="api://AzureADTokenExchange"), "credential.spec.audience", "a cloud's own audience"),
    ],
)
def test_what_is_wrong_at_conjur_is_told_by_its_path(changes: dict[str, Any], path: str, text: str) -> None:
    why = refused("CyberArkConjur", **changes)
    assert (why.facts["path"], text in why.detail) == (f"spec.{path}", True), why.detail


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"url": None}, "url", "URL cannot be empty"),
        ({"appId": None}, "appId", "AppID cannot be empty"),
        ({"appId": ""}, "appId", "up to 128 characters"),
        ({"appId": "hunter2&Safe=x"}, "appId", "without + & % ;"),
        ({"reason": "hunter2\n"}, "reason", "without + & % ;"),
        ({"webService": "../hunter2"}, "webService", "letters, digits"),
        ({"webService": ""}, "webService", "letters, digits"),
        ({"caCertificate": "hunter2"}, "caCertificate", "certificates in PEM"),
        ({"clientCertificate": "hunter2"}, "clientCertificate", "certificates in PEM"),
        (
            {"clientCertificate": PEM + "-----BEGIN EC PRIVATE KEY-----hunter2"},
            "clientCertificate",
            "there is a private key in it",
        ),
        ({"clientKey": "hunter2 !"}, "clientKey", "goes into that secret"),
        ({"default": True}, "default", "only reads"),
    ],
)
def test_what_is_wrong_at_ccp_is_told_by_its_path(changes: dict[str, Any], path: str, text: str) -> None:
    why = refused("CyberArkCcp", **changes)
    assert (why.facts["path"], text in why.detail) == (f"spec.{path}", True), why.detail


def test_every_way_to_log_in_is_tried_here() -> None:
    assert set(CREDENTIAL_TYPES) == {"ApiKey", "Jwt"}
