"""The files that a delegate starts from: who else may have read the keyring decides whether it is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from delegate.files import LARGEST_BYTES, read_authorities, read_keyring, read_text
from shared.errors import Denied, Malformed, NotFound
from tests.fakes.world import World

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    path = tmp_path / "keyring.json"
    path.write_bytes(World().keyring.text())
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_keyring_that_only_its_owner_reads_is_taken(keyring: Path, mode: int) -> None:
    keyring.chmod(mode)
    assert read_keyring(str(keyring)).name == "main"


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604, 0o660, 0o666, 0o444, 0o620, 0o601, 0o460])
def test_a_keyring_that_others_may_touch_is_refused_with_the_remedy(keyring: Path, mode: int) -> None:
    keyring.chmod(mode)
    with pytest.raises(Denied) as caught:
        read_keyring(str(keyring))
    assert caught.value.code == "keyring_exposed"
    assert f"{mode:04o}" in caught.value.detail
    assert f"chmod 0600 {keyring}" in caught.value.hint


@pytest.mark.skipif(not AS_ROOT, reason="only root owns what a container mounts")
def test_a_mounted_secret_of_root_that_a_group_reads_is_taken(keyring: Path) -> None:
    keyring.chmod(0o440)
    assert read_keyring(str(keyring)).name == "main"
    os.chown(keyring, 12_345, 12_345)
    with pytest.raises(Denied):
        read_keyring(str(keyring))


def test_links_are_followed_as_kubernetes_makes_them(keyring: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    (mounted / "..2026_11_21").mkdir(parents=True)
    keyring.rename(mounted / "..2026_11_21/keyring.json")
    (mounted / "..data").symlink_to("..2026_11_21")
    (mounted / "keyring.json").symlink_to("..data/keyring.json")
    assert read_keyring(str(mounted / "keyring.json")).name == "main"
    (mounted / "..2026_11_21/keyring.json").chmod(0o644)
    with pytest.raises(Denied, match="mode 0644"):
        read_keyring(str(mounted / "keyring.json"))


def test_a_link_to_a_link_is_refused(keyring: Path, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(keyring)
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert read_keyring(str(tmp_path / "one")).name == "main"
    with pytest.raises(Denied):
        read_keyring(str(tmp_path / "two"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", mode=0o600)
    for name in ("folder", "pipe"):
        with pytest.raises(Malformed, match="not a file"):
            read_keyring(str(tmp_path / name))
    with pytest.raises(NotFound, match="there is no keyring file"):
        read_keyring(str(tmp_path / "absent"))


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"privyseal":"keyring"}', b"[" * 100_000])
def test_a_keyring_file_that_is_none_is_refused_without_repeating_it(keyring: Path, text: bytes) -> None:
    keyring.write_bytes(text)
    with pytest.raises(Malformed, match="keyring file is malformed"):
        read_keyring(str(keyring))


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"#" * (LARGEST_BYTES + 1))
    with pytest.raises(Malformed, match="too long"):
        read_text(str(tmp_path / "long"), "policy")


def test_texts_and_authorities_are_read(tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(b"\xff")
    with pytest.raises(Malformed, match="not UTF-8"):
        read_text(str(tmp_path / "policy"), "policy")
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    assert read_authorities(str(tmp_path / "ca.pem")).startswith(b"-----BEGIN")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(Malformed, match="no certificate"):
        read_authorities(str(tmp_path / "ca.pem"))
