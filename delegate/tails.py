"""The tail of what a script printed, for the delegate's log: its last lines, with every value that is known masked.

Promises: what is cut off before it can't leave a part of a value standing at its beginning; what can't be masked isn't shown.
Must not be made a part of an error: only who reads the delegate's log sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from delegate.mask_patterns import MaskPatterns
from delegate.masking import MASK, Patterns
from delegate.threads import compute
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed
from shared.logs import LONGEST

KEPT_BYTES = 64 * 1024
_MOST_LINES = 100
"""Texts in a list of a log line."""

_GUISES = 50
"""The guises of a value together are some fifty times as long."""

UNTOLD = "(not shown: the script was ended before it handed over what it had fetched, so that it can't be masked)"

_log = structlog.get_logger()


class Tail:
    """Of one stream of output."""

    def __init__(self, mask_patterns: MaskPatterns | None = None) -> None:
        self._mask_patterns = mask_patterns
        self._kept = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> None:
        """What was printed next."""
        self._kept += data
        # Twice as much is kept, so that few values reach beyond what is shown.
        if len(self._kept) > 4 * KEPT_BYTES:
            del self._kept[: -2 * KEPT_BYTES]
            self._is_cut = True

    async def lines(self, values: Sequence[Plaintext]) -> list[str]:
        """The last lines, without any of `values`."""
        if not self._kept:
            return []
        try:
            patterns = await compute(_GUISES * sum(map(len, values)), Patterns, values, self._mask_patterns)
        except Malformed:
            return ["(not shown: one of the values is too short or too long to be masked)"]
        shown = _masked(bytes(self._kept), self._is_cut, patterns)[-KEPT_BYTES:].decode(errors="replace")
        lines = [line[at : at + LONGEST] for line in shown.splitlines() for at in range(0, len(line) or 1, LONGEST)]
        return lines[-_MOST_LINES:]

    async def tell(
        self,
        reason: str,
        given: Sequence[Plaintext],
        handed: Sequence[Plaintext] | None,
        about: Mapping[str, str] | None,
    ) -> None:
        """Log that a script has failed, and its last lines without the values that it was given and has handed over.

        None was handed over whole: then nothing is shown of what it printed. `about` are keys of `shared.logs`.
        """
        # An empty value hides nothing.
        lines = [UNTOLD] if handed is None else await self.lines([value for value in (*given, *handed) if len(value)])
        _log.warning("script.failed", reason=reason, output=lines, **(about or {}))


def _masked(text: bytes, is_cut: bool, patterns: Patterns) -> bytes:
    spans, end = patterns.search_whole(text)
    # The first bytes may be the rest of a value whose beginning is gone, and the last ones the beginning of one.
    done = patterns.longest if is_cut else 0
    pieces: list[bytes] = []
    for start, stop in spans:
        if stop > done:
            pieces += [text[done:start], MASK] if start >= done else []
            done = stop
    return b"".join((*pieces, text[done:end]))
