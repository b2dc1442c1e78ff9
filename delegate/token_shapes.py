"""Tokens that are known by their shape: signed and encrypted JWTs, and GitHub's, whoever they are of.

Promises: each occurrence that is whole is found from where it begins, in one pass; what may still grow is told, so that it can
wait for what follows. Must not be taken for a judgement: nothing is decoded, and what looks so is treated so. Sources: RFC 7519,
RFC 7516 (compact forms of three and of five parts, headers that begin as `{"` does in base64), and GitHub's documentation of
its token formats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

PREFIXES: Final = (b"eyJ", b"ghp_", b"gho_", b"ghs_", b"ghu_", b"ghr_", b"github_pat_")
LONGEST: Final = 16 * 1024
"""A token may wait so long for its end; of a longer one all that follows without a break is a part."""

_RUN: Final = re.compile(rb"[\w.-]++")
# Possessive: nothing is tried twice, however the output was made.
_JWT: Final = re.compile(rb"eyJ[\w-]{6,}+\.(?:[\w-]{2,}+\.[\w-]*+|\.[\w-]++)(?:\.[\w-]++\.[\w-]++)?")
_GITHUB: Final = re.compile(rb"(?:gh[opsur]|github_pat)_[A-Za-z0-9_]{20,}+")
_BEGINNINGS: Final = frozenset(one[:length] for one in PREFIXES for length in range(1, len(one)))
_LAST: Final = frozenset(one[-1] for one in _BEGINNINGS)
_MOST: Final = max(map(len, _BEGINNINGS))


def find(data: bytes, starts: Sequence[int]) -> tuple[list[tuple[int, int]], int, bool]:
    """(start, end) of each token in `data`, where one starts that may go on behind its end (else its length), and whether the
    last one is so long that it isn't waited for although it may go on.

    `starts` are the places of all prefixes, in order. One that may go on is among the tokens where it would be one as it is.
    """
    spans: list[tuple[int, int]] = []
    waiting, done, run = len(data), 0, 0
    for start in starts:
        if start < done:
            continue
        if start >= run:
            found = _RUN.match(data, start)
            run = found.end() if found else start
        is_jwt = data.startswith(b"eyJ", start)
        token = (_JWT if is_jwt else _GITHUB).match(data, start, run)
        if run == len(data):
            if run - start <= LONGEST:
                waiting = min(waiting, start)
            elif token:
                return [*spans, (start, run)], waiting, True
        if token:
            done = token.end()
            spans.append((start, done))
        elif is_jwt:
            # Nor does one begin later in what would have been its header.
            dot = data.find(b".", start, run)
            done = run if dot < 0 else dot
    return spans, waiting, False


def follows(data: bytes) -> int:
    """How many bytes at the beginning of `data` go on with a token."""
    found = _RUN.match(data)
    return found.end() if found else 0


def beginning(data: bytes) -> int:
    """Where what may be the beginning of a prefix starts at the end of `data`, else its length."""
    if data and data[-1] in _LAST:
        for start in range(max(0, len(data) - _MOST), len(data)):
            if data[start:] in _BEGINNINGS:
                return start
    return len(data)
