"""Patterns of the delegate's owner: what they match in a line is masked, however it comes, and never slowly."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegate.mask_patterns import LONGEST_LINE, LONGEST_PATTERN, MOST_PATTERNS, OVERLAP, MaskPatterns
from delegate.masking import MASK, Mask, Patterns
from delegate.tails import Tail
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed
from tests.unit.delegate.test_masking import in_pieces

FILE = r"""AKIA[0-9A-Z]{16}

(?i)password\s*[:=]\s*\S+
^key .*$
\b\d{3}-\d{2}-\d{4}\b
"""
OWN = MaskPatterns.parse(FILE)
KEY = b"AKIAIOSFODNN7EXAMPLE"


def mask(*values: bytes, own: MaskPatterns = OWN) -> Mask:
    return Mask(Patterns(map(Plaintext, values), own))


def masked(output: bytes, *values: bytes) -> bytes:
    return in_pieces(output, [], mask(*values))


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"id " + KEY + b" is it\n", b"id %s is it\n"),
        (b"PassWord:  s3cr\xff\xfet and more\n", b"%s and more\n"),
        (b"key of the house\r\nkey\nno key here\nkey two", b"%s\r\nkey\nno key here\n%s"),
        (b"10%\rkey 1\r20%\n", b"10%%\r%s\r20%%\n"),
        (b"123-45-6789, 1234-45-6789\n", b"%s, 1234-45-6789\n"),
        (b"password =\nnext\n", b"password =\nnext\n"),
        (b"no line end " + KEY, b"no line end %s"),
        (b"", b""),
    ],
)
def test_what_a_pattern_matches_in_a_line_is_masked(output: bytes, shown: bytes) -> None:
    wanted = shown % ((MASK,) * shown.count(b"%s"))
    for cut in range(len(output) + 1):
        assert in_pieces(output, [cut], mask()) == wanted
    assert in_pieces(output, list(range(len(output))), mask(b"hunter2")) == wanted


def test_a_value_a_token_and_a_match_that_overlap_are_masked_as_one() -> None:
    assert masked(b"x password=hunter2 y\n", b"hunter2 y") == b"x " + MASK + b"\n"
    assert masked(b"password=eyJhbGciOiJFZERTQSJ9.aaaa.bbbb@x\n") == MASK + b"\n"
    assert masked(b"a\nkey one\ntwo\n", b"one\ntwo") == b"a\n" + MASK + b"\n"


def test_lines_pass_as_soon_as_they_end() -> None:
    one = mask(b"hunter2")
    assert one.feed(b"first\nsec") == b"first\n"
    assert one.feed(b"ond ") == b""
    assert one.feed(b"\nkey") == b"second \n"
    assert one.feed(b" 1\n") == MASK + b"\n"
    assert (one.feed(b"rest"), one.flush(), one.flush()) == (b"", b"rest", b"")


def test_a_long_line_is_looked_at_in_pieces_that_overlap() -> None:
    for at in range(LONGEST_LINE - OVERLAP - 30, LONGEST_LINE + 30, 7):
        output = b"." * at + KEY + b"." * 2 * LONGEST_LINE + b"\n"
        wanted = output.replace(KEY, MASK)
        assert masked(output) == wanted
        one = mask()
        shown = b""
        for start in range(0, len(output), 1_000):
            shown += one.feed(output[start : start + 1_000])
            assert sum(map(len, one._lines._pieces if one._lines else [])) <= LONGEST_LINE + 1_000
        assert shown + one.flush() == wanted


def test_a_match_as_long_as_a_long_line_is_masked_as_far_as_it_is_seen() -> None:
    output = b"password=" + b"x" * 3 * LONGEST_LINE + b"\n"
    for cuts in ([], list(range(0, len(output), 1_000))):
        assert len(in_pieces(output, cuts, mask())) < len(output) - LONGEST_LINE + OVERLAP


@settings(max_examples=200)
@given(st.data())
def test_nothing_depends_on_how_the_output_is_cut(data: st.DataObject) -> None:
    words = st.sampled_from(
        [KEY, b"password=x", b"key", b" ", b"\n", b"\r", b"hunter2 is", b"hunt", b"eyJ", b"ghp_", b"1"]
    )
    output = b"".join(data.draw(st.lists(words, max_size=12)))
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=8))
    shown = in_pieces(output, cuts, mask(b"hunter2 is"))
    assert shown == masked(output, b"hunter2 is")
    assert KEY not in shown and b"hunter2 is" not in shown


async def test_the_tail_of_a_script_is_masked_by_them_too() -> None:
    tail = Tail(OWN)
    tail.feed(b"login with " + KEY + b"\nghp_16C7e42F292c6912E7710c838347Ae178B4a\nhunter2\n")
    stars = MASK.decode()
    assert await tail.lines([Plaintext(b"hunter2")]) == [f"login with {stars}", stars, stars]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("(?=ahead)", 1), ("a\n(a)\\1", 2), ("a\n\n(", 3), ("a**", 1), ("(a{1000}){1000}", 1), ("x" * (LONGEST_PATTERN + 1), 1),
        ("hunter2*|", 1), (".*", 1), ("\n".join(["a"] * (MOST_PATTERNS + 1)), MOST_PATTERNS + 1),
    ],
)  # fmt: skip
def test_a_pattern_that_can_not_be_is_refused_by_its_line_and_not_repeated(text: str, line: int) -> None:
    with pytest.raises(Malformed) as caught:
        MaskPatterns.parse(text)
    assert f"line {line} of the mask patterns file" in caught.value.detail
    assert caught.value.hint and "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_blank_lines_and_windows_line_ends_are_no_patterns() -> None:
    own = MaskPatterns.parse("\r\n  \nabc\r\n")
    assert (len(own), own.find(b"xabc\n"), repr(own)) == (1, [(1, 4)], "MaskPatterns(1)")
    assert in_pieces(b"abc\n", [], Mask(Patterns([], MaskPatterns.parse("")))) == b"abc\n"


@pytest.mark.parametrize(
    "pattern",
    [r"(x+x+)+y", r"(a|a)*b", r"^(\w+\s?)*!$", r"([a-z]*)*\d", r"(x|xx|xxx)*z", r"(.*,){20}P", r"[^@]*@[^@]*@$"],
)
def test_no_pattern_and_no_output_take_more_than_linear_time(pattern: str) -> None:
    own = MaskPatterns.parse(pattern)
    for unit in (b"x", b"a", b"a,", b"x\n", b"word "):
        output = unit * (500_000 // len(unit))
        began = time.thread_time()
        in_pieces(output, list(range(0, len(output), 65_536)), mask(own=own))
        # Of one that tries again, years.
        assert time.thread_time() - began < 5
