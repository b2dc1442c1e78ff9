"""Quoting: how a script in Bash or PowerShell refers to a variable at a place, so that its value is text there and nothing else.

A reader is fed the script piece by piece and says what stands for an expression between two of them: in the open and in double
quotes an expansion, which the shell doesn't parse again; in Bash's single quotes one behind which they go on. Where an expansion
would be parsed (arithmetic, a parameter's expansion) or not be one (a quoted heredoc), it is refused.

Promises: whatever it takes a place for, what it says is a quoted or unquoted expansion of a variable of ours: a wrong guess makes
another text, never a command. Must not be taken for a parser: what a script hands to eval or to another program is its own.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

from shared.errors import Malformed

OPEN, SINGLE, DOUBLE, ANSI, GROUP, TICKS, BRACES, SUM = "", "'", '"', "$'", "(", "`", "${", "(("

_HEREDOC = re.compile(r"""<<(?P<dash>-?)[ \t]*(?P<word>(?:'[^'\n]*'|"[^"\n]*"|\\.|[^\s;&|<>()'"\\])+)""")
_EVALUATED_AFTER = re.compile(
    r"""(\[\[[ \t][^\]]*[ \t]-(eq|ne|lt|le|gt|ge)[ \t]+["']?|\[\[?[ \t]+-v[ \t]+["']?"""
    r"""|(^|[;&|(])[ \t]*((let|declare[ \t]+-\w*i\w*)[ \t][^;&|]*|[A-Za-z_][0-9A-Za-z_]*\[["']?))\Z"""
)
_EVALUATED_BEFORE = re.compile(r"""["']?[ \t]+-(eq|ne|lt|le|gt|ge)[ \t]""")
"""Where Bash takes a text for arithmetic, which can name commands: a number's comparison in [[ ]], let, an array's index."""

_LONGEST_BEFORE = 200
_WORD_STARTS = frozenset(" \t\n;&|(")
_QUOTED = str.maketrans("", "", "'\"\\")


class Reader(Protocol):
    """Of one shell's scripts, for one script."""

    def feed(self, piece: str) -> None:
        """What stands in the script next."""

    def reference(self, name: str) -> str:
        """What stands for the variable here. Raises Malformed where nothing can."""


class Bash:
    """Bash's quotes, substitutions, comments and heredocs."""

    def __init__(self) -> None:
        self._within = [OPEN]
        self._escaped = False
        self._word_starts = True
        self._is_comment = False
        self._due: deque[tuple[str, bool, bool]] = deque()
        """Heredocs to come: their delimiter, whether it is quoted, whether tabs before it are left out."""
        self._line: str | None = None
        """In a heredoc: its line so far."""
        self._before = ""
        """The end of what stands before, on the same line."""

    def reference(self, name: str) -> str:
        """An expansion that the shell doesn't split, where it can be quoted."""
        if self._escaped:
            raise _misplaced("behind a backslash", "leave the backslash out")
        self._word_starts = False
        if self._line is not None:
            if self._due[0][1]:
                raise _misplaced(
                    "in a heredoc whose delimiter is quoted", "write <<EOF without quotes, and \\$ for a $ of its own"
                )
            self._line += "\0"
            return f"${{{name}}}"
        if _EVALUATED_AFTER.search(self._before):
            raise _evaluated()
        self._before += "\0"
        match self._within[-1]:
            case "'":
                return f"'\"${{{name}}}\"'"
            case "$'":
                return f"'\"${{{name}}}\"$'"
            case '"':
                return f"${{{name}}}"
            case "((" | "${":
                raise _evaluated()
        return f'"${{{name}}}"'

    def feed(self, piece: str) -> None:
        """Follow the script through `piece`. Raises Malformed for what couldn't stand behind an expression."""
        if self._before.endswith("\0") and "[[" in self._before and _EVALUATED_BEFORE.match(piece):
            raise _evaluated()
        self._before = (self._before + piece).rpartition("\n")[2][-_LONGEST_BEFORE:]
        at = 0
        while at < len(piece):
            if self._is_comment:
                end = piece.find("\n", at)
                self._is_comment = end < 0
                at = len(piece) if end < 0 else end
            elif self._line is not None:
                at = self._heredoc(piece, at)
            elif self._escaped:
                self._escaped = False
                self._word_starts = False
                at += 1
            elif self._within[-1] in {SINGLE, ANSI}:
                at = self._literal(piece, at)
            else:
                at = self._active(piece, at)

    def _literal(self, piece: str, at: int) -> int:
        if piece[at] == "'":
            self._within.pop()
        elif piece[at] == "\\" and self._within[-1] == ANSI:
            self._escaped = True
        return at + 1

    def _active(self, piece: str, at: int) -> int:
        """Where expansions are made. Gives the place behind what was read."""
        char, within = piece[at], self._within[-1]
        starts, self._word_starts = self._word_starts, char in _WORD_STARTS
        if char == "\\":
            self._escaped = True
        elif char == '"':
            self._turn(DOUBLE)
        elif char == "`":
            if TICKS in self._within:
                del self._within[self._within.index(TICKS) :]
            else:
                self._within.append(TICKS)
        elif char == "$":
            return self._dollar(piece, at)
        elif within == BRACES and char == "}":
            self._within.pop()
        elif char == "'" and (within not in {DOUBLE, SUM} and not (within == BRACES and DOUBLE in self._within)):
            self._within.append(SINGLE)
        elif within == SUM and piece.startswith("))", at):
            self._within.pop()
            return at + 2
        elif within not in {DOUBLE, BRACES}:
            return self._open(piece, at, starts)
        return at + 1

    def _dollar(self, piece: str, at: int) -> int:
        for token, kind in (("$((", SUM), ("$(", GROUP), ("${", BRACES)):
            if piece.startswith(token, at):
                self._within.append(kind)
                self._word_starts = True
                return at + len(token)
        if piece.startswith("$'", at) and self._within[-1] not in {DOUBLE, SUM, BRACES}:
            self._within.append(ANSI)
            return at + 2
        return at + 1

    def _open(self, piece: str, at: int, starts: bool) -> int:
        """Neither in quotes nor in braces."""
        char, within = piece[at], self._within[-1]
        if starts and within != SUM and piece.startswith("((", at):
            self._within.append(SUM)
            return at + 2
        if char == "(":
            self._within.append(SUM if within == SUM else GROUP)
        elif char == ")":
            if within in {GROUP, SUM}:
                self._within.pop()
        elif char == "#" and starts and within != SUM:
            end = piece.find("\n", at)
            if end < 0:
                self._is_comment = True
                return len(piece)
            return end
        elif char == "<" and within != SUM:
            return self._redirection(piece, at)
        elif char == "\n" and self._due:
            self._line = ""
        return at + 1

    def _redirection(self, piece: str, at: int) -> int:
        if piece.startswith("<<<", at):
            return at + 3
        found = _HEREDOC.match(piece, at)
        if found is None:
            return at + 1
        word = found["word"]
        plain = word.translate(_QUOTED)
        self._due.append((plain, plain != word, bool(found["dash"])))
        return found.end()

    def _heredoc(self, piece: str, at: int) -> int:
        """A line of it, or what of it is in this piece."""
        assert self._line is not None
        end = piece.find("\n", at)
        self._line += piece[at:] if end < 0 else piece[at:end]
        if end < 0:
            self._escaped = (len(piece) - len(piece.rstrip("\\"))) % 2 == 1
            return len(piece)
        self._escaped = False
        delimiter, _, dashed = self._due[0]
        if (self._line.lstrip("\t") if dashed else self._line) == delimiter:
            self._due.popleft()
            self._line = "" if self._due else None
            self._word_starts = True
        else:
            self._line = ""
        return end + 1

    def _turn(self, quote: str) -> None:
        if self._within[-1] == quote:
            self._within.pop()
        else:
            self._within.append(quote)


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
            raise _misplaced("in single quotes, where PowerShell replaces nothing", "use double quotes there")
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


def _evaluated() -> Malformed:
    return _misplaced(
        "in an expansion or in arithmetic, where the shell would evaluate its value",
        "give it to a variable before: x=<+...>, check what it holds, and use $x",
    )


def _misplaced(where: str, hint: str) -> Malformed:
    return Malformed("expression_misplaced", f"an expression in the script stands {where}", hint)
