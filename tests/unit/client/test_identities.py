"""Identities on disk: private, locked where their owner wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.home import Home
from client.identities import Identities, passphrase_from
from shared.errors import Denied, Malformed, NotFound


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(Home(tmp_path / "home"))


def nobody(_: str) -> bytes | None:
    return None


def test_an_identity_comes_back_as_it_was_made(identities: Identities) -> None:
    made = identities.new("ann", None)
    assert identities.load("ann", nobody).kid == made.kid
    assert identities.public("ann") == made.key
    assert identities.names() == ["ann"]


def test_a_passphrase_locks_it(identities: Identities) -> None:
    made = identities.new("ann", b"correct horse")
    assert b"ENCRYPTED" in identities.path("ann").read_bytes()
    assert identities.load("ann", lambda _: b"correct horse").kid == made.kid
    with pytest.raises(Denied) as caught:
        identities.load("ann", nobody)
    assert caught.value.code == "passphrase_needed"
    with pytest.raises(Denied):
        identities.load("ann", lambda _: b"wrong")
    assert identities.public("ann") == made.key


def test_an_identity_is_not_made_twice(identities: Identities) -> None:
    made = identities.new("ann", None)
    with pytest.raises(Malformed):
        identities.new("ann", None)
    assert identities.load("ann", nobody).kid == made.kid


def test_an_identity_that_others_may_read_is_refused(identities: Identities) -> None:
    identities.new("ann", None)
    identities.path("ann").chmod(0o644)
    with pytest.raises(Denied, match="may be read by others"):
        identities.load("ann", nobody)


def test_an_unknown_identity_names_those_that_are_known(identities: Identities) -> None:
    identities.new("ann", None)
    with pytest.raises(NotFound, match="ann"):
        identities.load("bob", nobody)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x\n"])
def test_a_name_cannot_leave_the_folder(identities: Identities, name: str) -> None:
    with pytest.raises(Malformed):
        identities.path(name)


def test_the_passphrase_comes_from_a_private_file_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(b"correct horse\r\n")
    path.chmod(0o600)
    assert passphrase_from({}) is None
    assert passphrase_from({"PRIVYSEAL_PASSPHRASE_FILE": str(path)}) == b"correct horse"
    path.chmod(0o604)
    with pytest.raises(Denied):
        passphrase_from({"PRIVYSEAL_PASSPHRASE_FILE": str(path)})
