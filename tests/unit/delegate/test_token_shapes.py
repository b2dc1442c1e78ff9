"""Tokens that are known by their shape are masked although nobody told their values."""

from __future__ import annotations

import base64
import json
import time

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegate.masking import MASK, Mask, Patterns
from delegate.token_shapes import LONGEST
from shared.crypto.plaintext import Plaintext
from tests.unit.delegate.test_masking import in_pieces


def part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


HEADER = part(json.dumps({"alg": "EdDSA", "typ": "JWT"}, separators=(",", ":")).encode())
SIGNED = jwt.encode({"sub": "somebody", "exp": 1}, "a key of enough bytes for the hash of 256 bits").encode()
UNSIGNED = part(b'{"alg":"none"}') + b"." + part(b'{"sub":"somebody"}') + b"."
ENCRYPTED = b".".join([HEADER, part(b"k" * 40), part(b"v" * 12), part(b"text" * 9), part(b"t" * 16)])
DIRECT = b".".join([HEADER, b"", part(b"v" * 12), part(b"text" * 9), part(b"t" * 16)])
BODY = b"16C7e42F292c6912E7710c838347Ae178B4a"
GITHUB = [*(prefix + BODY for prefix in (b"ghp_", b"gho_", b"ghs_", b"ghu_", b"ghr_")),
          b"github_pat_11ABCDEFG0aBcDeFgHiJkL_" + b"x9" * 29]  # fmt: skip
TOKENS = [SIGNED, UNSIGNED, ENCRYPTED, DIRECT, *GITHUB]


def masked(output: bytes, *values: bytes) -> bytes:
    return in_pieces(output, [], Mask(Patterns(map(Plaintext, values))))


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "around",
    [b"%s", b"Authorization: Bearer %s\n", b'{"token":"%s"}', b"x?token=%s&y", b"--%s--", b"https://x:%s@host/"],
)
def test_a_token_is_masked_by_its_shape(token: bytes, around: bytes) -> None:
    shown = masked(around % token)
    assert MASK in shown
    # A character that a token may have belongs to it.
    assert shown.rstrip(b"-") == (around % MASK).rstrip(b"-")
    assert masked(around % token, b"hunter2") == shown


@pytest.mark.parametrize("token", TOKENS)
def test_no_token_survives_wherever_the_output_is_cut(token: bytes) -> None:
    output = b"before " + token + b" after\n"
    for cut in range(len(output)):
        assert in_pieces(output, [cut], Mask(Patterns([]))) == b"before " + MASK + b" after\n"
    assert in_pieces(output, list(range(len(output))), Mask(Patterns([]))) == b"before " + MASK + b" after\n"


@settings(max_examples=200)
@given(st.data())
def test_tokens_between_values_are_masked_however_the_output_is_cut(data: st.DataObject) -> None:
    value = b"hunter2 is long"
    words = st.sampled_from([*TOKENS, value, value[:9], b" ", b"\n", b"eyJ", b"ghp_", b"g", b"the"])
    output = b" ".join(data.draw(st.lists(words, max_size=8)))
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=6))
    patterns = Patterns([Plaintext(value)])
    shown = in_pieces(output, cuts, Mask(patterns))
    assert shown == in_pieces(output, [], Mask(patterns))
    assert not any(secret in shown for secret in (*TOKENS, value))


@pytest.mark.parametrize(
    "text",
    [
        b"eyJ", b"eyJhbGciOiJFZERTQSJ9", b"eyJhbGciOiJFZERTQSJ9.", b"eyJhbGciOiJFZERTQSJ9.x", b"eyJ.aaaa.bbbb", b"a.b.c",
        b"ghp_", b"ghp_short", b"ghx_" + BODY, b"github_pat_", b"github.com", b"example.host.name",
        b"the end", b"gigantic", b"sha256:" + b"0a" * 32,
    ],
)  # fmt: skip
def test_what_only_begins_like_one_passes(text: bytes) -> None:
    assert masked(text) == text
    assert masked(b" " + text + b"\n") == b" " + text + b"\n"
    assert in_pieces(text, list(range(len(text))), Mask(Patterns([]))) == text


def test_what_cannot_be_the_beginning_of_a_token_does_not_wait() -> None:
    mask = Mask(Patterns([]))
    assert mask.feed(b"Continue? [y/N] ") == b"Continue? [y/N] "
    assert mask.feed(b"working .") == b"working ."
    assert mask.feed(b"the beginnin") == b"the beginnin"
    assert mask.feed(b"g") == b""
    assert mask.feed(b" is there\n") == b"g is there\n"
    assert mask.feed(b"-> ghp_1234") == b"-> "
    assert mask.feed(b"!") == b"ghp_1234!"


@pytest.mark.parametrize("size", [1_000, 65_536])
def test_a_token_of_any_length_is_masked_and_what_waits_for_its_end_is_bounded(size: int) -> None:
    token = HEADER + b"." + b"A" * 200_000 + b"." + b"s" * 43
    output = b"t=" + token + b" and more\n"
    mask, shown = Mask(Patterns([])), b""
    for at in range(0, len(output), size):
        shown += mask.feed(output[at : at + size])
        assert len(mask._held) <= LONGEST
    # Where its payload is longer than what waits, what came before it had to pass; one of usual size never does.
    assert shown + mask.flush() in {b"t=" + MASK + b" and more\n", output}
    signed = HEADER + b"." + part(b"{" + b"x" * 6_000) + b"." + b"s" * 200_000
    output = b"t=" + signed + b" and more\n"
    assert in_pieces(output, list(range(0, len(output), size)), Mask(Patterns([]))) == b"t=" + MASK + b" and more\n"


@pytest.mark.parametrize(
    "unit",
    [
        b"eyJ",
        b"eyJaaaaaaaa",
        b"eyJaaaaaa.",
        b"eyJaaaaaa.b",
        b"ghp_",
        b"ghp_aaaa ",
        b"github_pat_",
        b"eyJaaaaaa..",
        b".",
    ],
)
def test_no_output_makes_it_slow(unit: bytes) -> None:
    output = unit * (1_000_000 // len(unit))
    began = time.thread_time()
    in_pieces(output, list(range(0, len(output), 65_536)), Mask(Patterns([])))
    # Quadratic would be minutes.
    assert time.thread_time() - began < 10


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_output_without_a_token_passes_unchanged(output: bytes, cuts: list[int]) -> None:
    plain = output.replace(b"eyJ", b"").replace(b"gh", b"").replace(b"eyJ", b"")
    assert in_pieces(plain, cuts, Mask(Patterns([]))) == plain
