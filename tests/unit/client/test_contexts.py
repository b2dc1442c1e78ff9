"""Contexts: where the account is, checked before anything is sent there."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.context import Context, Contexts, parse_here, parse_origin, parse_place
from client.home import Home
from shared.errors import Malformed, NotFound, NotReady
from shared.names import Scope

ACCOUNT = "a" * 52


@pytest.fixture
def contexts(tmp_path: Path) -> Contexts:
    return Contexts(Home(tmp_path / "home"))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://manager.example.com", "https://manager.example.com"),
        (" https://Manager.example.com/ ", "https://manager.example.com"),
        ("https://manager.example.com:443", "https://manager.example.com"),
        ("https://manager.example.com:8443/", "https://manager.example.com:8443"),
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470"),
        ("http://[::1]:8470", "http://[::1]:8470"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_an_origin_has_one_form(url: str, origin: str) -> None:
    assert parse_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "manager.example.com",
        "ftp://manager.example.com",
        "http://manager.example.com",
        "http://10.0.0.1:8470",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "https://user:secret@manager.example.com",
        "https://user@manager.example.com",
        "https://manager.example.com/path",
        "https://manager.example.com?x=1",
        "https://manager.example.com:port",
        "https://[::1",
        "https://",
    ],
)
def test_what_is_no_safe_origin_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_origin(url)
    assert len(url) < 10 or url not in str(caught.value.problem())


def test_an_address_is_an_origin_and_an_account() -> None:
    assert parse_place(f"https://manager.example.com/{ACCOUNT}/") == ("https://manager.example.com", ACCOUNT)
    for wrong in (
        "https://manager.example.com",
        f"https://manager.example.com/x/{ACCOUNT}",
        ACCOUNT,
        "https://h/short",
    ):
        with pytest.raises(Malformed):
            parse_place(wrong)


def test_a_project_needs_its_organisation() -> None:
    assert parse_here("", "") == Scope()
    assert parse_here("acme", "pay") == Scope("acme", "pay")
    with pytest.raises(Malformed):
        parse_here("", "pay")
    with pytest.raises(Malformed):
        parse_here("a-b", "")


def test_the_first_context_is_the_current_one_and_another_can_be_chosen(contexts: Contexts) -> None:
    with pytest.raises(NotReady) as caught:
        contexts.find(None)
    assert "privyseal init" in caught.value.hint
    one, two = Context("https://one.example", ACCOUNT), Context("https://two.example", ACCOUNT, "ci", "acme", "pay")
    contexts.put("one", one)
    contexts.put("two", two, use=False)
    assert contexts.find(None) == ("one", one)
    assert contexts.find("two") == ("two", two)
    contexts.use("two")
    assert contexts.find(None) == ("two", two)
    assert two.scope == Scope("acme", "pay")
    assert contexts.change(None, org="", project="")[1].scope == Scope()
    contexts.remove("two")
    with pytest.raises(NotReady):
        contexts.find(None)
    assert contexts.all() == ("", {"one": one})


def test_an_unknown_context_names_those_that_are_known(contexts: Contexts) -> None:
    contexts.put("one", Context("https://one.example", ACCOUNT))
    for act in (contexts.find, contexts.use, contexts.remove):
        with pytest.raises(NotFound, match="one"):
            act("two")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"contexts":{"x":{"manager":1}}}', b"\xff"])
def test_a_damaged_file_is_told_and_left(contexts: Contexts, tmp_path: Path, damage: bytes) -> None:
    path = Home(tmp_path / "home").write(damage, "contexts.json")
    with pytest.raises(Malformed, match="damaged"):
        contexts.put("one", Context("https://one.example", ACCOUNT))
    assert path.read_bytes() == damage
