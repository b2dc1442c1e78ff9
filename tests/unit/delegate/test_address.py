"""The manager's URL: what is safe to dial, what a hello is signed for, and when a proxy is used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.address import Address
from shared.errors import Malformed
from shared.origin import is_loopback


@pytest.mark.parametrize(
    ("url", "target", "origin"),
    [
        ("https://Manager.Example", "manager.example:443", "https://manager.example"),
        ("https://manager.example:443/", "manager.example:443", "https://manager.example"),
        ("https://manager.example:8443", "manager.example:8443", "https://manager.example:8443"),
        ("https://[2001:DB8::1]", "[2001:db8::1]:443", "https://[2001:db8::1]"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8444", "127.0.0.1:8444", "http://127.0.0.1:8444"),
        ("http://localhost:80", "localhost:80", "http://localhost"),
        ("http://[::1]:8444", "[::1]:8444", "http://[::1]:8444"),
    ],
)
def test_a_url_has_one_target_and_one_origin(url: str, target: str, origin: str) -> None:
    address = Address.parse(url)
    assert (address.target, address.origin) == (target, origin)
    assert Address.parse(origin) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "manager.example:8443",
        "ftp://manager.example",
        "https://",
        "https://manager.example/path",
        "https://manager.example?x=1",
        "https://user:password@manager.example",
        "https://manager.example:99999",
        "https://manager.example:x",
        "https://[::1",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(Malformed) as caught:
        Address.parse(url)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("host", ["manager.example", "10.0.0.1", "0.0.0.0", "localhost.evil.example", "127.1", "[::]"])
def test_plain_text_to_another_machine_is_refused(host: str) -> None:
    with pytest.raises(Malformed) as caught:
        Address.parse(f"http://{host}:8444")
    assert caught.value.code == "url_insecure"


def test_the_setting_wins_over_the_variable_and_both_lose_to_no_proxy() -> None:
    address = Address.parse("https://manager.example:8443")
    assert address.proxy(None, {}) is None
    assert address.proxy("http://a:1", {"HTTPS_PROXY": "http://b:2"}) == "http://a:1"
    assert address.proxy(None, {"HTTPS_PROXY": "http://user@b"}) == "http://user@b:80"
    assert address.proxy(None, {"https_proxy": "b:3128"}) == "http://b:3128"
    for no_proxy in ("*", "manager.example", "x, .example", "*.example", "EXAMPLE"):
        assert address.proxy("http://a:1", {"NO_PROXY": no_proxy}) is None
    for no_proxy in ("", "ager.example", "other", "manager.example.org", ","):
        assert address.proxy("http://a:1", {"no_proxy": no_proxy}) == "http://a:1"


@pytest.mark.parametrize(
    ("url", "direct", "proxied"),
    [
        (
            "https://10.1.2.3:8443",
            ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:8443", "10.1.2.3/32", "10.0.0.0/8:8443", "x 10.1.2.9/24", "*:8443"],
            ["10.2.0.0/16", "10.1.2.3:443", "10.0.0.0/8:443", "10.1.2", "::/0", "0.1.2.3", "2.3", "10.1.2.0/33"],
        ),
        (
            "https://manager.example",
            ["example:443", "manager.example:443", ".example:443", "*.example:443", "*:443"],
            ["example:8443", "10.0.0.0/8", "0.0.0.0/0", "example:x", ":443"],
        ),
        (
            "https://[2001:db8::1]:8443",
            ["2001:db8::/32", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:8443", "[2001:db8::]/32", "2001:DB8:0::1"],
            ["[2001:db8::1]:443", "2001:db9::/32", "0.0.0.0/0", "db8::1", "1"],
        ),
    ],
)
def test_no_proxy_knows_networks_and_ports(url: str, direct: list[str], proxied: list[str]) -> None:
    address = Address.parse(url)
    for entry in direct:
        assert address.proxy("http://a:1", {"NO_PROXY": f"other, {entry}"}) is None, entry
    for entry in proxied:
        assert address.proxy("http://a:1", {"NO_PROXY": f"other, {entry}"}) == "http://a:1", entry


def test_a_proxy_may_be_for_all_but_the_manager() -> None:
    address = Address.parse("https://manager.example")
    assert address.proxy(None, {"HTTPS_PROXY": "http://b:2", "PROXY_MANAGER": "false"}) is None
    assert address.proxy(None, {"HTTPS_PROXY": "http://b:2", "PROXY_MANAGER": "true"}) == "http://b:2"
    assert address.proxy("http://a:1", {"PROXY_MANAGER": "false"}) == "http://a:1"


@given(st.text(max_size=40))
def test_any_no_proxy_is_understood_or_means_nobody(text: str) -> None:
    assert Address.parse("https://[2001:db8::1]").proxy("http://a:1", {"NO_PROXY": text}) in {None, "http://a:1"}


def test_plain_text_never_goes_through_a_proxy() -> None:
    assert Address.parse("http://127.0.0.1:1").proxy("http://a:1", {"HTTPS_PROXY": "http://b:2"}) is None


@pytest.mark.parametrize("url", ["https://proxy:1", "socks5://proxy:1", "http://", "http://proxy:x"])
def test_a_proxy_that_gRPC_can_not_use_is_refused(url: str) -> None:  # noqa: N802
    with pytest.raises(Malformed):
        Address.parse("https://manager.example").proxy(url, {})


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_malformed(text: str) -> None:
    for url in (text, "https://" + text, "http://" + text):
        try:
            address = Address.parse(url)
        except Malformed:
            continue
        assert address.tls or is_loopback(address.place.host)
        assert Address.parse(address.origin) == address
