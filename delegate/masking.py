"""Masking: what a command writes, with every secret that was injected into it replaced by asterisks.

Promises: no guise of a value passes, however the output is cut into pieces; overlapping ones are masked as one; all else
passes unchanged and at once, for only what may be the beginning of a guise waits for what follows. Must not do I/O, and
must not show what it knows: it has no representation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from ahocorasick_rs import BytesAhoCorasick, Implementation

from delegate.guises import SHORTEST, guises
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed

MASK = b"**************"
"""Fourteen asterisks whatever the length, as users know them."""

HEAD = 32
MOST_BYTES = 4 * 1024 * 1024
"""All guises together: 50 KiB of values of many lines, three times as much of others."""

LONGEST_VALUE = 128 * 1024
"""What a variable can hold; the guises of a longer one aren't made, since they would take a hundred times its memory."""


class Patterns:
    """The guises of some values, compiled once for all that a command writes.

    Raises Malformed: `value_unmaskable` for a value that is too short (an empty one hides nothing), `values_too_large`.
    """

    def __init__(self, values: Iterable[Plaintext]) -> None:
        found: set[bytes] = set()
        size = 0
        for value in values:
            raw = value.reveal()
            if raw and len(raw.strip()) < SHORTEST:
                raise Malformed(
                    "value_unmaskable",
                    f"a secret of the command is shorter than {SHORTEST} bytes, so that it can't be masked in its output",
                    f"give it at least {SHORTEST} bytes without blanks around them, or hand it over with --env",
                )
            if len(raw) > LONGEST_VALUE:
                raise _too_large()
            new = guises(raw) - found
            size += sum(map(len, new))
            if size > MOST_BYTES:
                raise _too_large()
            found |= new
        found = _needed(found)
        self._sorted = sorted(found)
        self._whole = len(found)
        self._firsts = frozenset(one[0] for one in found)
        self.longest = max(map(len, found), default=0)
        # A guise that is longer than this announces itself by its head, so that its beginning is found in passing.
        heads = sorted({one[:HEAD] for one in found if len(one) > HEAD})
        self._automaton = BytesAhoCorasick([*self._sorted, *heads], implementation=Implementation.ContiguousNFA)

    def search(self, data: bytes) -> tuple[list[tuple[int, int]], int]:
        """(start, end) of each guise in `data`, in order, and where what may be the beginning of another one starts."""
        spans: list[tuple[int, int]] = []
        waiting = len(data)
        earliest = len(data) - self.longest
        for index, start, end in self._automaton.find_matches_as_indexes(data, overlapping=True):
            if index < self._whole:
                spans.append((start, end))
            elif earliest < start < waiting and self._begins(data[start:]):
                waiting = start
        for start in range(max(0, len(data) - HEAD + 1), waiting):
            if data[start] in self._firsts and self._begins(data[start:]):
                waiting = start
                break
        spans.sort()
        return spans, waiting

    def _begins(self, text: bytes) -> bool:
        """Whether a guise that is longer begins with `text`."""
        # What begins with it follows it in the order; it may stand there itself.
        at = bisect_left(self._sorted, text)
        if at < self._whole and self._sorted[at] == text:
            at += 1
        return at < self._whole and self._sorted[at].startswith(text)

    def __repr__(self) -> str:
        return "Patterns(***)"


class Mask:
    """One stream of output on its way through. What waits is shorter than the longest guise."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._held = b""
        self._covered = 0
        """How many of the held bytes belong to what is masked already."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now."""
        data = self._held + data
        spans, waiting = self._patterns.search(data)
        return b"".join(self._passing(data, spans, waiting))

    def flush(self) -> bytes:
        """What waited, at the end."""
        data, spans = self._held, self._patterns.search(self._held)[0]
        return b"".join(self._passing(data, spans, len(data)))

    def _passing(self, data: bytes, spans: list[tuple[int, int]], waiting: int) -> Iterator[bytes]:
        """The bytes before `waiting` with asterisks for `spans`; keeps the rest."""
        done = self._covered
        for start, end in spans:
            if end <= done:
                continue
            if start >= done:
                if start >= waiting:
                    break
                yield data[done:start]
                yield MASK
            done = end
        if done < waiting:
            yield data[done:waiting]
        self._held, self._covered = data[waiting:], max(done - waiting, 0)

    def __repr__(self) -> str:
        return "Mask(***)"


def _needed(forms: set[bytes]) -> set[bytes]:
    """Without those that overlapping occurrences of a shorter one cover: lines of one letter, or of dots, else match by the
    hundred at each byte of such output.
    """
    needed: set[bytes] = set()
    ends: list[bytes] = []
    # Read backwards, what a form ends with stands before it.
    for form in sorted(forms, key=lambda one: one[::-1]):
        while ends and not form.endswith(ends[-1]):
            ends.pop()
        if not any(_covers(end, form) for end in ends):
            needed.add(form)
            ends.append(form)
    return needed


def _covers(part: bytes, form: bytes) -> bool:
    """Whether `form` is occurrences of `part`, each overlapping the one before it."""
    if not form.startswith(part):
        return False
    at = 0
    while at + len(part) < len(form):
        # As far on as it may begin, within the one before.
        following = form.rfind(part, at + 1, at + 2 * len(part) - 1)
        if following < 0:
            return False
        at = following
    return True


def _too_large() -> Malformed:
    return Malformed(
        "values_too_large",
        "the secrets of the command are too large to be masked in its output",
        "use fewer or smaller ones: together about 40 KiB",
    )
