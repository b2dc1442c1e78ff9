"""Founding: keys first, then documents that everybody believes, and nothing half done."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from client.founding import Founding, Places, begin, unfinished
from client.home import Home
from client.rootkeys import load_root, parse_recovery
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.errors import Malformed, NotReady
from shared.trust.book import Book

NOW = 1_800_000_000


class Desk:
    """A person's desk: a home, places for keys, and the paper with the recovery key."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.places = Places(folder / "root.pem", folder / "keyring.json")
        self.identity = Identity.generate()
        self.paper: list[str] = []

    def found(self) -> Founding:
        return begin(
            self.home,
            "acme",
            "https://manager.example",
            "ann",
            self.identity,
            self.places,
            self.paper.append,
            "",
            lambda: NOW,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_first_documents_make_a_believable_account(desk: Desk) -> None:
    founding = desk.found()
    book = Book(founding.account)
    for compact in founding.documents:
        book.admit(compact, NOW)
    assert book.account is not None
    assert book.status is not None
    assert book.authority.is_administrator(desk.identity.kid)
    root = load_root(desk.places.root, lambda _: None)
    assert book.account.document.roots == (root.key, parse_recovery(desk.paper[0]).key)
    keyring = Keyring.parse(desk.places.keyring.read_bytes())
    assert keyring.matches(book.keyrings["main"].document)
    assert unfinished(desk.home, "acme") == founding


def test_the_recovery_key_is_written_nowhere(desk: Desk, tmp_path: Path) -> None:
    desk.found()
    printed = desk.paper[0].upper()
    characters = printed.replace("-", "")
    # All of it is looked for: four letters of it stand by chance in a file of random base64.
    seed = base64.b32decode(characters[4:56] + "====")
    spellings = {printed.encode(), characters[4:56].encode(), seed.hex().upper().encode()}
    exact = {seed, base64.b64encode(seed).rstrip(b"="), base64.urlsafe_b64encode(seed).rstrip(b"=")}
    exact |= {line for line in parse_recovery(printed).pem(None).splitlines() if not line.startswith(b"-")}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {desk.places.root, desk.places.keyring} < set(files)
    for path in files:
        content = path.read_bytes()
        assert not any(one in content.upper() for one in spellings)
        assert not any(one in content for one in exact)


def test_an_existing_file_is_left_alone_and_nothing_else_is_made(desk: Desk) -> None:
    desk.places.keyring.write_bytes(b"mine")
    with pytest.raises(Malformed, match="not overwritten"):
        desk.found()
    assert desk.places.keyring.read_bytes() == b"mine"
    assert not desk.places.root.exists()
    assert desk.paper == []


def test_nothing_is_written_unless_the_recovery_key_is_confirmed(desk: Desk) -> None:
    def refuse(_: str) -> None:
        raise Malformed("not_confirmed", "no")

    with pytest.raises(Malformed, match="no"):
        begin(desk.home, "acme", "https://m.example", "ann", desk.identity, desk.places, refuse, "", lambda: NOW)
    assert not desk.places.root.exists()
    assert not desk.home.root.exists()


def test_keys_of_a_founding_that_could_not_be_written_are_removed(desk: Desk, tmp_path: Path) -> None:
    desk.places = Places(tmp_path / "root.pem", tmp_path / "nowhere" / "keyring.json")
    with pytest.raises(Exception, match="can't be written"):
        desk.found()
    assert not desk.places.root.exists()
    with pytest.raises(NotReady):
        unfinished(desk.home, "acme")


def test_a_second_founding_of_one_name_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.found()
    desk.places = Places(tmp_path / "root2.pem", tmp_path / "keyring2.json")
    with pytest.raises(Malformed) as caught:
        desk.found()
    assert "--resume" in caught.value.hint
