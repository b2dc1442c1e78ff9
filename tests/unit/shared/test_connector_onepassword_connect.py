"""Settings of 1Password Connect: a server and a token for it, and what is wrong is told by its path."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.kinds import settings
from shared.connectors.onepassword_connect import OnePasswordConnectSettings
from shared.errors import Malformed

BASE: dict[str, Any] = {"url": "https://connect.example.com", "token": "account.connect"}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def connect(**changes: Any) -> OnePasswordConnectSettings:
    found = settings("OnePasswordConnect", {**BASE, **changes})
    assert isinstance(found, OnePasswordConnectSettings)
    return found


def test_a_url_and_a_token_are_enough() -> None:
    plain = connect()
    assert (plain.url, plain.ca_certificate) == ("https://connect.example.com", "")
    assert plain.named_references() == {"token": "account.connect"}
    assert plain.oidc_audience is None


@pytest.mark.parametrize(
    "url", ["https://connect.example.com:8443", "https://example.com/connect/", "http://127.0.0.1:8080"]
)
def test_urls_have_ports_and_paths_and_are_in_the_clear_on_loopback_alone(url: str) -> None:
    assert connect(url=url, caCertificate=PEM).url == url


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"url": None}, "url", "URL cannot be empty"),
        ({"url": "connect.example.com"}, "url", "give https://HOST"),
        ({"url": "http://connect.example.com"}, "url", "don't travel in the clear"),
        ({"url": "https://me:x@connect.example.com"}, "url", "without user"),
        ({"url": "https://connect.example.com?x=1"}, "url", "without user, query"),
        ({"url": 7}, "url", "give the URL of a Connect server"),
        ({"token": None}, "token", "the access token is missing"),
        ({"token": "eyJhbGciOiJFUzI1NiJ9.x.y"}, "token", "the access token itself goes into that secret"),
        ({"caCertificate": "x"}, "caCertificate", "give certificates in PEM"),
        ({"caCertificate": PEM + "-----BEGIN PRIVATE KEY-----"}, "caCertificate", "there is a private key in it"),
        ({"default": True}, "default", "only reads"),
        ({"vault": "x"}, "vault", "there is no such field: give one of "),
    ],
)
def test_what_is_wrong_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        connect(**changes)
    assert caught.value.code == "connector_malformed"
    assert caught.value.facts["path"] == f"spec.{path}"
    assert text in caught.value.detail
