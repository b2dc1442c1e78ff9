"""Quoting: how a script in Bash refers to a variable at a place, so that its value is text there and nothing else.

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

from shared.bash_commands import EXPRESSION, SUBSTITUTION, Command, Variables
from shared.errors import Malformed

OPEN, SINGLE, DOUBLE, ANSI, TICKS, HEREDOC = "", "'", '"', "$'", "`", "<<"
GROUP, SUBSHELL, LIST = "$(", "(", "=("
BRACES, SLICE = "${", "${:"
"""With a text for a variable that isn't set, and all others, whose parts can be arithmetic."""
SUM, SUM_GROUP, OLD_SUM = "((", "((...(", "$["

DEEPEST = 100
"""Brackets, quotes and heredocs, one within the other."""

_BRACES = frozenset((BRACES, SLICE))
_COMMANDS = frozenset((GROUP, SUBSHELL, LIST, TICKS))
_SUMS = frozenset((SUM, SUM_GROUP, OLD_SUM))
_EVALUATED = _SUMS | {SLICE}
_EXPANSIONS = _SUMS | _BRACES
_CLOSINGS = {BRACES: "}", SLICE: "}", SUM: "))", SUM_GROUP: ")", OLD_SUM: "]"}
_OTHERWISE = re.compile(r"\$\{([A-Za-z_]\w*|[0-9@*?]):?[-+=?]")
_LITERAL = re.compile(r"[^'\\]+")
_PLAIN = re.compile(r"[0-9A-Za-z_./:,=+%@?*~^-]+")
"""What means nothing to quotes anywhere."""

_HEREDOC = re.compile(r"""<<(?P<dash>-?)[ \t]*(?P<word>(?:'[^'\n]*'|"[^"\n]*"|\\.|[^\s;&|<>()'"\\])+)""")
_QUOTED = str.maketrans("", "", "'\"\\")


class Reader(Protocol):
    """Of one shell's scripts, for one script."""

    def feed(self, piece: str) -> None:
        """What stands in the script next."""

    def reference(self, name: str) -> str:
        """What stands for the variable here. Raises Malformed where nothing can."""


class Bash:
    """Bash's quotes, substitutions, comments and heredocs; what its commands do with a word is `shared.bash_commands`'."""

    def __init__(self, variables: Variables | None = None, heredocs: int = 0) -> None:
        """`heredocs`: in how many, one within the other, the script stands."""
        self._within = [HEREDOC if heredocs else OPEN]
        self._heredocs = heredocs
        self._variables = Variables() if variables is None else variables
        self._commands = [Command(self._variables)]
        """That of the whole, and of each substitution that is open."""
        self._escaped = False
        self._is_comment = False
        self._due: deque[tuple[str, bool, bool]] = deque()
        """Heredocs to come: their delimiter, whether it is quoted, whether tabs before it are left out."""
        self._line: str | None = None
        """In a heredoc: its line so far."""
        self._body: Bash | None = None
        """In one that is expanded: its reader."""
        self._is_lost = False
        """Behind a heredoc in backquotes, which are looked for in it too."""

    @property
    def _command(self) -> Command:
        return self._commands[-1]

    def reference(self, name: str) -> str:
        """An expansion that the shell doesn't split, where it can be quoted."""
        if self._is_lost:
            raise misplaced("behind a heredoc in backquotes", "write $( ) instead of them")
        if self._line is not None:
            if self._body is None:
                raise misplaced(
                    "in a heredoc whose delimiter is quoted", "write <<EOF without quotes, and \\$ for a $ of its own"
                )
            self._line += EXPRESSION
            return self._body.reference(name)
        if self._escaped:
            raise misplaced("behind a backslash", "leave the backslash out")
        if self._is_comment:
            return f'"${{{name}}}"'
        within = self._within[-1]
        if not _EVALUATED.isdisjoint(self._within) or within == BRACES or self._command.expression():
            raise _evaluated()
        match within:
            case "'":
                return f"'\"${{{name}}}\"'"
            case "$'":
                return f"'\"${{{name}}}\"$'"
            case '"' | "<<":
                return f"${{{name}}}"
        return f'"${{{name}}}"'

    def feed(self, piece: str) -> None:
        """Follow the script through `piece`. Raises Malformed for what couldn't stand behind an expression."""
        at = 0
        while at < len(piece):
            if self._line is not None:
                at = self._heredoc(piece, at)
            elif self._is_comment:
                at = self._comment(piece, at)
            elif self._escaped:
                self._escaped = False
                if piece[at] != "\n":
                    self._add(piece[at])
                at += 1
            elif self._within[-1] in {SINGLE, ANSI}:
                at = self._literal(piece, at)
            else:
                at = self._active(piece, at)
                self._check_depth(len(self._within))

    def _add(self, text: str) -> None:
        """To the word, of which what stands in its expansions is no part."""
        for kind in reversed(self._within):
            if kind in _COMMANDS:
                break
            if kind in _EXPANSIONS:
                return
        self._command.add(text)

    def _literal(self, piece: str, at: int) -> int:
        plain = _LITERAL.match(piece, at)
        if plain is not None:
            self._add(plain[0])
            return plain.end()
        if piece[at] == "'":
            self._within.pop()
        elif piece[at] == "\\" and self._within[-1] == ANSI:
            self._escaped = True
        else:
            self._add(piece[at])
        return at + 1

    def _comment(self, piece: str, at: int) -> int:
        """To the line's end, or to where its substitution ends: backquotes are looked for before all else."""
        ends = [end for mark in ("\n", "`" if TICKS in self._within else "\n") if (end := piece.find(mark, at)) >= 0]
        self._is_comment = not ends
        return min(ends, default=len(piece))

    def _active(self, piece: str, at: int) -> int:
        """Where expansions are made. Gives the place behind what was read."""
        char, within = piece[at], self._within[-1]
        plain = _PLAIN.match(piece, at)
        if plain is not None:
            self._add(plain[0])
            return plain.end()
        if char == "\\":
            if piece[at + 1 : at + 2] in self._unescaped:
                # Taken away before the substitution is read.
                return at + 1
            self._escaped = True
        elif char == "`":
            if TICKS in self._within:
                self._close(self._within.index(TICKS))
            else:
                self._enter(TICKS)
        elif char == "$":
            return self._dollar(piece, at)
        elif char == '"' and within != HEREDOC:
            self._turn(DOUBLE)
        elif within in _CLOSINGS and piece.startswith(_CLOSINGS[within], at):
            self._within.pop()
            return at + len(_CLOSINGS[within])
        elif within in _SUMS:
            self._sum(char, within)
        elif char == "'" and not (within in {DOUBLE, HEREDOC} or (within in _BRACES and self._is_double)):
            self._within.append(SINGLE)
            self._add("")
        elif within in {OPEN, GROUP, SUBSHELL, LIST, TICKS}:
            return self._open(piece, at)
        else:
            self._add(char)
        return at + 1

    @property
    def _unescaped(self) -> set[str]:
        """Characters that lose a backslash before what they stand in is read."""
        if TICKS not in self._within:
            return set()
        return {"$", '"'} if DOUBLE in self._within[: self._within.index(TICKS)] else {"$"}

    @property
    def _is_double(self) -> bool:
        return DOUBLE in self._within or HEREDOC in self._within

    def _dollar(self, piece: str, at: int) -> int:
        for token, kind in (("$((", SUM), ("$(", GROUP), ("${", BRACES), ("$[", OLD_SUM)):
            if piece.startswith(token, at):
                is_slice = kind == BRACES and not _OTHERWISE.match(piece, at)
                self._enter(SLICE if is_slice else kind)
                return at + len(token)
        if piece.startswith("$'", at) and self._within[-1] not in {DOUBLE, HEREDOC, *_SUMS, *_BRACES}:
            self._within.append(ANSI)
            self._add("")
            return at + 2
        self._add("$")
        return at + 1

    def _enter(self, kind: str, array: str = "") -> None:
        """Something of its own begins, which is any text to the word that it stands in."""
        if kind != SUBSHELL:
            self._add(SUBSTITUTION)
        self._within.append(kind)
        if kind in _COMMANDS:
            self._commands.append(Command(self._variables, array))

    def _close(self, at: int) -> None:
        """What began there ends, and all that began in it."""
        for kind in self._within[at:]:
            if kind in _COMMANDS:
                self._check(self._commands.pop().end())
        del self._within[at:]

    def _sum(self, char: str, within: str) -> None:
        if within == OLD_SUM:
            return
        if char == "(":
            self._within.append(SUM_GROUP)
        elif char == ")":
            # No second one: it was a substitution that begins with a subshell.
            self._within[-1:] = [GROUP]
            self._commands.append(Command(self._variables))

    def _open(self, piece: str, at: int) -> int:
        """Neither in quotes nor in braces."""
        char, command = piece[at], self._command
        if command.is_index:
            # Up to its bracket, whatever stands in it.
            command.add(char)
        elif char == "#" and not command.is_begun:
            self._is_comment = True
        elif char in " \t":
            self._check(command.end_word())
        elif char in "<>":
            return self._redirection(piece, at)
        elif command.is_test and char in "\n;()&|":
            self._check(command.end_word())
            if piece.startswith(("&&", "||"), at):
                command.add(piece[at : at + 2])
                self._check(command.end_word())
                return at + 2
        elif char == "(":
            return self._bracket(piece, at)
        elif char == ")":
            self._check(command.end())
            if self._within[-1] in {GROUP, SUBSHELL, LIST} and not command.cases:
                self._close(len(self._within) - 1)
        elif char in "\n;&|":
            self._check(command.end())
        else:
            command.add(char)
        if char == "\n" and self._due:
            self._begin_heredoc()
        return at + 1

    def _bracket(self, piece: str, at: int) -> int:
        command = self._command
        if command.may_begin and piece.startswith("((", at):
            self._check(command.end())
            self._within.append(SUM)
            return at + 2
        array = command.list_of
        if array:
            self._enter(LIST, array)
        else:
            self._check(command.end())
            self._enter(SUBSHELL)
        return at + 1

    def _redirection(self, piece: str, at: int) -> int:
        self._check(self._command.redirect(piece.startswith("&", at + 1)))
        found = None if piece.startswith("<<<", at) else _HEREDOC.match(piece, at)
        if found is not None:
            word = found["word"]
            plain = word.translate(_QUOTED)
            self._is_lost = self._is_lost or TICKS in self._within
            self._due.append((plain, plain != word, bool(found["dash"])))
            self._command.add(plain)
            return found.end()
        if piece.startswith("(", at + 1):
            self._enter(GROUP)
            return at + 2
        # >& and its like are no ends of commands.
        return at + (3 if piece.startswith("<<<", at) else 2 if piece[at + 1 : at + 2] in {"&", ">", "<", "|"} else 1)

    def _begin_heredoc(self) -> None:
        self._line = ""
        self._body = None if self._due[0][1] else Bash(self._variables, self._heredocs + 1)
        self._check_depth(self._heredocs)

    def _heredoc(self, piece: str, at: int) -> int:
        """A line of it, or what of it is in this piece."""
        assert self._line is not None
        end = piece.find("\n", at)
        part = piece[at:] if end < 0 else piece[at:end]
        self._line += part
        delimiter, _, dashed = self._due[0]
        is_over = end >= 0 and (self._line.lstrip("\t") if dashed else self._line) == delimiter
        if self._body is not None and not is_over:
            self._body.feed(part if end < 0 else part + "\n")
        if end < 0:
            return len(piece)
        self._line = ""
        if is_over:
            self._due.popleft()
            self._line = self._body = None
            if self._due:
                self._begin_heredoc()
        return end + 1

    def _turn(self, quote: str) -> None:
        if self._within[-1] == quote:
            self._within.pop()
        else:
            self._within.append(quote)
        self._add("")

    @staticmethod
    def _check_depth(depth: int) -> None:
        if depth > DEEPEST:
            raise misplaced("in too many brackets within each other", f"use at most {DEEPEST}, also of those before it")

    @staticmethod
    def _check(is_evaluated: bool) -> None:
        if is_evaluated:
            raise _evaluated()


def _evaluated() -> Malformed:
    return misplaced(
        "in an expansion or in arithmetic, where the shell would evaluate its value",
        "give it to a variable before: x=<+...>, check what it holds, and use $x",
    )


def misplaced(where: str, hint: str) -> Malformed:
    """The error for an expression that stands there."""
    return Malformed("expression_misplaced", f"an expression in the script stands {where}", hint)
