"""Masking by the owner's own patterns: regular expressions, one a line, of a file that the delegate's settings name.

Promises: they run in time that grows with the output alone (RE2: no look-around, no back references); each line of output is
looked at by itself, however it comes in pieces; a pattern that can't be is refused at the start with its line. Must not repeat
a pattern: it may have a part of a secret in it. Their source: `sanitize-patterns.txt`, as users of other delegates have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.errors import Malformed

MOST_PATTERNS = 100
LONGEST_PATTERN = 1_000
LONGEST_LINE = 16 * 1024
OVERLAP = 4 * 1024
"""A longer line is looked at in pieces of `LONGEST_LINE`, each with so much of the one before."""

_MEMORY = 1024 * 1024
"""Of one pattern's automaton; where it isn't enough, RE2 is slower and finds the same."""

Span = tuple[int, int]


class MaskPatterns:
    """Compiled patterns; every command and script of a delegate has the same."""

    def __init__(self, compiled: Sequence[Any]) -> None:
        self._compiled = compiled

    def __len__(self) -> int:
        return len(self._compiled)

    @staticmethod
    def parse(text: str) -> MaskPatterns:
        """A pattern of each line that isn't blank. Raises Malformed with the number of the line."""
        # Late: who has no patterns of his own doesn't load the engine.
        import re2

        options = re2.Options()
        # By the byte: what is no UTF-8 must not keep a pattern from matching around it.
        options.encoding = re2.Options.Encoding.LATIN1
        options.never_nl = True
        options.never_capture = True
        options.log_errors = False
        options.max_mem = _MEMORY
        compiled: list[Any] = []
        for number, line in enumerate(text.split("\n"), 1):
            pattern = line.removesuffix("\r")
            if not pattern.strip():
                continue
            if len(pattern) > LONGEST_PATTERN or len(compiled) == MOST_PATTERNS:
                raise _refused(
                    number, "one too many or too long", f"at most {MOST_PATTERNS} of {LONGEST_PATTERN} characters"
                )
            try:
                one = re2.compile(b"(?m)" + pattern.encode(), options)
            except re2.error:
                raise _refused(
                    number,
                    "not a regular expression of RE2",
                    "RE2 knows no look-ahead, look-behind and back references, and repeats at most 1,000 times",
                ) from None
            if one.search(b""):
                raise _refused(number, "one that nothing at all matches too", "have it need at least one character")
            compiled.append(one)
        return MaskPatterns(compiled)

    def find(self, text: bytes) -> list[Span]:
        """(start, end) of each match in lines of output, in no order; they may overlap."""
        # As at a terminal, a line that is written over is one.
        lines = text.replace(b"\r", b"\n")
        found: list[Span] = []
        for start, end in _windows(lines):
            window = lines[start:end]
            for one in self._compiled:
                spans = (match.span() for match in one.finditer(window))
                found += [(start + first, start + last) for first, last in spans if first < last]
        return found

    def __repr__(self) -> str:
        return f"MaskPatterns({len(self)})"


class Lines:
    """One stream of output on its way to be looked at: whole lines, and no more of a long one than must be kept."""

    def __init__(self, patterns: MaskPatterns) -> None:
        self._patterns = patterns
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> tuple[bytes, list[Span]]:
        """What is whole now, and the matches that begin in it; one may go on in what follows."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size <= LONGEST_LINE and b"\n" not in data and b"\r" not in data:
            return b"", []
        text = b"".join(self._pieces)
        cut = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        return self._release(text, cut if len(text) - cut <= LONGEST_LINE else len(text) - OVERLAP)

    def flush(self) -> tuple[bytes, list[Span]]:
        """The rest, at the end."""
        return self._release(b"".join(self._pieces), self._size)

    def _release(self, text: bytes, cut: int) -> tuple[bytes, list[Span]]:
        self._pieces, self._size = [text[cut:]], len(text) - cut
        return text[:cut], [span for span in self._patterns.find(text) if span[0] < cut]


def _windows(lines: bytes) -> Iterator[Span]:
    """Pieces of at most `LONGEST_LINE` bytes: whole lines where they fit."""
    start = 0
    while start < len(lines):
        end = start + LONGEST_LINE
        if end >= len(lines):
            yield start, len(lines)
            return
        line = lines.rfind(b"\n", start, end) + 1
        yield (start, line) if line else (start, end)
        start = line or end - OVERLAP


def _refused(number: int, what: str, hint: str) -> Malformed:
    return Malformed(
        "mask_pattern_malformed",
        f"line {number} of the mask patterns file is {what}",
        hint,
        setting="mask_patterns_file",
    )
