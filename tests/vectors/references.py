"""Vectors of references: how a version that a provider keeps is bound to its place, and every way in which one may be changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from msgspec import structs

from shared.canonical import b64u, encode
from shared.crypto.reference import make
from shared.values import Reference
from tests.vectors import actors as a
from tests.vectors.sealing import STORED

BYTE = b"\x02"

MADE = {
    "a version of a provider": ("devops/acme.web.db", {}, "3f0c9b1e-0000-4000-8000-000000000001", 1),
    "a provider without versions": ("devops/acme.web.db", {}, "", 1),
    "a reference with metadata": ("prod/db#a.b", {"version": "AWSPREVIOUS", "region": "eu-1"}, "7", 1),
    "a locator outside of ASCII": ("pfad/schl\u00fcssel", {"note": "\U0001f511"}, "7", 1),
    "a second generation": ("devops/acme.web.db", {}, "7", 2),
    "the longest locator": ("p" * 4096, {}, "7", 1),
}


def references() -> dict[str, Any]:
    """References of direct stores."""
    cases = []
    for name, (locator, metadata, version, number) in MADE.items():
        one = make(a.KEYS.generation(number), STORED, locator, metadata, version)
        cases.append(a.case(name, "accepted", fields=_fields(one), stored=_stored(one)))
    good = make(a.KEYS.generation(1), STORED, "prod/db", {"version": "7"}, "7")
    cases += [a.case(name, "tampered", stored=_stored(one)) for name, one in _forged(good)]
    for field, other in {
        "account": "a" * 52,
        "keyring": "other",
        "scope": "account",
        "secret": a.opaque("secret other"),
        "n": 2,
        "version": b64u(a.fixed("other task")),
        "connector": a.opaque("connector x"),
    }.items():
        moved = {**asdict(STORED), field: other}
        cases.append(a.case(f"moved to another {field}", "tampered", stored=_stored(good), place=moved))
    cases += [a.case(name, "malformed", stored=raw.hex()) for name, raw in _broken(good)]
    generations = {str(number): {"mac_key": a.KEYS.generation(number).mac_key.hex()} for number in a.KEYS.numbers}
    return a.file(
        "References at `place`, unless a case names another (formats, section 14). These keys are public.",
        cases, place=asdict(STORED), generations=generations,
    )  # fmt: skip


def _fields(one: Reference) -> dict[str, Any]:
    return {field: getattr(one, field) for field in ("generation", "locator", "mac", "metadata", "version")}


def _stored(one: Reference) -> str:
    return (BYTE + encode(one)).hex()


def _forged(good: Reference) -> Iterator[tuple[str, Reference]]:
    yield "another locator", structs.replace(good, locator="prod/other")
    yield "another version", structs.replace(good, version="8")
    yield "no version", structs.replace(good, version="")
    yield "other metadata", structs.replace(good, metadata={"version": "8"})
    yield "no metadata", structs.replace(good, metadata={})
    yield "another generation claimed", structs.replace(good, generation=2)
    yield "a generation that isn't held", structs.replace(good, generation=99)
    yield "a MAC of zeros", structs.replace(good, mac=b64u(bytes(32)))
    yield "a character moved from locator to version", structs.replace(good, locator="prod/d", version="b7")
    elsewhere = make(a.KEYS.generation(1), replace(STORED, n=2), good.locator, good.metadata, good.version)
    yield "a MAC of another place", structs.replace(good, mac=elsewhere.mac)
    other = make(a.KEYS.generation(2), STORED, good.locator, good.metadata, good.version)
    yield "a MAC of another generation's key", structs.replace(good, mac=other.mac)


def _broken(good: Reference) -> Iterator[tuple[str, bytes]]:
    whole = BYTE + encode(good)
    yield "nothing", BYTE
    yield "cut", whole[:-1]
    yield "something left over", whole + b" "
    yield "a space", whole.replace(b'"generation":1', b'"generation": 1')
    yield "an unknown field", whole.replace(b'{"generation"', b'{"a":1,"generation"')
    yield (
        "a default that is written",
        BYTE + encode(structs.replace(good, metadata={})).replace(b'"version"', b'"metadata":{},"version"'),
    )
    yield "no generation", whole.replace(b'"generation":1,', b"")
    yield "generation 0", whole.replace(b'"generation":1', b'"generation":0')
    yield "a generation of five bytes", whole.replace(b'"generation":1', b'"generation":4294967296')
    yield "a locator that is too long", BYTE + encode(structs.replace(good, locator="p" * 4097))
    yield "a version that is too long", BYTE + encode(structs.replace(good, version="7" * 513))
    yield "a MAC that is too short", BYTE + encode(structs.replace(good, mac=good.mac[:-1]))
    yield "metadata with a space in a name", whole.replace(b'"metadata":{"version"', b'"metadata":{"ver sion"')
