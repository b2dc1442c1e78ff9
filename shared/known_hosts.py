"""Known hosts in OpenSSH's form: which key a host has to show (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

    db.example.com,10.0.0.5 ssh-ed25519 AAAAC3Nza...
    @cert-authority *.example.com ecdsa-sha2-nistp256 AAAAE2Vj...
    @revoked * ssh-ed25519 AAAAC3Nza...

Promises: a line is read as OpenSSH reads it or refused; a host is looked for by the name it is dialled by, never by the address
that the name leads to. Must not reach for a key that is too weak to tell a host by: DSA, and RSA below 2,048 bits.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple

PORT = 22
LEAST_RSA_BITS = 2048
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_SIZES = {
    "ssh-ed25519": 32,
    "ecdsa-sha2-nistp256": 65,
    "ecdsa-sha2-nistp384": 97,
    "ecdsa-sha2-nistp521": 133,
}
"""Of the last part of a key, in bytes: the point, uncompressed where there is a choice."""

AUTHORITY, REVOKED = "@cert-authority", "@revoked"

_LONGEST = 16_384
_PATTERN = re.compile(r"!?(\[[0-9A-Za-z_.:*?\-]{1,255}\]:[0-9]{1,5}|[0-9A-Za-z_.:*?\-]{1,255})\Z")
_HASHED = re.compile(r"\|1\|(?P<salt>[0-9A-Za-z+/]{27}=)\|(?P<hash>[0-9A-Za-z+/]{27}=)\Z")
_TYPE = re.compile(r"[0-9A-Za-z@.\-]{1,64}\Z")


class Line(NamedTuple):
    """One line: its marker (empty without one), host patterns, type of key, and the key in SSH's wire form (RFC 4253, 6.6)."""

    marker: str
    patterns: tuple[str, ...]
    type: str
    key: bytes


class Known(NamedTuple):
    """What is known of one host: its keys, the authorities that sign its keys, and the keys that nobody may show any more."""

    keys: tuple[bytes, ...] = ()
    authorities: tuple[bytes, ...] = ()
    revoked: tuple[bytes, ...] = ()


def parse(text: str) -> Line:
    """One line. Raises ValueError with what is wrong in words that repeat nothing of it."""
    line = _split(text)
    if line.type not in KEY_TYPES:
        raise ValueError("the type of the key isn't one of " + ", ".join(KEY_TYPES))
    if is_weak(line.key):
        raise ValueError(f"the RSA key has fewer than {LEAST_RSA_BITS:,} bits: give the host a better one")
    return line


def parse_file(text: str) -> tuple[Line, ...]:
    """A whole file, whose empty lines and those with # at their beginning say nothing. Raises ValueError with the line's number.

    Keys of other types than KEY_TYPES and weak ones are left out, as OpenSSH does with what it doesn't know: none is ever believed.
    """
    lines = []
    # Not splitlines, which also ends lines where OpenSSH doesn't: the rest of a comment would count.
    for number, one in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not one.strip() or one.lstrip().startswith("#"):
            continue
        try:
            line = _split(one)
        except ValueError as why:
            raise ValueError(f"line {number}: {why}") from None
        if line.type in KEY_TYPES and not is_weak(line.key):
            lines.append(line)
    return tuple(lines)


def matching(lines: Iterable[Line], host: str, port: int) -> Known:
    """What these lines say of a host that is dialled by that name or address, at that port.

    As in OpenSSH, lines for `[host]:port` count at another port than 22, and where there are none those for the host alone.
    """
    host, lines = host.lower(), tuple(lines)
    plain, exact = _known(lines, host), Known()
    if port != PORT:
        exact = _known(lines, f"[{host}]:{port}")
    chosen = exact if exact.keys or exact.authorities else plain
    return Known(chosen.keys, chosen.authorities, (*plain.revoked, *exact.revoked))


def type_of(key: bytes) -> str:
    """The type that a key in SSH's wire form names itself by."""
    return _part(key, 0)[0].decode("ascii", "replace")


def is_weak(key: bytes) -> bool:
    """Whether it is an RSA key of fewer than 2,048 bits; the modulus is its last part."""
    return type_of(key) == "ssh-rsa" and int.from_bytes(_last(key), "big").bit_length() < LEAST_RSA_BITS


def fingerprint(key: bytes) -> str:
    """`SHA256:...`, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).rstrip(b"=").decode("ascii")


def _split(text: str) -> Line:
    if len(text) > _LONGEST or "\n" in text or "\r" in text:
        raise ValueError("a line has hosts, a type and a key, and ends there")
    fields = text.split()
    marker = ""
    if fields and fields[0].startswith("@"):
        marker = fields.pop(0)
        if marker not in {AUTHORITY, REVOKED}:
            raise ValueError(f"the marker isn't {AUTHORITY} or {REVOKED}")
    if len(fields) < 3:
        raise ValueError("a line has hosts, a type and a key: HOST ssh-ed25519 AAAA...")
    patterns = (fields[0],) if _HASHED.match(fields[0]) else tuple(fields[0].split(","))
    if not all(_PATTERN.match(one) or _HASHED.match(one) for one in patterns):
        raise ValueError("the hosts aren't names, addresses, patterns, [HOST]:PORT or a hash, with commas between")
    if all(one.startswith("!") for one in patterns):
        raise ValueError("a line names no host when all of its patterns begin with !")
    return Line(marker, patterns, _type(fields[1]), _key(fields[1], fields[2]))


def _type(text: str) -> str:
    if not _TYPE.match(text):
        raise ValueError("the type of the key has other characters than it may")
    return text


def _key(type_: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key isn't base64") from None
    if type_of(key) != type_:
        raise ValueError("the key is of another type than the line says")
    if type_ in _SIZES and len(_last(key)) != _SIZES[type_]:
        raise ValueError("the key hasn't the length that keys of its type have")
    return key


def _last(key: bytes) -> bytes:
    part, at = b"", 0
    while at < len(key):
        part, at = _part(key, at)
    return part


def _part(key: bytes, at: int) -> tuple[bytes, int]:
    """The string of RFC 4251, 5 that begins there, and where it ends; nothing where it reaches past the end."""
    end = at + 4 + int.from_bytes(key[at : at + 4], "big")
    return (key[at + 4 : end], end) if at + 4 <= len(key) and end <= len(key) else (b"", len(key))


def _known(lines: Iterable[Line], name: str) -> Known:
    found: dict[str, list[bytes]] = {"": [], AUTHORITY: [], REVOKED: []}
    for line in lines:
        if _is_meant(line.patterns, name):
            found[line.marker].append(line.key)
    return Known(tuple(found[""]), tuple(found[AUTHORITY]), tuple(found[REVOKED]))


def _is_meant(patterns: Iterable[str], name: str) -> bool:
    meant = False
    for pattern in patterns:
        if not _fits(pattern.removeprefix("!"), name):
            continue
        if pattern.startswith("!"):
            return False
        meant = True
    return meant


def _fits(pattern: str, name: str) -> bool:
    if (hashed := _HASHED.match(pattern)) is not None:
        salt = base64.b64decode(hashed["salt"])
        made = hmac.new(salt, name.encode(), hashlib.sha1).digest()  # the form's own hash, which hides no secret
        return hmac.compare_digest(made, base64.b64decode(hashed["hash"]))
    return _fits_wildcards(pattern.lower(), name)


def _fits_wildcards(pattern: str, name: str) -> bool:
    """Whether `*` (any, also none) and `?` (one) make the name of the pattern; in time of the product of their lengths."""
    reached = {0}
    for character in pattern:
        if character == "*":
            reached = set(range(min(reached), len(name) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(name) and character in {"?", name[at]}}
        if not reached:
            return False
    return len(name) in reached
