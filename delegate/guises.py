"""Guises: the forms in which programs print a value, so that each of them can be masked.

A value, and each of its lines without the white space around it, has these: as it is; base64 (both alphabets, with and
without padding, at each of the three places in which it may stand within something longer, whole in lines of 64 or 76);
hex (both cases, whole in lines of 60); percent-encoded (by the common sets of what stays, both cases, blanks as + or %20);
as JSON writes a text (also with / or <>& escaped); quoted for a shell; in HTML. Inside something longer that is base64, the
first and last character may hold up to four bits of the value: they are left.

Must not be taken for a wall: who chooses the command can print a value backwards. It keeps accidents from being leaks.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

SHORTEST = 3
"""Bytes of what is masked: less would mask half of all output (reference system: lines under 3 characters are ignored)."""

_PERCENT = re.compile(rb"%[0-9A-F]{2}")
_UNICODE = re.compile(r"\\u[0-9a-f]{4}")

_KEPT = ("", "/", "!*'()", "!*'();,/?:@&=+$#")
"""What stays as it is: Python's quote_plus, its quote, JavaScript's encodeURIComponent, its encodeURI."""

_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def guises(value: bytes) -> frozenset[bytes]:
    """Every form of a value that is masked, none shorter than SHORTEST; empty for a value that can't be."""
    inner = value.strip()
    lines = {line.strip() for line in re.split(rb"[\r\n]", inner)}
    found = set(_forms(inner, (inner, inner + b"\n", value)))
    for line in lines - {inner}:
        if len(line) >= SHORTEST:
            found.update(_forms(line, (line, line + b"\n")))
    if b"\n" in inner:
        # Written through a terminal, a line ends with both.
        found.add(re.sub(rb"\r?\n", b"\r\n", inner))
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _forms(text: bytes, whole: tuple[bytes, ...]) -> Iterator[bytes]:
    """Of `text` wherever it stands; `whole` is what may be encoded by itself."""
    yield text
    yield from _base64(text, whole)
    yield from _hex(text, whole)
    yield from _percent(text)
    yield from _quoted(text)


def _base64(text: bytes, whole: tuple[bytes, ...]) -> Iterator[bytes]:
    for before in range(3):
        # Only the characters all of whose bits are of `text`.
        first, last = -(-before * 8 // 6), (before + len(text)) * 8 // 6
        yield from _alphabets(base64.b64encode(bytes(before) + text)[first:last])
    for one in dict.fromkeys(whole):
        encoded = base64.b64encode(one)
        yield from _alphabets(encoded)
        yield from _alphabets(encoded.rstrip(b"="))
        yield from _wrapped(encoded, 64)
        yield from _wrapped(encoded, 76)


def _alphabets(encoded: bytes) -> Iterator[bytes]:
    yield encoded
    yield encoded.translate(_URL_SAFE)


def _hex(text: bytes, whole: tuple[bytes, ...]) -> Iterator[bytes]:
    encoded = text.hex().encode()
    yield encoded
    yield encoded.upper()
    for one in dict.fromkeys(whole):
        yield from _wrapped(one.hex().encode(), 60)


def _wrapped(encoded: bytes, columns: int) -> Iterator[bytes]:
    if len(encoded) > columns:
        yield b"\n".join(encoded[at : at + columns] for at in range(0, len(encoded), columns))


def _percent(text: bytes) -> Iterator[bytes]:
    for kept in _KEPT:
        encoded = quote_from_bytes(text, safe=kept).encode()
        for one in (encoded, encoded.replace(b"%20", b"+")):
            yield one
            yield _PERCENT.sub(lambda found: found[0].lower(), one)


def _quoted(text: bytes) -> Iterator[bytes]:
    yield text.replace(b"'", b"'\\''")
    yield text.replace(b"'", b"'\"'\"'")
    yield re.sub(rb'([$`"\\])', rb"\\\1", text)
    try:
        readable = text.decode()
    except UnicodeDecodeError:
        return
    for escaped in (json.dumps(readable), json.dumps(readable, ensure_ascii=False)):
        plain = escaped[1:-1]
        markup = plain.translate({ord(one): f"\\u{ord(one):04x}" for one in "<>&"})
        for one in (plain, markup, plain.replace("/", "\\/")):
            yield one.encode()
            yield _UNICODE.sub(lambda found: "\\u" + found[0][2:].upper(), one).encode()
    yield html.escape(readable).encode()
