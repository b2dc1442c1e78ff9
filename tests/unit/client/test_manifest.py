"""Manifests: YAML with the line of each field; what can't be meant is refused at its line, and never repeated."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.manifest import LARGEST_BYTES, parse, read_files, refuse_all
from shared.errors import Malformed

TEXT = """\
# a comment
connector:
  name: first
  spec:
    delegateSelectors:
      - a
      - b
---
---
connector: {name: second, tags: {x: 1}}
"""


def refusal(text: str | bytes) -> Malformed:
    with pytest.raises(Malformed) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "file.yaml")
    return caught.value


def test_each_document_has_its_fields_and_their_lines() -> None:
    first, second = parse(TEXT.encode(), "file.yaml")
    assert first.body == {"name": "first", "spec": {"delegateSelectors": ["a", "b"]}}
    assert (first.kind, first.line, second.line, second.body["tags"]) == ("connector", 2, 10, {"x": 1})
    lines = {path: first.line_of(f"connector.{path}") for path in ("name", "spec", "spec.delegateSelectors[1]")}
    assert lines == {"name": 3, "spec": 4, "spec.delegateSelectors[1]": 7}


def test_a_field_that_is_missing_has_the_line_of_what_it_is_missing_in() -> None:
    (manifest, _) = parse(TEXT.encode(), "file.yaml")
    assert manifest.line_of("connector.spec.credential.type") == 4
    assert manifest.line_of("connector.type") == 2
    assert manifest.line_of("elsewhere") == 2
    why = manifest.refused("connector.spec.region", "Region cannot be empty", "a hint", code="some_code", allowed=["x"])
    assert why.detail == "file.yaml:4: connector.spec.region: Region cannot be empty"
    assert why.facts == {"file": "file.yaml", "line": 4, "path": "connector.spec.region", "allowed": ["x"]}


def test_anchors_are_written_out() -> None:
    (manifest,) = parse(b"connector:\n  name: &n x\n  description: *n\n", "file.yaml")
    assert manifest.body == {"name": "x", "description": "x"}


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("pipeline:\n  name: x\n", 1, "a document begins with its kind: template:, connector:, secret:"),
        ("- connector\n", 1, "a document begins with its kind"),
        ("connector: {}\nsecret: {}\n", 1, "a document begins with its kind"),
        ("\nconnector: text\n", 2, "connector: give an object with fields of its own"),
        ("connector:\n  name: x\n  name: y\n", 3, "connector.name: the field stands twice"),
        ("connector:\n  'a b': 1\n  'a b': 2\n", 3, "connector: the field stands twice"),
        ("connector:\n  base: &b {}\n  <<: *b\n", 3, "fields are merged in with <<"),
        ("connector:\n  yes: x\n", 2, "a field's name is not a text"),
        ("connector:\n  ? [a]\n  : x\n", 2, "a field's name is not a text"),
        ("connector:\n  at: 2026-11-21\n", 2, "connector.at: this is no text, whole number or boolean"),
        ("connector:\n  at: 1.5\n", 2, "connector.at: this is no text"),
        ("connector:\n  at: 2026-99-99\n", 2, "connector.at: this is no text"),
        ("connector:\n  at: !!python/name:os.system x\n", 2, "connector.at: this is no text"),
        ("connector:\n  at: 99999999999999999999\n", 2, "connector.at: this is no text"),
        ("connector:\n  name: [\n", 3, "this is not YAML"),
        ("connector:\n\tname: x\n", 2, "this is not YAML"),
        ("connector: *unknown\n", 1, "this is not YAML"),
        ("connector: \x00\n", 1, "characters that YAML doesn't take"),
        (b"connector: \xff\n", 1, "not UTF-8"),
        ("[" * 3000, 1, "nested too deep"),
        ("connector: " + "[" * 30 + "]" * 30, 1, "unfolds too far"),
        ("&a [*a]", 1, "unfolds too far"),
    ],
)
def test_what_can_not_be_meant_is_refused_at_its_line(text: str | bytes, line: int, part: str) -> None:
    why = refusal(text)
    assert part in why.detail
    assert why.detail.startswith(f"file.yaml:{line}: ")
    assert (why.facts["file"], why.facts["line"]) == ("file.yaml", line)


def test_a_text_that_would_unfold_without_end_is_refused() -> None:
    levels = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "unfolds too far" in refusal(f"connector:\n  a0: &a0 x\n{levels}").detail


def test_no_error_repeats_a_value() -> None:
    for text in ("connector:\n  a: 1.5hunter2: x", "connector: {a: *hunter2}", "connector: !hunter2 x", "hunter2: x"):
        assert "hunter2" not in repr(refusal(text).problem())


def test_files_and_standard_input_are_read_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("connector: {name: file}\n")
    given_ = io.BytesIO(b"connector: {name: input}\n")
    found = read_files(["-", str(file)], given_)
    assert [(one.source, one.body["name"]) for one in found] == [("standard input", "input"), (str(file), "file")]


def test_a_file_that_is_missing_too_long_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"nowhere\.yaml can't be read: No such file"):
        read_files([str(tmp_path / "nowhere.yaml")], io.BytesIO())
    with pytest.raises(Malformed, match="standard input is longer than 4 MB"):
        read_files(["-"], io.BytesIO(b" " * (LARGEST_BYTES + 1)))
    with pytest.raises(Malformed, match="no document"):
        read_files(["-"], io.BytesIO(b"---\n# nothing\n"))


def test_the_first_error_carries_the_others() -> None:
    refuse_all([])
    with pytest.raises(Malformed) as caught:
        refuse_all([Malformed("a", "first"), Malformed("b", "second"), Malformed("c", "third")])
    assert (caught.value.detail, caught.value.facts) == ("first", {"problems": ["second", "third"]})
    with pytest.raises(Malformed) as caught:
        refuse_all([Malformed("a", "alone")])
    assert caught.value.facts == {}


@given(st.text(max_size=60) | st.text(alphabet="connetr: {}[]&*-?!|>'\"\n\t#%@,~<", max_size=60))
def test_garbage_is_read_or_is_malformed_and_never_anything_else(text: str) -> None:
    for one in (text, f"connector:\n  name: {text}"):
        try:
            parse(one.encode("utf-8", "surrogatepass"), "file.yaml")
        except Malformed as why:
            assert why.facts["file"] == "file.yaml"
