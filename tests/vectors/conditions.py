"""Vectors of conditions: their one text, what is none, and for which delegates each holds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from shared.condition import DEEPEST, LONGEST, MOST_TAGS, canonical, is_canonical, parse
from tests.vectors import actors as a

_ABC = ("a", "b", "c")

# As somebody writes it, its canonical form, and for which of the eight delegates it holds: with none of a, b and c first, then
# with c, b, b and c, a, a and c, a and b, and all.
_TABLES: tuple[tuple[str, str, str], ...] = (
    ("a", "a", "00001111"),
    ("not a", "not a", "11110000"),
    ("a and b", "a and b", "00000011"),
    ("a or b", "a or b", "00111111"),
    ("a or b and c", "a or b and c", "00011111"),
    ("(a or b) and c", "(a or b) and c", "00010101"),
    ("not a and b", "not a and b", "00110000"),
    ("not (a and b)", "not (a and b)", "11111100"),
    ("not (a or b)", "not (a or b)", "11000000"),
    ("not a or not b and not c", "not a or not b and not c", "11111000"),
    ("a and not (b or c)", "a and not (b or c)", "00001000"),
    ("a and b or b and c or a and c", "a and b or b and c or a and c", "00010111"),
    ("NOT A Or ( B aNd C )", "not a or b and c", "11110001"),
    ("\t(\n(a)\r\n)\x0b\x0c\x1c\x1d\x1e\x1f", "a", "00001111"),
    ("(a)and(b)", "a and b", "00000011"),
    ("not(a)or(not(b))", "not a or not b", "11111100"),
    ("not not a", "a", "00001111"),
    ("not not not a", "not a", "11110000"),
    ("not (not (a and b)) and c", "a and b and c", "00000001"),
    ("not (not (a or b)) and c", "(a or b) and c", "00010101"),
    ("not (not (a or b)) or c", "a or b or c", "01111111"),
    ("a and (b and (c))", "a and b and c", "00000001"),
    ("(a or b) or c", "a or b or c", "01111111"),
    ("((a and b) or c)", "a and b or c", "01010111"),
    ("a or a", "a or a", "00001111"),
    ("b and a and b", "b and a and b", "00000011"),
    ("a or not a", "a or not a", "11111111"),
    ("a and not a", "a and not a", "00000000"),
)
_LONE = "x" * 128
_WIDE = "and".join(["(" + "a" * 22 + " or b)"] * 31)
# Whatever characters a selector has; words that only begin or end as and, or, not do.
_SINGLE = ("region=eu", "a.b_c:d=e/f@g+h-i", "android", "orange", "notable", "sand", "0", "-", _LONE)

MALFORMED: Mapping[str, str] = {
    "nothing": "",
    "a space": " ",
    "an empty bracket": "()",
    "two tags": "a b",
    "a tag before a bracket": "a (b)",
    "a bracket before a tag": "(a) b",
    "two brackets": "(a)(b)",
    "a bracket that is open": "(a",
    "a bracket that is open inside": "a or (b and c",
    "a bracket that is closed only": "a)",
    "brackets the wrong way round": "a) or (b",
    "and alone": "and",
    "or at the end": "a or",
    "and at the beginning": "and a",
    "not alone": "not",
    "not at the end": "a and not",
    "not between tags": "a not b",
    "two words between tags": "a and or b",
    "a sign": "a & b",
    "a sign instead of not": "!a",
    "a comma": "a, b",
    "quotes": '"a"',
    "another kind of bracket": "[a]",
    "a tag of 129 characters": "x" * 129,
    "a tag outside of ASCII": "ü",
    "a tag whose lower case is of ASCII": "\u212aey",
    "a wide bracket": "\uff08a\uff09",
    "a wide and": "a \uff41nd b",
    "a Cyrillic a": "\u0430",
    "a space that doesn't break": "a\u00a0and\u00a0b",
    "a wide space": "a\u2003and b",
    "a mark without width": "a\u200b",
    "a null": "a\0",
    "a condition of 1025 characters": "a" + " " * LONGEST,
    "a condition whose canonical form has more": _WIDE,
    "sixty-five tags": " or ".join(["a"] * (MOST_TAGS + 1)),
    "seventeen brackets": "(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1),
    "not seventeen times": "not " * (DEEPEST + 1) + "a",
    "brackets and not, seventeen": "not (" * (DEEPEST // 2) + "not a" + ")" * (DEEPEST // 2),
    "nothing in seventeen brackets": "(" * (DEEPEST + 1),
}
ANOTHER_TEXT: Mapping[str, str] = {
    "in capital letters": "A and b",
    "with AND in capital letters": "a AND b",
    "with two spaces": "a  and b",
    "with a space in front": " a",
    "with a space at its end": "a ",
    "with a line break": "a\n",
    "with a tabulator": "a\tand b",
    "with a space inside a bracket": "( a or b) and c",
    "without a space at a bracket": "not(a or b)",
    "with brackets around all": "(a and b)",
    "with brackets around a tag": "(a)",
    "with brackets around and": "(a and b) or c",
    "with brackets around the same word": "a and (b and c)",
    "with not twice": "not not a",
}
"""Conditions, and not their one text."""


def conditions() -> dict[str, Any]:
    """The file of vectors: `holds` has a bit for each of `delegates`, which are lists of tags."""
    delegates = [
        [tag for tag, is_there in zip(_ABC, row, strict=True) if is_there] for row in product((0, 1), repeat=3)
    ]
    cases = [
        a.case(f"holds: {text!r}", "accepted", text=text, canonical=told, holds=holds) for text, told, holds in _TABLES
    ]
    none = "0" * len(delegates)
    cases += [a.case(f"a tag: {one[:20]}", "accepted", text=one, canonical=one, holds=none) for one in _SINGLE]
    most = {
        "sixty-four tags": " or ".join(["z"] * MOST_TAGS),
        "sixteen brackets": "(" * DEEPEST + "z" + ")" * DEEPEST,
        "a condition of 1024 characters": "z" + " " * (LONGEST - 1),
    }
    told_most = {name: text if "tags" in name else "z" for name, text in most.items()}
    cases += [a.case(name, "accepted", text=most[name], canonical=told_most[name], holds=none) for name in most]
    cases += [a.case(name, "malformed/condition_malformed", text=text) for name, text in MALFORMED.items()]
    return a.file("Conditions over delegates' tags (formats, section 2).", cases, delegates=delegates)


def check(file: dict[str, Any], case: dict[str, Any]) -> None:
    """As whoever types one is answered, and as a document is judged that holds it."""
    text = case["text"]
    condition = parse(text)
    assert canonical(text) == case["canonical"] == str(condition)
    assert is_canonical(case["canonical"]) and is_canonical(text) == (text == case["canonical"])
    assert "".join(str(int(condition.holds(tags))) for tags in file["delegates"]) == case["holds"]
