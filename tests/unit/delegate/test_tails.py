"""The tail of what a script printed: its last lines, without a value or a part of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.masking import MASK
from delegate.tails import KEPT_BYTES, Tail
from shared.crypto.plaintext import Plaintext
from shared.logs import LONGEST

SECRET = Plaintext(b"hunter2 is long")


async def lines(*pieces: bytes, values: list[Plaintext] | None = None) -> list[str]:
    tail = Tail()
    for piece in pieces:
        tail.feed(piece)
    return await tail.lines([SECRET] if values is None else values)


async def test_the_lines_are_shown_without_the_values() -> None:
    found = await lines(b"curl: it is hunter2 ", b"is long!\n\nhunter2 isn't\n")
    assert found == [f"curl: it is {MASK.decode()}!", "", "hunter2 isn't"]
    assert await lines(b"one\ntwo", values=[]) == ["one", "two"]
    assert await lines() == []


async def test_an_encoded_value_is_not_shown_either() -> None:
    assert "aHVudGVyMiBpcyBsb25n" not in str(await lines(b"Basic aHVudGVyMiBpcyBsb25n\n"))


async def test_only_the_end_of_much_is_shown() -> None:
    text = b"".join(b"%06d\n" % number for number in range(100_000))
    found = await lines(*(text[at : at + 1000] for at in range(0, len(text), 1000)))
    assert found == [f"{number:06d}" for number in range(99_900, 100_000)]


@pytest.mark.parametrize("offset", range(len(SECRET) + 1))
async def test_what_is_cut_off_leaves_no_part_of_a_value(offset: int) -> None:
    value = SECRET.reveal()
    tail = value * (4 * KEPT_BYTES // len(value) + 10) + b"." * offset
    for found in (await lines(tail), await lines(tail[:offset], tail[offset:])):
        assert not any(part in "".join(found) for part in ("hunter", "unter2", "is", "long", "lon"))


async def test_the_beginning_of_a_value_at_the_end_is_not_shown() -> None:
    assert await lines(b"it is hunter2 is") == ["it is "]


async def test_a_long_line_is_shown_in_pieces_that_fit_a_log() -> None:
    found = await lines(b"x" * (2 * LONGEST + 1))
    assert [len(one) for one in found] == [LONGEST, LONGEST, 1]
    assert len(await lines(b"x" * 10 * KEPT_BYTES)) == 100


async def test_what_is_no_text_is_shown_all_the_same() -> None:
    assert await lines(b"\xff\xfe ok\n") == ["\ufffd\ufffd ok"]


@pytest.mark.parametrize("value", [b"ab", b"x" * 200_000])
async def test_nothing_is_shown_beside_a_value_that_cannot_be_masked(value: bytes) -> None:
    (found,) = await lines(b"ab and more\n", values=[Plaintext(value)])
    assert found.startswith("(not shown") and "and more" not in found


@given(st.text("hunter2 ", min_size=3, max_size=40), st.lists(st.text("hunter2 \n", max_size=30), max_size=6))
async def test_no_value_is_shown_wherever_it_stands(value: str, around: list[str]) -> None:
    if len(value.strip()) < 3:
        return
    text = value.join([*around, "", ""])
    found = await lines(text.encode(), values=[Plaintext(value.encode())])
    assert value.strip() not in "\n".join(found)
