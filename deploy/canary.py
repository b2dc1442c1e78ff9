"""The canary: looks for a value where it must not be, in files and in a process's memory, in every form that it may take.

    canary = Canary(b"...")                      # a value, or a random part of one
    canary.in_files([Path("manager.db")])        # the places where it was found
    canary.in_memory(pid)                        # Linux: everything that the process could read

Forms: raw, base64 and base64url at each of the three alignments, hex in both cases, URL-encoded, escaped as JSON does
(both ways), UTF-16 (both orders). A search proves nothing
unless it can find: look for a marker that must be there with the same call, and insist that it is found. Must not print
what it looks for.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

SHORTEST_BYTES = 12
"""Shorter values are found by chance."""

_PIECE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a value was found, in which form."""

    place: str
    form: str
    offset: int


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to: the sightings, and how many bytes were looked through."""

    sightings: tuple[Sighting, ...]
    searched_bytes: int


def forms(value: bytes) -> dict[str, bytes]:
    """The byte strings by which a value could be recognised, by the name of the form; equal ones once."""
    found: dict[str, bytes] = {"raw": value, "hex": value.hex().encode(), "HEX": value.hex().upper().encode()}
    for shift in range(3):
        # Only characters that no neighbouring byte has a part in.
        first, last = -(-shift * 8 // 6), (shift + len(value)) * 8 // 6
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            found[f"{name}+{shift}"] = encode(bytes(shift) + value)[first:last]
    found["url"] = quote_from_bytes(value, safe="").encode()
    found["url/"] = quote_from_bytes(value).encode()
    found["url lower"] = _lower_escapes(found["url"])
    text = _as_text(value)
    found["json"] = json.dumps(text, ensure_ascii=True)[1:-1].encode()
    found["json wide"] = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
    found["utf-16-le"], found["utf-16-be"] = text.encode("utf-16-le"), text.encode("utf-16-be")
    unique: dict[bytes, str] = {}
    for name, needle in found.items():
        unique.setdefault(needle, name)
    return {name: needle for needle, name in unique.items()}


def _as_text(value: bytes) -> str:
    """As a program would have it that takes the value for text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _lower_escapes(text: bytes) -> bytes:
    parts = text.split(b"%")
    return b"%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


class Canary:
    """One value to look for."""

    def __init__(self, value: bytes) -> None:
        if len(value) < SHORTEST_BYTES:
            raise ValueError(f"a value of less than {SHORTEST_BYTES} bytes is found by chance")
        self._forms = forms(value)
        self._overlap = max(map(len, self._forms.values())) - 1

    def in_files(self, paths: Iterable[Path]) -> Search:
        """In files, and in every file below folders; one that vanishes meanwhile is passed over."""
        searches = [self._in_pieces(_pieces(path), str(path)) for path in _files(paths)]
        return _joined(searches)

    def in_memory(self, pid: int) -> Search:
        """In all readable memory of a process (proc(5)). Linux, and a process that one may trace: a child, or as root.

        Raises OSError where the process is gone or may not be read.
        """
        searches = []
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 (no buffer may read ahead)
            for start, end, name in regions(pid):
                pieces = _memory_pieces(memory.fileno(), start, end)
                searches.append(self._in_pieces(pieces, f"memory of {pid}: {name or 'anonymous'}", start))
        return _joined(searches)

    def _in_pieces(self, pieces: Iterable[bytes], place: str, start: int = 0) -> Search:
        sightings: dict[tuple[str, int], Sighting] = {}
        tail, at, searched = b"", start, 0
        for piece in pieces:
            searched += len(piece)
            window = tail + piece
            for form, needle in self._forms.items():
                found = window.find(needle)
                while found >= 0:
                    offset = at - len(tail) + found
                    sightings.setdefault((form, offset), Sighting(place, form, offset))
                    found = window.find(needle, found + 1)
            at += len(piece)
            tail = window[-self._overlap :]
        return Search(tuple(sightings.values()), searched)


def regions(pid: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, name) of each readable mapping, from /proc/PID/maps; not the kernel's own pages."""
    for line in Path(f"/proc/{pid}/maps").read_text("ascii", "replace").splitlines():
        span, permissions, _, _, _, *rest = line.split(maxsplit=5)
        name = rest[0] if rest else ""
        if "r" in permissions and name not in {"[vvar]", "[vsyscall]", "[vdso]", "[vvar_vclock]"}:
            start, end = (int(part, 16) for part in span.split("-"))
            yield start, end, name


def _memory_pieces(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    at = start
    while at < end:
        try:
            piece = os.pread(descriptor, min(_PIECE_BYTES, end - at), at)
        except (OSError, OverflowError):
            # Mapped and not readable (a device, a guard page), or unmapped since the list was read.
            return
        if not piece:
            return
        yield piece
        at += len(piece)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except FileNotFoundError:
        return


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (one for one in sorted(path.rglob("*")) if one.is_file())
        elif path.exists():
            yield path


def _joined(searches: Iterable[Search]) -> Search:
    searches = list(searches)
    sightings = tuple(one for search in searches for one in search.sightings)
    return Search(sightings, sum(search.searched_bytes for search in searches))
