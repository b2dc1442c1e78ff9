"""Manifests: YAML as its author wrote it, each field with the line that it stands on.

Promises: what is wrong is told by file, line and field path; a field that stands twice, a value without a plain JSON form,
or a text that would unfold without end is refused. Must not know what the fields mean, and must not repeat a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode

from shared.errors import Malformed, PrivySealError

KINDS = ("template", "connector", "secret")
"""In the order in which they are applied: what stands behind may name what stands before."""
LARGEST_BYTES = 4 * 1024 * 1024
STANDARD_INPUT = "-"
_MOST_NODES = 50_000
_DEEPEST = 24
_TEXT, _NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge"))


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file. `body` is what stands below its kind; `lines` are those of its fields, by path."""

    source: str
    line: int
    kind: str
    body: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def line_of(self, path: str) -> int:
        """The line of a field, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, self.line)

    def refused(self, path: str, detail: str, hint: str = "", *, code: str = "manifest_malformed", **facts: Any) -> Malformed:  # fmt: skip
        """The error that says what is wrong with the field at `path` (from the kind on)."""
        return at(self.source, self.line_of(path), path, detail, hint, code=code, **facts)


def at(
    source: str, line: int, path: str, detail: str, hint: str = "", *, code: str = "manifest_malformed", **facts: Any
) -> Malformed:
    """An error with its place."""
    place = f"{source}:{line}: {path}: " if path else f"{source}:{line}: "
    return Malformed(code, f"{place}{detail}", hint, **{"file": source, "line": line, "path": path, **facts})


def refuse_all(found: Sequence[PrivySealError]) -> None:
    """Raises the first of the errors; the others stand in its fact `problems`. Nothing where there are none."""
    if not found:
        return
    first, *others = found
    if others:
        first.facts["problems"] = [one.detail for one in others]
    raise first


def read_files(paths: Sequence[str], stdin: BinaryIO) -> list[Manifest]:
    """The manifests of files, in their order; `-` is `stdin`. Raises Malformed."""
    found: list[Manifest] = []
    for path in paths:
        name = "standard input" if path == STANDARD_INPUT else path
        try:
            if path == STANDARD_INPUT:
                raw = stdin.read(LARGEST_BYTES + 1)
            else:
                with Path(path).expanduser().open("rb") as file:
                    raw = file.read(LARGEST_BYTES + 1)
        except OSError as why:
            raise Malformed("file_unreadable", f"{name} can't be read: {why.strerror}", "check --file") from None
        if len(raw) > LARGEST_BYTES:
            raise Malformed("file_too_large", f"{name} is longer than 4 MB", "divide it")
        found += parse(raw, name)
    if not found:
        raise Malformed("manifest_empty", "there is no document in what was given", "see privyseal export for the form")
    return found


def parse(raw: bytes, source: str) -> list[Manifest]:
    """The manifests in a YAML text, empty documents left out. Raises Malformed."""
    try:
        text = raw.decode("utf-8-sig")
        roots = [one for one in yaml.compose_all(text, Loader=yaml.SafeLoader) if one is not None and one.tag != _NULL]
    except UnicodeDecodeError:
        raise at(source, 1, "", "the text is not UTF-8", "save it as UTF-8") from None
    except RecursionError:
        raise at(source, 1, "", "the text is nested too deep", "write it plainly") from None
    except yaml.MarkedYAMLError as why:
        line = why.problem_mark.line + 1 if why.problem_mark else 1
        raise at(source, line, "", "this is not YAML", "look at indents, colons and quotes near that line") from None
    except yaml.YAMLError:
        raise at(source, 1, "", "the text holds characters that YAML doesn't take", "save it as plain text") from None
    return [_manifest(root, source) for root in roots]


def _manifest(root: Node, source: str) -> Manifest:
    reader = _Reader(source)
    top = reader.value(root, "", 0)
    line = root.start_mark.line + 1
    known = ", ".join(f"{kind}:" for kind in KINDS)
    if not isinstance(top, dict) or len(top) != 1 or next(iter(top)) not in KINDS:
        raise at(source, line, "", f"a document begins with its kind: {known}", "see docs/connectors.md", allowed=KINDS)
    ((kind, body),) = top.items()
    if not isinstance(body, dict):
        raise at(source, line, kind, "give an object with fields of its own", "see docs/connectors.md")
    return Manifest(source, line, kind, body, reader.lines)


class _Reader:
    """Reads one document's nodes."""

    def __init__(self, source: str) -> None:
        self.lines: dict[str, int] = {}
        self._source = source
        self._left = _MOST_NODES
        self._scalars = SafeConstructor()

    def value(self, node: Node, path: str, depth: int) -> Any:
        """The value of a node: texts, whole numbers, booleans, lists and objects."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise self._refused(node, path, "the document unfolds too far", "write it without anchors")
        if isinstance(node, MappingNode):
            return {key: self.value(member, below, depth + 1) for key, member, below in self._members(node, path)}
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        return [self.value(one, f"{path}[{at}]", depth + 1) for at, one in enumerate(node.value)]

    def _members(self, node: MappingNode, path: str) -> Iterator[tuple[str, Node, str]]:
        seen: set[str] = set()
        for key, member in node.value:
            if key.tag == _MERGE:
                raise self._refused(key, path, "fields are merged in with <<", "write them out")
            if not isinstance(key, ScalarNode) or key.tag != _TEXT:
                raise self._refused(key, path, "a field's name is not a text", "put it in quotes")
            name = str(key.value)
            below = f"{path}.{name}" if path else name
            if name in seen:
                raise self._refused(key, below if name.isidentifier() else path, "the field stands twice", "keep one")
            seen.add(name)
            self.lines[below] = key.start_mark.line + 1
            yield name, member, below

    def _scalar(self, node: ScalarNode, path: str) -> Any:
        try:
            value: object = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            value = object()
        if value is None or isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**53):
            return value
        raise self._refused(node, path, "this is no text, whole number or boolean", "put a text in quotes")

    def _refused(self, node: Node, path: str, detail: str, hint: str) -> Malformed:
        return at(self._source, node.start_mark.line + 1, path, detail, hint)
