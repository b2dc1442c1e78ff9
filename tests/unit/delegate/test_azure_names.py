"""Names of inline secrets at Key Vault: every one fits its alphabet, and no two are one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.secret_managers.azure_names import CHECKED, LONGEST, name_of

IDENTIFIER = st.from_regex(r"[a-zA-Z_][0-9a-zA-Z_]{0,20}", fullmatch=True)
LONG = st.from_regex(r"[a-zA-Z_][0-9a-zA-Z_]{90,127}", fullmatch=True)
TEXT = st.lists(IDENTIFIER | LONG, min_size=1, max_size=3).map(".".join)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("db", "db"),
        ("my_secret", "my--secret"),
        ("dbPassword", "db-password"),
        ("acme.web.db", "acme-0web-0db"),
        ("DB", "x-1-d-b"),
        ("_", "x-1--"),
        ("a9", "a9"),
    ],
)
def test_a_name_says_what_it_is_of(text: str, name: str) -> None:
    assert name_of(text) == name


def plain(name: str) -> str:
    """What a name that isn't cut was made of: how it is read back."""
    read, at = "", len("x-1") if name.startswith("x-1") else 0
    while at < len(name):
        if name[at] != "-":
            read += name[at]
            at += 1
            continue
        following = name[at + 1]
        read += {"-": "_", "0": "."}.get(following) or following.upper()
        assert following in "-0" or following.isalpha()
        at += 2
    return read


@given(TEXT)
def test_every_name_fits_key_vaults_alphabet_and_is_read_back(text: str) -> None:
    name = name_of(text)
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,126}", name)
    if not re.search(r"-9[a-z2-7]{52}$", name):
        assert plain(name) == text


@given(TEXT, TEXT)
def test_no_two_are_one(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


def test_the_longest_are_cut_and_keep_apart() -> None:
    texts = [".".join(["i" * 128, "p" * 128, f"{'s' * 127}{last}"]) for last in "abcAB_"]
    assert len({name_of(text) for text in texts}) == len(texts)
    assert max(len(name_of(text)) for text in texts) <= LONGEST
    # A cut within what stands for one character doesn't make it look like another.
    edge = "a" * 59 + "_" * 100
    assert re.fullmatch(r"a{59}-9[a-z2-7]{52}", name_of(edge))


def test_no_secret_has_the_name_that_a_check_asks_for() -> None:
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,126}", CHECKED)
    at = CHECKED.index("-2")
    assert "-" not in CHECKED[:at]
