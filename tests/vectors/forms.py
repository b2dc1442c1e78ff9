"""Vectors of the byte forms: base64url, LP, canonical JSON, AAD."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from shared.aad import Aad
from shared.canonical import b32, b64u, lp, sha256
from shared.labels import LABELS
from tests.vectors.actors import ACCOUNT, KEYRING, PROJECT, case, file, fixed, opaque

_TEXTS_GOOD = {
    "nothing": b"",
    "one byte": b"\x00",
    "two bytes": b"\xff\xfe",
    "three bytes": b"abc",
    "both special characters": b"\xfb\xff\xbf",
    "a digest": fixed("digest"),
}
_TEXTS_BAD = {
    "padding": "AA==",
    "the other alphabet": "+/+/",
    "stray bits in the last of two characters": "AB",
    "stray bits in the last of three characters": "AAB",
    "a single character": "A",
    "white space": "AA AA",
    "a line break at the end": "AAAA\n",
    "a character outside of ASCII": "AA\u00e9A",
}


def base64url() -> dict[str, Any]:
    """Strict base64url, and base32 of the same bytes."""
    good = [
        case(name, "accepted", text=b64u(data), hex=data.hex(), base32=b32(data)) for name, data in _TEXTS_GOOD.items()
    ]
    bad = [case(name, "malformed/base64url_malformed", text=text) for name, text in _TEXTS_BAD.items()]
    return file("Strict base64url without padding; base32 of the same bytes (formats, section 2).", good + bad)


def framing() -> dict[str, Any]:
    """LP and its parser."""
    lists = {
        "no parts": [],
        "one empty part": [b""],
        "two parts": [b"a", b"bc"],
        "zeros inside": [bytes(5), b"", b"\x00"],
        "a long part": [fixed("long") * 40, b"end"],
    }
    good = [
        case(name, "accepted", parts=[part.hex() for part in parts], hex=lp(*parts).hex())
        for name, parts in lists.items()
    ]
    whole = lp(b"a", b"bc")
    bad = {
        "a part too few": (3, whole),
        "a part too many": (1, whole),
        "cut in a part": (2, whole[:-1]),
        "cut in a length": (2, whole[:7]),
        "a length past the end": (1, b"\x00\x00\x00\x05abcd"),
        "a length of four gigabytes": (1, b"\xff\xff\xff\xffabcd"),
        "a byte left over": (2, whole + b"\x00"),
    }
    return file(
        "LP: four bytes of length, then the part (formats, section 2).",
        good
        + [
            case(name, "malformed/framing_malformed", count=count, hex=data.hex())
            for name, (count, data) in bad.items()
        ],
    )


_JSON_GOOD = {
    "an empty object": "{}",
    "members in order": '{"A":1,"Z":2,"_":3,"a":4,"b":5}',
    "integers": '{"a":0,"b":-1,"c":9007199254740991,"d":-9007199254740991}',
    "short escapes": '{"a":"\\b\\t\\n\\f\\r\\"\\\\"}',
    "long escapes in lower case": '{"a":"\\u0000\\u001f"}',
    "what isn't escaped": '{"a":"/<>&\'\x7f\x80\u2028\u00e9\U0001f600"}',
    "constants and nesting": '{"a":[true,false,null,[],{}],"b":{"c":{"d":""}}}',
    "a member that objects inherit": '{"__proto__":1,"constructor":2}',
    "members that look like numbers": '{"1":0,"10":0,"2":0}',
}
_JSON_BAD: dict[str, str | bytes] = {
    "a space": '{"a": 1}',
    "a line break at the end": '{"a":1}\n',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "members out of order": '{"b":1,"a":2}',
    "members ordered as numbers": '{"1":0,"2":0,"10":0}',
    "a doubled member": '{"a":1,"a":1}',
    "a doubled member with another value": '{"a":1,"a":2}',
    "minus zero": '{"a":-0}',
    "a leading zero": '{"a":01}',
    "an exponent": '{"a":1e3}',
    "a plus sign": '{"a":+1}',
    "an escaped slash": '{"a":"\\/"}',
    "an escape that isn't needed": '{"a":"\\u0041"}',
    "a long escape where a short one exists": '{"a":"\\u000a"}',
    "an escape in upper case": '{"a":"\\u001F"}',
    "an escaped member name": '{"\\u0061":1}',
    "a character that is escaped": '{"a":"\\u00e9"}',
    "a raw control character": '{"a":"\x01"}',
    "a lone surrogate, escaped": '{"a":"\\ud800"}',
    "a lone surrogate, encoded": b'{"a":"\xed\xa0\x80"}',
    "an overlong encoding": b'{"a":"\xc0\xaf"}',
    "bytes that are no UTF-8": b'{"a":"\xff"}',
    "a comma at the end": '{"a":1,}',
    "a comment": '{"a":1/**/}',
    "not a number": '{"a":NaN}',
    "two values": "{}{}",
    "cut off": '{"a":"b',
    "nothing": "",
    "a list": "[]",
}


def canonical() -> dict[str, Any]:
    """Canonical JSON objects."""
    good = [case(name, "accepted", hex=text.encode().hex()) for name, text in _JSON_GOOD.items()]
    bad = [
        case(name, "malformed", hex=(text.encode() if isinstance(text, str) else text).hex())
        for name, text in _JSON_BAD.items()
    ]
    return file("Canonical JSON, as UTF-8 in hexadecimal (formats, section 3).", good + bad)


def aads() -> dict[str, Any]:
    """Every label, over places that differ in one part."""
    record = Aad(
        "store",
        ACCOUNT,
        KEYRING,
        PROJECT,
        opaque("secret password"),
        1,
        b64u(fixed("store task")),
        opaque("connector local"),
    )
    places = {
        "a sealed input": Aad("store", ACCOUNT, KEYRING, PROJECT, record.secret, 1, "", record.connector),
        "a record": record,
        "a record at the account": Aad(
            "store", ACCOUNT, KEYRING, "account", record.secret, 1, record.version, record.connector
        ),
        "a large version": Aad(
            "store", ACCOUNT, KEYRING, PROJECT, record.secret, 2**53 - 1, record.version, record.connector
        ),
        "an answer": Aad("answer", ACCOUNT, KEYRING, version=b64u(fixed("reveal task"))),
    }
    cases = [
        case(
            f"{name}, {label.decode()}",
            "accepted",
            label=label.decode(),
            place=asdict(place),
            hex=place.encode(label).hex(),
            sha256=sha256(place.encode(label)).hex(),
            encryption_context=place.encryption_context(label),
        )
        for name, place in places.items()
        for label in LABELS
        if name == "a record" or label.endswith((b"input", b"answer"))
    ]
    return file("Encoded AADs (formats, section 12).", cases)
