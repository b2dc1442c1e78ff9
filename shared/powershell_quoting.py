"""Quoting in PowerShell: how a script refers to a variable at a place, as `shared.quoting` says it for Bash.

Promises: what stands for an expression is an expansion of a variable of ours, which PowerShell doesn't parse again, or it is refused.
Must not be taken for a parser.
"""

from __future__ import annotations

import re

from shared.quoting import DOUBLE, OPEN, SINGLE, misplaced


class PowerShell:
    """PowerShell's quotes, here-strings and comments; each kind of quote has typographic forms (about_Quoting_Rules)."""

    _TOKENS = re.compile(
        r"""(?P<escape>`.)|(?P<comment>\#[^\n]*|<\#.*?(?:\#>|\Z))|(?P<here>@(?:['\u2018-\u201b]|["\u201c-\u201e])[ \t]*\r?\n)"""
        r"""|(?P<single>['\u2018-\u201b])|(?P<double>["\u201c-\u201e])|.""",
        re.S | re.X,
    )
    _SINGLE = "'\u2018\u2019\u201a\u201b"

    def __init__(self) -> None:
        self._within = OPEN
        """OPEN, SINGLE, DOUBLE, or @ and one of them for a here-string."""

    def reference(self, name: str) -> str:
        """An expansion, which PowerShell doesn't parse again."""
        if SINGLE in self._within:
            raise misplaced("in single quotes, where PowerShell replaces nothing", "use double quotes there")
        return f"${{{name}}}"

    def feed(self, piece: str) -> None:
        """Follow the script through `piece`."""
        at = 0
        while at < len(piece):
            if self._within.startswith("@"):
                quotes = self._SINGLE if SINGLE in self._within else '"\u201c\u201d\u201e'
                found = re.compile(rf"\n[{quotes}]@").search(piece, at)
                if found is None:
                    return
                self._within, at = OPEN, found.end()
                continue
            token = self._TOKENS.match(piece, at)
            assert token is not None
            at = token.end()
            if self._within == OPEN:
                self._enter(token)
            elif token["here"] or token["comment"] or (token["escape"] and self._within == SINGLE):
                # Within quotes these are characters like any other.
                at = token.start() + 1
            elif token["single" if self._within == SINGLE else "double"]:
                # A doubled quote closes and opens again.
                self._within = OPEN

    def _enter(self, token: re.Match[str]) -> None:
        if token["here"]:
            self._within = "@" + (SINGLE if token["here"][1] in self._SINGLE else DOUBLE)
        elif token["single"]:
            self._within = SINGLE
        elif token["double"]:
            self._within = DOUBLE
