"""Origins have one form, and plain text stays on this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.origin import Origin, is_loopback


@pytest.mark.parametrize(
    ("given_", "form"),
    [
        ("https://Manager.Example", "https://manager.example"),
        ("https://manager.example:443/", "https://manager.example"),
        ("https://manager.example:8471", "https://manager.example:8471"),
        (" http://localhost:80 ", "http://localhost"),
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470"),
        ("http://[::1]:8470", "http://[::1]:8470"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
    ],
)
def test_an_origin_has_one_form(given_: str, form: str) -> None:
    origin = Origin.parse(given_, "URL")
    assert str(origin) == form
    assert str(Origin.parse(form, "URL")) == form


def test_an_address_is_what_is_dialled() -> None:
    assert Origin.parse("https://[::1]", "URL").address == "[::1]:443"
    assert Origin.parse("https://x:1", "URL").address == "x:1"


@pytest.mark.parametrize(
    "text",
    [
        "https://a b", "https://x ?", "https://x\x01",
        "", "x", "manager.example", "ftp://x", "https://", "https://x:0", "https://x:99999", "https://x:y", "https://[::1",
        "https://x/path", "https://x?q", "https://x#f", "https://user@x", "https://user:pw@x", "https://@x",
    ],
)  # fmt: skip
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(Malformed) as why:
        Origin.parse(text, "manager's URL")
    assert why.value.code == "url_malformed"
    assert "manager's URL" in why.value.detail and "pw" not in why.value.detail


@pytest.mark.parametrize("host", ["x", "10.0.0.1", "localhost.example", "0.0.0.0", "[::]"])
def test_plain_text_to_another_machine_is_refused(host: str) -> None:
    with pytest.raises(Malformed) as why:
        Origin.parse(f"http://{host}", "URL")
    assert why.value.code == "url_insecure"


def test_this_machine_is_known_by_address_not_by_name_service() -> None:
    assert [is_loopback(one) for one in ("localhost", "127.3.2.1", "::1", "ip6-localhost", "")] == [True] * 3 + [
        False
    ] * 2


@given(st.text())
def test_any_text_parses_or_is_malformed(text: str) -> None:
    try:
        origin = Origin.parse(text, "URL")
    except Malformed:
        return
    assert Origin.parse(str(origin), "URL") == origin
