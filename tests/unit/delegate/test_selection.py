"""`#key`: nested keys first, then one literal name; texts as they are, the rest as compact JSON; nothing else leaks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.secret_managers.selection import DEEPEST, select, split
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, NotFound, PrivySealError

VALUE = b"""
{"a": {"b": {"c": "nested", "n": null}, "list": [1, 2.50, {"x": 1e400}], "big": 123456789012345678901234567890},
 "a.b": "shadowed", "p.q": "literal", "deep": {"p.q": "never"}, "": {"": "empty"}, "t": true, "e": "",
 "u": "\\u00e4\\ud83d\\udd11", "o": { "k" : [ ] }, "z": null, "f": {"g": null}, "f.g": "for null"}
"""


def selected(key: str, value: bytes = VALUE) -> bytes:
    return select(Plaintext(value), key).reveal()


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("a.b.c", b"nested"),
        ("p.q", b"literal"),
        ("f.g", b"for null"),
        ("a.b", b'{"c":"nested","n":null}'),
        ("a.list", b'[1,2.50,{"x":1e400}]'),
        ("a.big", b"123456789012345678901234567890"),
        ("t", b"true"),
        ("e", b""),
        (".", b"empty"),
        ("u", "\u00e4\U0001f511".encode()),
        ("o", b'{"k":[]}'),
    ],
)
def test_a_key_selects_nested_first_then_literally(key: str, wanted: bytes) -> None:
    assert selected(key) == wanted


@pytest.mark.parametrize("key", ["none", "a.none", "a.b.c.d", "deep.p.q", "a.list.0", "t.x", "a.", "p", "a.b.n", "z"])
def test_a_key_that_is_not_there_is_not_found_by_its_name(key: str) -> None:
    with pytest.raises(NotFound) as caught:
        selected(key)
    assert caught.value.code == "key_missing" and f"no key {key}" in caught.value.detail
    assert "nested" not in str(caught.value.problem()).replace("nested keys first", "")


@pytest.mark.parametrize(
    "value", [b"hunter2", b'"hunter2"', b"[1]", b"", b"\xff\xfe", b'{"a":', b'{"a": hunter2}', b'{"a": "\\ud800"}']
)
def test_what_is_no_json_object_has_no_keys_and_is_not_repeated(value: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        selected("a", value)
    assert caught.value.code == "value_not_json" and "hunter2" not in str(caught.value.problem())


def test_a_value_nested_too_deeply_is_refused() -> None:
    with pytest.raises(PrivySealError):
        selected("a.b", b'{"a":' * 5000 + b"1" + b"}" * 5000)


@given(st.dictionaries(st.text(), st.text(), min_size=1), st.data())
def test_every_text_of_an_object_is_selected_by_its_name(members: dict[str, str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(members)))
    assert selected(key, json.dumps(members).encode()) == members[key].encode()


@given(st.binary(), st.text(min_size=1))
def test_garbage_is_refused_or_selected_from_and_nothing_else(value: bytes, key: str) -> None:
    try:
        selected(key, value)
    except (Malformed, NotFound):
        pass


@pytest.mark.parametrize(
    ("reference", "path", "key"),
    [("a/b", "a/b", None), ("a/b#c", "a/b", "c"), ("a#b.c#d", "a", "b.c#d"), ("/a", "/a", None)],
)
def test_the_key_begins_after_the_first_mark(reference: str, path: str, key: str | None) -> None:
    assert split(reference) == (path, key)


@pytest.mark.parametrize("reference", ["a#", "#a", "#"])
def test_a_reference_without_path_or_key_is_malformed(reference: str) -> None:
    with pytest.raises(Malformed):
        split(reference)


def test_a_key_of_many_steps_is_looked_at_as_one_name_alone() -> None:
    """Each step reads all below it once more: a key of a thousand steps in a large value took half a minute of everybody's."""
    deep = ".".join("a" * DEEPEST)
    assert selected(deep, b'{"a":' * DEEPEST + b'"x"' + b"}" * DEEPEST) == b"x"
    steps = DEEPEST + 1
    with pytest.raises(NotFound) as missing:
        selected(f"{deep}.a", b'{"a":' * steps + b'"x"' + b"}" * steps)
    assert missing.value.code == "key_missing"
    assert selected(f"{deep}.a", json.dumps({f"{deep}.a": "literal"}).encode()) == b"literal"
