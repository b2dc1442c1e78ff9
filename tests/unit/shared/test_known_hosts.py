"""Known hosts: lines as OpenSSH has them, looked for by the name that is dialled, weak keys never believed."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.known_hosts import Known, fingerprint, is_weak, matching, parse, parse_file, type_of

ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))


def openssh(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def blob(key: ed25519.Ed25519PrivateKey) -> bytes:
    return base64.b64decode(openssh(key).split()[1])


KEY, KEY2 = openssh(ED), openssh(OTHER)


@pytest.fixture(scope="module")
def weak() -> str:
    return openssh(rsa.generate_private_key(65537, 1024))  # noqa: S505 (that it is weak is the point)


def test_a_line_is_marker_hosts_type_and_key_and_a_remark() -> None:
    line = parse(f"@cert-authority *.example.com,!bad.example.com {KEY} who made it")
    assert line == ("@cert-authority", ("*.example.com", "!bad.example.com"), "ssh-ed25519", blob(ED))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_the_curves_of_nist_are_read(curve: ec.EllipticCurve) -> None:
    line = parse(f"host {openssh(ec.generate_private_key(curve))}")
    assert line.type == type_of(line.key)


def test_an_rsa_key_is_read_and_a_short_one_is_refused(weak: str) -> None:
    strong = parse(f"host {openssh(rsa.generate_private_key(65537, 2048))}")
    assert not is_weak(strong.key)
    with pytest.raises(ValueError, match=r"fewer than 2,048 bits"):
        parse(f"host {weak}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "hosts, a type and a key"),
        ("host", "hosts, a type and a key"),
        (f"@cert-authority {KEY}", "hosts, a type and a key"),
        (f"@trusted host {KEY}", "marker"),
        (f"host\n{KEY}", "ends there"),
        (f"host {KEY}\rother", "ends there"),
        ("x" * 20_000, "ends there"),
        (f"ho'st {KEY}", "names, addresses"),
        (f"a,,b {KEY}", "names, addresses"),
        (f"|1|short|short {KEY}", "names, addresses"),
        (f"!only {KEY}", "names no host"),
        (f"host s$h {KEY.split()[1]}", "other characters"),
        ("host ssh-ed25519 not*base64", "isn't base64"),
        ("host ssh-ed25519 AAAA", "another type"),
        (f"host ssh-rsa {KEY.split()[1]}", "another type"),
        (f"host ssh-ed25519 {base64.b64encode(blob(ED)[:-1]).decode()}", "length"),
        (f"host ssh-ed25519 {base64.b64encode(blob(ED)[:15]).decode()}", "length"),
    ],
)
def test_another_line_is_refused_in_words_that_repeat_nothing_of_it(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        parse(line)
    assert KEY.split()[1] not in str(refused.value)


def test_a_type_that_nobody_should_use_is_refused_in_a_line_and_left_out_of_a_file(weak: str) -> None:
    old = "host ssh-dss " + base64.b64encode(b"\0\0\0\7ssh-dss").decode()
    with pytest.raises(ValueError, match=r"isn't one of ssh-ed25519"):
        parse(old)
    file = parse_file(f"# my hosts\n\n{old}\nhost {weak}\n  \nhost {KEY}\n")
    assert [line.key for line in file] == [blob(ED)]


@pytest.mark.parametrize("strange", ["\u2028", "\x0b", "\x0c", "\x1c", "\x85", "\r"])
def test_a_remark_goes_on_to_the_end_of_its_line_as_openssh_reads_it(strange: str) -> None:
    assert parse_file(f"# asked by someone{strange}host {KEY}\r\nother {KEY}\r\n") == (parse(f"other {KEY}"),)


def test_a_files_broken_line_is_told_by_its_number() -> None:
    with pytest.raises(ValueError, match=r"line 3: the key isn't base64"):
        parse_file(f"# one\nhost {KEY}\nhost ssh-ed25519 ***\n")


def known(text: str, host: str, port: int = 22) -> Known:
    return matching(parse_file(text), host, port)


@pytest.mark.parametrize(
    ("patterns", "host", "meant"),
    [
        ("db.example.com", "db.example.com", True),
        ("DB.example.com", "db.EXAMPLE.com", True),
        ("db.example.com", "xdb.example.com", False),
        ("db.example.com", "db.example.com.evil", False),
        ("a,b,c", "b", True),
        ("*.example.com", "db.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com,!bad.example.com", "bad.example.com", False),
        ("!bad.example.com,*.example.com", "good.example.com", True),
        ("db?", "db1", True),
        ("db?", "db", False),
        ("d.", "db", False),
        ("10.0.0.5", "10.0.0.5", True),
        ("2001:db8::5", "2001:db8::5", True),
        ("*", "whatever", True),
        ("a*c*", "abcd", True),
    ],
)
def test_a_host_is_found_by_its_patterns(patterns: str, host: str, meant: bool) -> None:
    assert known(f"{patterns} {KEY}", host) == Known((blob(ED),) if meant else ())


def test_another_port_has_lines_of_its_own_and_else_those_of_the_host() -> None:
    text = f"db {KEY}\n[db]:2222 {KEY2}\n"
    assert known(text, "db").keys == (blob(ED),)
    assert known(text, "db", 2222).keys == (blob(OTHER),)
    assert known(text, "db", 2223).keys == (blob(ED),)
    assert known(f"[db]:22 {KEY}", "db").keys == ()


def test_what_is_revoked_for_the_host_is_revoked_at_each_of_its_ports() -> None:
    text = f"@revoked db {KEY}\n[db]:2222 {KEY}\n@cert-authority [db]:2222 {KEY2}\n"
    assert known(text, "db", 2222) == Known((blob(ED),), (blob(OTHER),), (blob(ED),))


def test_many_stars_take_no_longer_than_few() -> None:
    assert known(f"{'*a' * 120} {KEY}", "a" * 119 + "b").keys == ()
    assert known(f"{'*a' * 120} {KEY}", "a" * 200).keys == (blob(ED),)


@pytest.mark.parametrize("port", [22, 2222])
def test_lines_that_ssh_keygen_hashed_are_found(tmp_path: Path, port: int) -> None:
    name = "db.example.com" if port == 22 else f"[db.example.com]:{port}"
    file = tmp_path / "known_hosts"
    file.write_text(f"{name} {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    text = file.read_text()
    assert text.startswith("|1|")
    assert known(text, "db.example.com", port).keys == (blob(ED),)
    assert known(text, "db2.example.com", port).keys == ()
    assert parse(text.strip()).key == blob(ED)


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(KEY + "\n")
    told = subprocess.run(["ssh-keygen", "-l", "-f", str(file)], check=True, capture_output=True, text=True).stdout
    assert fingerprint(blob(ED)) in told.split()


@given(st.text())
def test_garbage_is_a_line_or_a_value_error_and_nothing_else(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        return


@given(st.binary())
def test_garbage_in_a_key_has_a_type_or_none(key: bytes) -> None:
    assert isinstance(type_of(key), str)
    assert isinstance(is_weak(b"\0\0\0\7ssh-rsa" + key), bool)
