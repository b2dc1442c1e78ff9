"""Byte forms: one value, one form, and every other one refused as Malformed."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.canonical import b32, b64u, blob_digest, decode, digest, encode, is_digest, lp, sha256, unb64u, unlp
from shared.documents.jws import KINDS
from shared.errors import Malformed

TEXT = st.text(max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=126)), inner),
    max_leaves=10,
)
CANARY = "zqcanary7f3"


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Some document."""

    a: int
    b: str = ""


_pair = msgspec.json.Decoder(Pair)
_any: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@given(st.binary(max_size=100))
def test_base64url_goes_there_and_back(data: bytes) -> None:
    assert unb64u(b64u(data)) == data
    assert unb64u(b64u(data), len(data)) == data


@given(st.text(max_size=60) | st.text("AQgwBC-_=+/ \n", max_size=12))
@example("AB")
@example("A")
@example("AA==")
@example("A A")
@example("é")
@example("\ud800")
def test_a_text_is_the_only_base64url_of_its_bytes_or_malformed(text: str) -> None:
    try:
        data = unb64u(text)
    except Malformed as why:
        assert why.code == "base64url_malformed"
        return
    assert b64u(data) == text
    assert base64.urlsafe_b64encode(data).decode().rstrip("=") == text


@pytest.mark.parametrize("text", ["AA==", "AA=", "AB", "A", "A+/A", "AAAA\n", " AAAA", "AA AA", "AAAAé", "\x00"])
def test_loose_base64url_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        unb64u(text)


def test_another_length_is_malformed() -> None:
    with pytest.raises(Malformed):
        unb64u("AAAA", 4)


def test_base32_is_lower_case_and_unpadded() -> None:
    assert b32(bytes(16)) == "a" * 26


def test_digests_are_sha256_in_base64url() -> None:
    assert digest("a.b.c") == blob_digest(b"a.b.c") == b64u(sha256(b"a.b.c"))
    assert len(digest("")) == 43


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "é", "A" * 42 + "/"])
def test_a_digest_looks_like_one(text: str) -> None:
    assert is_digest(digest("a.b.c"))
    assert is_digest("-" * 42 + "A")
    assert not is_digest(text)


def test_only_ascii_has_a_digest() -> None:
    with pytest.raises(Malformed) as caught:
        digest("é.b.c")
    assert caught.value.code == "document_malformed"


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_length_prefixes_go_there_and_back(parts: list[bytes]) -> None:
    assert unlp(lp(*parts), len(parts)) == parts


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_two_lists_never_have_one_framing(one: list[bytes], other: list[bytes]) -> None:
    assert (lp(*one) == lp(*other)) == (one == other)


@given(st.binary(max_size=60), st.integers(0, 5))
@example(b"\x00\x00\x00", 1)
@example(b"\xff\xff\xff\xff", 1)
@example(b"\x00\x00\x00\x00\x00", 1)
def test_any_bytes_are_a_framing_or_malformed(data: bytes, count: int) -> None:
    try:
        parts = unlp(data, count)
    except Malformed as why:
        assert why.code == "framing_malformed"
        return
    assert len(parts) == count and lp(*parts) == data


@given(VALUES)
def test_canonical_json_is_what_json_sorted_without_white_space_is(value: object) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert encode(value) == expected
    assert decode(expected, _any, "value") == value


@given(st.binary(max_size=60) | TEXT.map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b'"\\ud800"')
@example(b'"\xed\xa0\x80"')
@example(b"1e2")
@example(b"-0")
@example(b"[" * 5000)
@example(b"[" * 900 + b"]" * 900)
@example(b'{"a":' * 5000)
@example(b"\xef\xbb\xbf1")
def test_any_bytes_are_canonical_or_malformed(data: bytes) -> None:
    try:
        value = decode(data, _any, "value")
    except Malformed as why:
        assert why.code == "value_malformed"
        return
    assert encode(value) == data


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=80) | VALUES.map(encode))
def test_any_bytes_are_a_payload_or_malformed(kind: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data, msgspec.json.Decoder(KINDS[kind]), f"{kind} document")


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"b":"x","a":1}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'{"a":1e0}',
        b'{"a":01}',
        b'{"a":1,"b":""}',
        b'{"a":1,"b":"\\u0061"}',
        b'{"a":1,"b":"\\/"}',
        b'{"\\u0061":1}',
        b'{"a":1,"c":1}',
        b'{"a":1,"b":null}',
        b'{"a":"1"}',
        b'{"a":true}',
        b"[1]",
        b"",
    ],
)
def test_another_form_of_a_document_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(data, _pair, "pair document")
    assert caught.value.code == "pair_document_malformed"


@pytest.mark.parametrize(
    "data",
    [
        f'{{"a":1,"{CANARY}":1}}'.encode(),
        f'{{"a":1,"{CANARY} - at `$`":1}}'.encode(),
        f'{{"a":1,"x - at {CANARY}":1}}'.encode(),
        f'{{"a":1,"b":"{CANARY}"'.encode(),
        f'{{"a":"{CANARY}"}}'.encode(),
        f'{{"{CANARY}'.encode() + b'\xff":1}',
        f'{{"a":1,"b":"{CANARY}'.encode() + b'\xff"}',
    ],
)
def test_an_error_never_repeats_the_input(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(data, _pair, "pair document")
    assert CANARY not in str(caught.value.problem())


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"v": 1, "targets": [{CANARY: 1}]}, "`$.targets[0]`"),
        ({"v": 1, "op": CANARY}, "`$.op`"),
        ({"v": 1, "pins": [[CANARY, "", 1, ""]]}, "`$.pins[0][0]`"),
    ],
)
def test_an_error_says_where_a_document_is_wrong_without_repeating_it(payload: object, where: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode(encode(payload), msgspec.json.Decoder(KINDS["task"]), "task document")
    assert caught.value.detail.endswith(where)
    assert CANARY not in caught.value.detail
