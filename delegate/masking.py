"""Masking: what a command writes, with every secret that was injected into it replaced by asterisks.

Promises: no guise of a value passes, however the output is cut into pieces, nor a token that is known by its shape, nor what a
pattern of the delegate's owner matches; overlapping ones are masked as one; all else passes unchanged and at once, for only
what may be the beginning of one waits for what follows (with patterns of the owner, a line for its end). Must not do I/O, and
must not show what it knows: it has no representation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from ahocorasick_rs import BytesAhoCorasick, Implementation

from delegate import token_shapes
from delegate.guises import SHORTEST, guises
from delegate.mask_patterns import Lines, MaskPatterns, Span
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
    """The guises of some values, compiled once for all that a command writes; `own` are the patterns of the delegate's owner.

    Raises Malformed: `value_unmaskable` for a value that is too short (an empty one hides nothing), `values_too_large`.
    """

    def __init__(self, values: Iterable[Plaintext], own: MaskPatterns | None = None) -> None:
        self.own = own
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
        self._first_prefix = self._whole + len(heads)
        self._automaton = BytesAhoCorasick(
            [*self._sorted, *heads, *token_shapes.PREFIXES], implementation=Implementation.ContiguousNFA
        )

    def search(self, data: bytes) -> tuple[list[Span], int]:
        """(start, end) of each guise and token in `data`, in order, and where what may be the beginning of another one starts."""
        spans, waiting, _ = self.look(data)
        return spans, waiting

    def look(self, data: bytes) -> tuple[list[Span], int, bool]:
        """As `search`; besides, whether the last token goes on behind `data` and isn't waited for."""
        spans: list[Span] = []
        goes_on = False
        tokens: list[int] = []
        waiting = len(data)
        earliest = len(data) - self.longest
        for index, start, end in self._automaton.find_matches_as_indexes(data, overlapping=True):
            if index < self._whole:
                spans.append((start, end))
            elif index >= self._first_prefix:
                tokens.append(start)
            elif earliest < start < waiting and self._begins(data[start:]):
                waiting = start
        for start in range(max(0, len(data) - HEAD + 1), waiting):
            if data[start] in self._firsts and self._begins(data[start:]):
                waiting = start
                break
        if tokens:
            shapes, unfinished, goes_on = token_shapes.find(data, sorted(tokens))
            spans += shapes
            waiting = min(waiting, unfinished)
        spans.sort()
        return spans, waiting, goes_on

    def search_whole(self, text: bytes) -> tuple[list[Span], int]:
        """As `search`, with what the owner's patterns match, of a text that doesn't come in pieces."""
        spans, waiting = self.search(text)
        return sorted([*spans, *self.own.find(text)]) if self.own else spans, waiting

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
    """One stream of output on its way through.

    What waits is shorter than the longest guise, or than a token may be; with patterns of the owner a line besides.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._lines = Lines(patterns.own) if patterns.own else None
        self._ahead: list[Span] = []
        """Matches of the owner's patterns among the held bytes."""
        self._goes_on = False
        """What comes next may belong to a token that was too long to wait for."""
        self._held = b""
        self._covered = 0
        """How many of the held bytes belong to what is masked already."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now."""
        if self._lines is not None:
            data, spans = self._lines.feed(data)
            self._look_ahead(spans)
        return self._pass(self._held + data, is_all=False) if data else b""

    def flush(self) -> bytes:
        """What waited, at the end."""
        data = b""
        if self._lines is not None:
            data, spans = self._lines.flush()
            self._look_ahead(spans)
        return self._pass(self._held + data, is_all=True)

    def _look_ahead(self, spans: list[Span]) -> None:
        held = len(self._held)
        self._ahead += [(held + start, held + end) for start, end in spans]

    def _pass(self, data: bytes, *, is_all: bool) -> bytes:
        spans, waiting, goes_on = self._patterns.look(data)
        waiting = len(data) if is_all else min(waiting, token_shapes.beginning(data))
        if self._goes_on:
            following = token_shapes.follows(data)
            self._covered = max(self._covered, following)
            goes_on = goes_on or following == len(data)
        self._goes_on = goes_on
        if self._ahead:
            spans = sorted([*spans, *self._ahead])
            self._ahead = [(max(start - waiting, 0), end - waiting) for start, end in self._ahead if end > waiting]
        return b"".join(self._passing(data, spans, waiting))

    def _passing(self, data: bytes, spans: list[Span], waiting: int) -> Iterator[bytes]:
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
