"""Masking: no guise of a value passes, however the output is cut; all else passes, and doesn't wait without need."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tracemalloc
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegate.guises import SHORTEST, guises
from delegate.masking import HEAD, MASK, Mask, Patterns
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed

SECRET = b"p/ss+w%rd <&>\"'$7\\x"
PEM = b"-----BEGIN KEY-----\n" + base64.encodebytes(bytes(range(256))) + b"-----END KEY-----\n"


def patterns(*values: bytes) -> Patterns:
    return Patterns(map(Plaintext, values))


def masked(output: bytes, *values: bytes) -> bytes:
    mask = Mask(patterns(*values))
    return mask.feed(output) + mask.flush()


def plainly(output: bytes, forms: frozenset[bytes]) -> bytes:
    """What masking is to come to, with the whole output at hand and no cleverness."""
    spans = sorted(
        (at, at + len(form))
        for form in forms
        for at in range(len(output) - len(form) + 1)
        if output.startswith(form, at)
    )
    shown, done = b"", 0
    for start, end in spans:
        if start >= done:
            shown += output[done:start] + MASK
        done = max(done, end)
    return shown + output[done:]


def in_pieces(output: bytes, cuts: list[int], mask: Mask) -> bytes:
    ends = sorted({min(cut, len(output)) for cut in cuts} | {len(output)})
    return b"".join(mask.feed(output[start:end]) for start, end in zip([0, *ends], ends, strict=False)) + mask.flush()


GUISES: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "base64": base64.b64encode,
    "base64 without padding": lambda value: base64.b64encode(value).rstrip(b"="),
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 of a line": lambda value: base64.b64encode(value + b"\n"),
    "hex": lambda value: value.hex().encode(),
    "upper hex": lambda value: value.hex().upper().encode(),
    "quote": lambda value: quote(value).encode(),
    "quote all": lambda value: quote(value, safe="").encode(),
    "quote_plus": lambda value: quote_plus(value).encode(),
    "lower quote": lambda value: b"p%2fss%2bw%25rd%20%3c%26%3e%22%27%247%5cx" if value == SECRET else quote(value).encode(),
    "JSON": lambda value: json.dumps(value.decode())[1:-1].encode(),
    "JSON with slashes": lambda value: json.dumps(value.decode())[1:-1].replace("/", "\\/").encode(),
    "JSON for markup": lambda value: json.dumps(value.decode())[1:-1]
    .replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode(),
    "shell": lambda value: value.replace(b"'", b"'\\''"),
    "HTML": lambda value: value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    .replace(b'"', b"&quot;").replace(b"'", b"&#x27;"),
}  # fmt: skip


@pytest.mark.parametrize("guise", GUISES)
def test_a_value_is_masked_in_each_of_its_guises(guise: str) -> None:
    shown = GUISES[guise](SECRET)
    assert masked(b"it is " + shown + b".\n", SECRET) == b"it is " + MASK + b".\n"
    assert masked(GUISES[guise](b"hunter2"), b"hunter2") == MASK


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_within_something_longer_is_masked_at_each_place_of_base64(
    before: int, encode: Callable[[bytes], bytes]
) -> None:
    value = b"\xfb\xffcorrect horse?>"
    whole = encode(b"user"[:before] + value + b":and so on")
    shown = masked(whole, value)
    assert MASK in shown
    # What is left of it: at each end a character that holds bits of the neighbour too.
    clear = before * 8 // 6 + 1, -(-len(b":and so on") * 8 // 6) + 1 + whole.count(b"=")
    assert len(shown) - len(MASK) <= sum(clear)


@pytest.mark.parametrize(
    "command", [["base64"], ["base64", "-w", "64"], ["xxd", "-p"], ["od", "-An", "-c", "-w99999"]], ids=" ".join
)
def test_what_the_tools_at_hand_make_of_a_long_value_is_masked(command: list[str]) -> None:
    value = PEM.strip()
    try:
        made = subprocess.run(command, input=value, capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    shown = masked(made, value)
    if command[0] == "od":
        assert shown == made, "spread over columns it is no guise: docs/formats.md says what masking is not"
    else:
        assert shown.strip() == MASK


def test_the_lines_of_a_value_are_masked_alone_and_in_their_guises() -> None:
    line = PEM.split(b"\n")[2]
    assert masked(b"> " + line + b" <\n", PEM) == b"> " + MASK + b" <\n"
    assert masked(base64.b64encode(line), PEM) == MASK
    assert masked(b"  " + line + b"\r\n", b"a: 1\r\n  " + line + b"\r\n") == b"  " + MASK + b"\r\n"


def test_a_value_of_many_lines_is_masked_whole_through_a_terminal_too() -> None:
    inner = PEM.strip()
    assert masked(inner, PEM) == masked(inner.replace(b"\n", b"\r\n"), PEM) == MASK
    assert masked(b"{\nab\n}\n", b"{\nab\n}\n") == MASK + b"\n"


def test_the_white_space_around_a_value_is_no_part_of_it() -> None:
    assert masked(b"[hunter2]", b" hunter2\n") == b"[" + MASK + b"]"
    assert masked(base64.b64encode(b" hunter2\n"), b" hunter2\n") == MASK


def test_values_that_overlap_are_masked_as_one() -> None:
    assert masked(b"xabcdefx", b"abcd", b"cdef") == b"x" + MASK + b"x"
    assert masked(b"ababababa.", b"aba") == MASK + b"."
    assert masked(b"abcabc", b"abc") == MASK + MASK


@pytest.mark.parametrize("value", [b"x", b"12", b" 1 ", b"\n\n\n"])
def test_a_value_too_short_to_be_masked_is_refused(value: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        patterns(b"hunter2", value)
    assert caught.value.code == "value_unmaskable"


def test_an_empty_value_hides_nothing_and_a_short_line_passes() -> None:
    assert masked(b"all of it", b"") == b"all of it"
    assert masked(b"a: {\n}\n", b"{\nhunter2\n}") == b"a: {\n}\n"
    assert all(len(form) >= SHORTEST for form in guises(b"{\nhunter2\n}"))


def test_values_too_large_to_be_masked_are_refused() -> None:
    with pytest.raises(Malformed) as caught:
        patterns(base64.encodebytes(os.urandom(100_000)))
    assert caught.value.code == "values_too_large"


def test_values_too_large_to_be_masked_are_refused_before_their_guises_fill_the_memory() -> None:
    large = [Plaintext(os.urandom(4) + bytes(range(33, 123)) * 20_000) for _ in range(3)]
    many = [Plaintext(base64.encodebytes(os.urandom(40_000))) for _ in range(40)]
    for values in (large, many):
        tracemalloc.start()
        with pytest.raises(Malformed) as caught:
            Patterns(values)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (caught.value.code, most < 32 * 1024 * 1024) == ("values_too_large", True)


def test_nothing_waits_that_cannot_be_the_beginning_of_a_value() -> None:
    mask = Mask(patterns(SECRET, b"hunter2"))
    assert mask.feed(b"Continue? [y/N] ") == b"Continue? [y/N] "
    assert mask.feed(b"working .") == b"working ."
    assert mask.feed(b"a line\n") == b"a line\n"
    assert mask.feed(b"the hun") == b"the "
    assert mask.feed(b"dred") == b"hundred"
    assert mask.feed(b"the hunte") == b"the "
    assert mask.feed(b"r2!") == MASK + b"!"
    assert mask.flush() == b""


def test_what_waited_passes_at_the_end() -> None:
    mask = Mask(patterns(b"hunter2"))
    assert (mask.feed(b"a hunter"), mask.flush(), mask.flush()) == (b"a ", b"hunter", b"")


def test_the_beginning_of_a_long_value_waits_and_passes_when_it_was_none() -> None:
    value = os.urandom(1200).hex().encode()
    mask = Mask(patterns(value))
    start = value[: len(value) - 1]
    assert len(start) > HEAD
    assert mask.feed(b"> " + start) == b"> "
    # No guise begins with it.
    assert mask.feed(b"!") in {start + b"!", plainly(start + b"!", guises(value))}
    assert mask.feed(b"> " + start) == b"> "
    assert mask.feed(value[-1:] + b".") == MASK + b"."


ALPHABET = st.sampled_from([b"a", b"b", b"\n", b"=", b"/"])
WORD = st.lists(ALPHABET, min_size=1, max_size=8).map(b"".join)


@settings(max_examples=300)
@given(st.data())
def test_no_guise_survives_however_the_output_is_cut(data: st.DataObject) -> None:
    values = data.draw(st.lists(WORD.filter(lambda word: len(word.strip()) >= SHORTEST), min_size=1, max_size=3))
    forms = frozenset[bytes]().union(*map(guises, values))
    parts = st.one_of(st.sampled_from(sorted(forms)), WORD, st.binary(max_size=4))
    output = b"".join(data.draw(st.lists(parts, max_size=8)))
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=6))
    compiled = patterns(*values)
    assert in_pieces(output, cuts, Mask(compiled)) == plainly(output, forms)


@settings(max_examples=100)
@given(st.binary(min_size=40, max_size=200), st.data())
def test_no_guise_of_a_long_value_survives_however_the_output_is_cut(value: bytes, data: st.DataObject) -> None:
    if len(value.strip()) < SHORTEST:
        return
    forms = sorted(guises(value))
    parts = st.one_of(
        st.sampled_from(forms),
        st.sampled_from(forms).flatmap(lambda form: st.integers(0, len(form)).map(lambda cut: form[:cut])),
        st.binary(max_size=4),
    )
    output = b"".join(data.draw(st.lists(parts, max_size=5)))
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=6))
    assert in_pieces(output, cuts, Mask(patterns(value))) == plainly(output, frozenset(forms))


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_output_without_a_value_passes_unchanged(output: bytes, cuts: list[int]) -> None:
    assert in_pieces(output, cuts, Mask(patterns(b"a value that isn't there"))) == output


def test_what_waits_is_bounded_although_a_mask_never_ends() -> None:
    compiled = patterns(b"aba", b"bab" * 20)
    mask = Mask(compiled)
    shown = b"".join(mask.feed(b"ab") for _ in range(5_000))
    assert shown == MASK
    assert len(mask._held) < compiled.longest
    assert mask.feed(b"!") == b"b!", "the last b is in none of them"


def test_values_within_each_other_cost_no_more_than_one() -> None:
    lines = b"\n".join(b"A" * length for length in range(3, 200))
    periods = b"\n".join((b"ab" * 100)[start:end] for start in (0, 1) for end in range(5, 150))
    for value, output in ((lines, b"A" * 65_536), (periods, b"ab" * 32_768)):
        known = patterns(value)
        # A delegate's loop stands still meanwhile.
        assert len(known.search(output)[0]) < 4 * len(output)
        assert masked(b"x" + output + b"y", value) == b"x" + MASK + b"y"


@settings(max_examples=300)
@given(st.data())
def test_a_value_that_is_made_of_others_is_masked_as_one(data: st.DataObject) -> None:
    word = st.text("ab", min_size=SHORTEST, max_size=12).map(str.encode)
    values = data.draw(st.lists(word, min_size=1, max_size=8))
    forms = frozenset[bytes]().union(*map(guises, values))
    output = data.draw(st.text("ab", max_size=80)).encode()
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=6))
    assert in_pieces(output, cuts, Mask(patterns(*values))) == plainly(output, forms)


def test_neither_patterns_nor_masks_show_what_they_know() -> None:
    compiled = patterns(b"hunter2")
    assert (repr(compiled), repr(Mask(compiled))) == ("Patterns(***)", "Mask(***)")
