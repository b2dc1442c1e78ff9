"""Endpoints come from the delegate's own configuration, with TLS anywhere but on loopback."""

from __future__ import annotations

import pytest

from delegate.endpoints import Endpoints
from shared.errors import Malformed


def test_without_any_each_service_is_where_it_ordinarily_is() -> None:
    assert Endpoints().url("kms") is None
    assert Endpoints.parse("", "aws_endpoints").url("kms") is None
    assert Endpoints.parse(" , ", "aws_endpoints").url("kms") is None


def test_one_url_is_for_all_services() -> None:
    endpoints = Endpoints.parse("http://127.0.0.1:5000/", "aws_endpoints")
    assert endpoints.url("kms") == endpoints.url("sts") == "http://127.0.0.1:5000"


def test_a_services_own_url_goes_before_that_for_all() -> None:
    endpoints = Endpoints.parse("kms=https://vpce-1.example:8443, https://aws.example", "aws_endpoints")
    assert endpoints.url("kms") == "https://vpce-1.example:8443"
    assert endpoints.url("sts") == "https://aws.example"


def test_a_service_without_an_override_is_where_it_ordinarily_is() -> None:
    assert Endpoints.parse("kms=https://vpce-1.example", "aws_endpoints").url("sts") is None


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:5000", "http://localhost:5000", "https://[2001:db8::1]"],
)
def test_plain_http_is_for_loopback(text: str) -> None:
    assert Endpoints.parse(text, "aws_endpoints").url("kms") == text


@pytest.mark.parametrize(
    "text",
    [
        "http://kms.example",
        "http://10.0.0.1:5000",
        "http://127.0.0.1.example:5000",
        "http://localhost.example",
        "ftp://127.0.0.1",
        "https://",
        "https:///path",
        "https://kms.example/path",
        "https://kms.example?query",
        "https://kms.example?",
        "https://kms.example#fragment",
        "https://kms.example#",
        "https://user@kms.example",
        "https://user:hunter2@kms.example",
        "https://kms.example:0",
        "https://kms.example:99999",
        "https://kms.example:port",
        "https://kms example",
        "https://kms\texample",
        "https://kms.example\\@evil.example",
        "https://[::1",
        "https://k\u00e4ms.example",
        "kms",
        "kms=",
        "KMS=https://kms.example",
        "=https://kms.example",
        "kms=https://a.example,kms=https://b.example",
        "https://a.example,https://b.example",
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        Endpoints.parse(text, "aws_endpoints")
    assert caught.value.facts["setting"] == "aws_endpoints"
    assert "hunter2" not in caught.value.detail + caught.value.hint
