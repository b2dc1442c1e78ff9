"""Many canaries on many surfaces in one pass: `deploy.canary` looks for one value, this for a whole run's.

    watch = Watch()
    watch.secret("the token", value)                  # must not be found anywhere
    watch.marker("its name", identifier, "database")  # must be found there: else the search proves nothing
    watch.surface("database", files(paths))
    watch.search().insist()

Of a long value some pieces are looked for, so that a value that is cut at a buffer's end is found too. Each surface is
read once, piece by piece. Must not print a value, not even when it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deploy.canary import SHORTEST_BYTES, forms, regions

PIECE_BYTES = 4 * 1024 * 1024
PAGE_BYTES = 4096
WINDOW_BYTES = 40
"""How much of a long value is looked for at each place of it."""

Surface = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Found:
    """A canary on a surface, in a form."""

    canary: str
    form: str
    surface: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search came to. `leaks` are secrets that were found, `missing` markers that weren't."""

    leaks: tuple[Found, ...]
    seen: tuple[Found, ...]
    missing: tuple[tuple[str, str], ...]
    searched_bytes: dict[str, int]

    def insist(self) -> None:
        """Fails unless every marker was found and no secret was."""
        assert not self.missing, f"the search is blind: it didn't find the markers {self.missing}"
        assert not self.leaks, f"values were found where they must not be: {sorted(set(map(str, self.leaks)))}"


def windows(value: bytes) -> list[bytes]:
    """The pieces of a value that are looked for: all of a short one, three of a long one."""
    if len(value) <= 2 * WINDOW_BYTES:
        return [value]
    middle = len(value) // 2
    return [value[:WINDOW_BYTES], value[middle : middle + WINDOW_BYTES], value[-WINDOW_BYTES:]]


@dataclass(slots=True)
class Watch:
    """See the module."""

    _secrets: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    _markers: dict[tuple[str, str], list[tuple[str, bytes]]] = field(default_factory=dict)
    _surfaces: dict[str, Surface] = field(default_factory=dict)

    def secret(self, name: str, value: bytes) -> None:
        """A value that must be nowhere, under a name that may be printed."""
        assert len(value) >= SHORTEST_BYTES, f"{name} is so short that it is found by chance"
        assert name not in self._secrets, f"there are two secrets {name}"
        self._secrets[name] = _needles(value)

    def marker(self, name: str, value: bytes, *surfaces: str) -> None:
        """A value that each of these surfaces must hold."""
        for surface in surfaces:
            self._markers[name, surface] = _needles(value)

    def surface(self, name: str, pieces: Surface) -> None:
        """Somewhere to look; it is read anew in each search."""
        self._surfaces[name] = pieces

    def search(self) -> Findings:
        """Everything on everything."""
        leaks: set[Found] = set()
        seen: set[Found] = set()
        searched: dict[str, int] = {}
        for surface, pieces in self._surfaces.items():
            markers = {name: needles for (name, place), needles in self._markers.items() if place == surface}
            needles = {**{("secret", name): one for name, one in self._secrets.items()}}
            needles |= {("marker", name): one for name, one in markers.items()}
            longest = max((len(needle) for one in needles.values() for _, needle in one), default=1)
            tail, searched[surface] = b"", 0
            for piece in pieces():
                searched[surface] += len(piece)
                window = tail + piece
                tail = window[1 - longest :] if longest > 1 else b""
                if not window.strip(b"\0"):
                    continue
                for (kind, name), one in needles.items():
                    for form, needle in one:
                        if needle in window:
                            (leaks if kind == "secret" else seen).add(Found(name, form, surface))
        found = {(one.canary, one.surface) for one in seen}
        missing = tuple(sorted(one for one in self._markers if one not in found))
        return Findings(tuple(leaks), tuple(seen), missing, searched)


def _needles(value: bytes) -> list[tuple[str, bytes]]:
    needles: dict[bytes, str] = {}
    for window in windows(value):
        for form, needle in forms(window).items():
            needles.setdefault(needle, form)
    return [(form, needle) for needle, form in needles.items()]


# ---- surfaces


def files(paths: Callable[[], Iterable[Path]]) -> Surface:
    """Files, and all files below folders, as they are when the search comes to them."""

    def pieces() -> Iterator[bytes]:
        for path in paths():
            below = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
            for one in below:
                try:
                    data = one.read_bytes()
                except FileNotFoundError:
                    continue
                yield from held(data)()

    return pieces


def held(data: bytes | bytearray | str) -> Surface:
    """Bytes at hand; what is appended to a bytearray later is searched too."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return lambda: (bytes(raw[at : at + PIECE_BYTES]) for at in range(0, len(raw), PIECE_BYTES))


def memory(pid: Callable[[], int]) -> Surface:
    """All memory that a process has written or could have (proc(5)); its program's own text is no place for a value."""

    def pieces() -> Iterator[bytes]:
        number = pid()
        writable = _writable(number)
        with open(f"/proc/{number}/mem", "rb", buffering=0) as source:  # noqa: PTH123 (no buffer may read ahead)
            for start, end, _ in regions(number):
                if start not in writable:
                    continue
                for at in range(start, end, PIECE_BYTES):
                    try:
                        source.seek(at)
                        piece = source.read(min(PIECE_BYTES, end - at))
                    except (OSError, OverflowError):
                        break
                    if piece:
                        yield b"".join(_touched(piece))

    return pieces


def _touched(piece: bytes) -> Iterator[bytes]:
    """Without the pages that nobody has written: most of what a process has mapped."""
    for at in range(0, len(piece), PAGE_BYTES):
        page = piece[at : at + PAGE_BYTES]
        if page.strip(b"\0"):
            yield page


def _writable(pid: int) -> set[int]:
    lines = Path(f"/proc/{pid}/maps").read_text("ascii", "replace").splitlines()
    return {int(line.split("-", 1)[0], 16) for line in lines if "w" in line.split(maxsplit=2)[1]}
