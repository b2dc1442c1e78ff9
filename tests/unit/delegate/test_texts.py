"""Values at providers: text stays readable, everything comes back as it was, others' values are never reinterpreted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.secret_managers.texts import MARK, foreign, text, text_or_bytes, value_of
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed

VALUES = st.binary() | st.text().map(str.encode) | st.binary().map(lambda rest: MARK.encode() + rest)


@given(VALUES)
def test_every_value_comes_back(value: bytes) -> None:
    assert value_of(text(Plaintext(value))).reveal() == value
    assert value_of(text_or_bytes(Plaintext(value))).reveal() == value


@given(VALUES)
def test_no_kept_value_is_empty(value: bytes) -> None:
    assert text(Plaintext(value)) and text_or_bytes(Plaintext(value))


def test_text_stands_as_it_is_and_bytes_too_where_they_may() -> None:
    assert text(Plaintext("p\u00e4ss".encode())) == text_or_bytes(Plaintext("p\u00e4ss".encode())) == "p\u00e4ss"
    assert text(Plaintext(b"\xff")) == "privyseal:base64:/w=="
    assert text_or_bytes(Plaintext(b"\xff")) == b"\xff"
    assert text_or_bytes(Plaintext(b"")) == MARK
    assert value_of(b"privyseal:base64:/w==").reveal() == b"privyseal:base64:/w=="


def test_what_others_wrote_is_taken_as_it_is() -> None:
    assert foreign("privyseal:base64:/w==").reveal() == b"privyseal:base64:/w=="
    assert foreign(b"\xff").reveal() == b"\xff"


@pytest.mark.parametrize("rest", ["hunter2!", "/w=", "/w==\n", "\u00e4"])
def test_our_mark_before_something_else_is_refused_without_repeating_it(rest: str) -> None:
    with pytest.raises(Malformed) as caught:
        value_of(MARK + rest)
    assert caught.value.code == "value_malformed" and "hunter2" not in str(caught.value.problem())
