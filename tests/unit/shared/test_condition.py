"""Conditions mean one thing, have one text, and hold as a truth table says."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.condition import DEEPEST, LONGEST, MOST_TAGS, All, Any, Condition, Not, Tag, canonical, parse
from shared.errors import Malformed

TAGS = ("a", "b", "c")
CONDITIONS = st.recursive(
    st.sampled_from(TAGS).map(Tag),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Any(tuple(parts))),
    ),
    max_leaves=12,
)


def table(condition: Condition) -> list[bool]:
    """Whether it holds, for every choice of tags."""
    every = product((False, True), repeat=len(TAGS))
    return [condition.holds({tag for tag, is_there in zip(TAGS, row, strict=True) if is_there}) for row in every]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("region=eu and not tier=test", "region=eu and not tier=test"),
        ("  Region=EU  AND NOT(tier=test OR tier=dev)", "region=eu and not (tier=test or tier=dev)"),
        ("a or b and c", "a or b and c"),
        ("(a or b) and c", "(a or b) and c"),
        ("((a and b) and c) or (d or e)", "a and b and c or d or e"),
        ("not not a", "a"),
        ("not (a and b)", "not (a and b)"),
        ("((a))", "a"),
        ("not (not (a or b)) or c", "a or b or c"),
        ("not not not not not a", "not a"),
        ("\t a\r\nAND\x1cb \x0b\x0c", "a and b"),
        ("android and notable or orange", "android and notable or orange"),
        ("(" * DEEPEST + "a" + ")" * DEEPEST, "a"),
        (" or ".join(["a"] * MOST_TAGS), " or ".join(["a"] * MOST_TAGS)),
    ],
)
def test_a_condition_has_one_text(text: str, said: str) -> None:
    assert canonical(text) == said == canonical(said)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "needs a tag, not or ( at 1"),
        ("a b", "needs and, or, or the end at 3"),
        ("(a", "needs ) for the ( at 1 at 3"),
        ("a and", "needs a tag, not or ( at 6"),
        ("not", "needs a tag, not or ( at 4"),
        ("a)", "needs and, or, or the end at 2"),
        ("or a", "needs a tag, not or ( at 1"),
        ("a and ü", "has no tag at 7"),
        ("a\u00a0and\u00a0b", "has no tag at 1"),
        ("a and\u2003b", "needs and, or, or the end at 3"),
        ("a \uff41nd b", "needs and, or, or the end at 3"),
        ("\u212aey", "has no tag at 1"),
        ("\uff08a)", "has no tag at 1"),
        ("a\u200b", "has no tag at 1"),
        ("   ", "needs a tag, not or ( at 1"),
        ("()", "needs a tag, not or ( at 2"),
        ("a or (b and c", "needs ) for the ( at 6 at 14"),
        ("a and " + "x" * 129, "has no tag at 7"),
        ("a" * (LONGEST + 1), f"is longer than {LONGEST} characters"),
        ("(" * (DEEPEST + 2) + "a", f"is more than {DEEPEST} levels deep"),
        ("not " * (DEEPEST + 2) + "a", f"is more than {DEEPEST} levels deep"),
        (" or ".join(["a"] * (MOST_TAGS + 1)), f"has more than {MOST_TAGS} tags"),
        ("and".join(["(" + "a" * 22 + " or b)"] * 31), f"is longer than {LONGEST} characters in its canonical form"),
    ],
)
def test_what_is_no_condition_is_told_by_its_place(text: str, told: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert told in caught.value.detail


@given(CONDITIONS)
def test_a_condition_and_its_text_hold_for_the_same_delegates(condition: Condition) -> None:
    text = str(condition)
    try:
        read = parse(text)
    except Malformed as why:
        # Deeper than anybody may write.
        assert "levels deep" in why.detail
        return
    assert table(read) == table(condition)
    assert canonical(str(read)) == str(read)


@given(st.text(max_size=60) | st.text("ab()notrd ", max_size=60))
def test_any_text_is_a_condition_or_malformed(text: str) -> None:
    try:
        found = parse(text)
    except Malformed:
        return
    assert canonical(str(found)) == str(found)
