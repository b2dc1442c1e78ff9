"""Expressions: what `<+ ... >` in a template, a connector or a reference means, as users of today's YAML write it.

    <+secrets.getValue("account.name")>         a secret; what is in the brackets is a text, made of what stands below
    <+spec.environmentVariables.NAME>           a variable, by its path
    <+"db_" + env.name>, <+"db_".concat(env.name)>, <+"db_<+env.name>">     texts, joined

Promises: every text parses or is Malformed, in time that grows with its length alone; what a variable holds is never parsed
again; a secret's value is part of nothing, neither of a text nor of another secret's name. An error names the place (line
and column) and never a value. Must not know which variables or secrets there are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.errors import Malformed

OPENING = "<+"
LONGEST = 4_096
"""Characters of one expression."""
LONGEST_TEXT = 1_048_576
MOST = 1_000
"""Expressions in one text."""
DEEPEST = 16
"""Levels of brackets, one within the other."""
LONGEST_RESULT = 65_536

_PATH = re.compile(r"[A-Za-z_][0-9A-Za-z_]*(\.[A-Za-z_][0-9A-Za-z_]*)*")
_BLANK = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"""(?:(?!<\+)[^"'\\\r\n])+""")
_GET_VALUE = "secrets.getValue"
_CONCAT = ".concat"


@dataclass(frozen=True, slots=True)
class Text:
    """What stands in quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable by its path, such as `pipeline.variables.x`."""

    path: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """Texts and variables, one after the other."""

    parts: tuple[Text | Variable, ...]


Wording = Text | Variable | Joined
"""What makes a text."""


@dataclass(frozen=True, slots=True)
class SecretValue:
    """The value of the secret that a text refers to."""

    reference: Wording
    place: str = field(default="", compare=False)


Expression = Wording | SecretValue


@dataclass(frozen=True, slots=True)
class SecretCall:
    """The value of a secret is wanted: `reference` as in `shared.references`."""

    reference: str


def parse_text(text: str) -> tuple[str | Expression, ...]:
    """A text in its order: what stands as it is, and the expressions in it. Raises Malformed."""
    if len(text) > LONGEST_TEXT:
        raise Malformed(
            "expression_malformed", "a text with expressions is too long", f"keep to {LONGEST_TEXT} characters"
        )
    places = _Places(text)
    parts: list[str | Expression] = []
    at = count = 0
    while (begin := text.find(OPENING, at)) >= 0:
        if begin > at:
            parts.append(text[at:begin])
        count += 1
        if count > MOST:
            raise _malformed(places.of(begin), "is one too many", f"use at most {MOST} in one text")
        parser = _Parser(text, begin, places)
        parts.append(parser.nested())
        parser.check_length()
        at = parser.at
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


def evaluate(expression: Expression, variables: Mapping[str, str]) -> str | SecretCall:
    """What an expression says, with variables by their paths. Raises Malformed for one that is unknown."""
    if isinstance(expression, SecretValue):
        return SecretCall(_wording(expression.reference, variables))
    return _wording(expression, variables)


def _wording(wording: Wording, variables: Mapping[str, str]) -> str:
    text = "".join(
        one.text if isinstance(one, Text) else _value(one, variables)
        for one in (wording.parts if isinstance(wording, Joined) else (wording,))
    )
    if len(text) > LONGEST_RESULT:
        raise Malformed(
            "expression_too_long", "what an expression makes is too long", f"keep to {LONGEST_RESULT} characters"
        )
    return text


def _value(variable: Variable, variables: Mapping[str, str]) -> str:
    value = variables.get(variable.path)
    if value is None:
        raise Malformed(
            "expression_unknown",
            f"the expression at {variable.place or 'an unknown place'} uses {variable.path}, which isn't known here",
            "known are: " + ", ".join(sorted(variables)[:20]) if variables else "no variable is known here",
        )
    return value


class _Places:
    """Offsets in a text, for people."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def of(self, at: int) -> str:
        line = bisect_right(self._starts, at)
        return f"line {line}, column {at - self._starts[line - 1] + 1}"


class _Parser:
    """Reads one expression from `at` on, which comes to stand behind it."""

    def __init__(self, text: str, at: int, places: _Places) -> None:
        self._text = text
        self.at = at
        self._begin = at
        self._places = places
        self._depth = 0

    def check_length(self) -> None:
        """Raises Malformed behind the longest. Also while it is read: what was read is put together again at each level."""
        if self.at - self._begin > LONGEST:
            raise self._malformed("is too long", f"keep to {LONGEST} characters", self._begin)

    def nested(self) -> Expression:
        """`<+ ... >`."""
        begin = self.at
        self.at += len(OPENING)
        return self._enclosed(begin, ">")

    def _enclosed(self, begin: int, closing: str) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._malformed("has too many brackets within each other", f"use at most {DEEPEST}", begin)
        inner = self._sum()
        if not self._takes(closing):
            raise self._malformed(
                f"isn't understood here, or misses a {closing}",
                'write <+secrets.getValue("account.name")> or <+spec.environmentVariables.NAME>; texts stand in quotes',
            )
        self._depth -= 1
        return inner

    def _sum(self) -> Expression:
        begin = self.at
        parts = [self._term()]
        while self._takes("+"):
            parts.append(self._term())
        return self._joined(parts, begin)

    def _term(self) -> Expression:
        self.check_length()
        begin = self.at
        parts = [self._primary()]
        while self._takes(_CONCAT):
            if not self._takes("("):
                raise self._malformed("has a concat without brackets", 'write "text".concat("text")')
            parts.append(self._enclosed(self.at - 1, ")"))
        return self._joined(parts, begin)

    def _primary(self) -> Expression:
        self._skip()
        begin = self.at
        if self._text.startswith(OPENING, begin):
            return self.nested()
        if self._takes("("):
            return self._enclosed(begin, ")")
        for quote in "\"'":
            if self._takes(quote):
                return self._string(quote, begin)
        found = _PATH.match(self._text, begin)
        if found is None:
            raise self._malformed(
                "isn't understood here",
                "a text stands in quotes, a variable is a path such as spec.environmentVariables.NAME",
            )
        self.at = found.end()
        return self._named(found[0], begin)

    def _named(self, path: str, begin: int) -> Expression:
        if not self._comes("("):
            return Variable(path, self._places.of(begin))
        if path == _GET_VALUE:
            self._takes("(")
            reference = self._enclosed(self.at - 1, ")")
            if isinstance(reference, SecretValue):
                raise self._secret_within(begin)
            return SecretValue(reference, self._places.of(begin))
        if path.endswith(_CONCAT):
            self.at = begin + len(path) - len(_CONCAT)
            return Variable(path.removesuffix(_CONCAT), self._places.of(begin))
        raise self._malformed(
            "calls a function that doesn't exist", "there are secrets.getValue(...) and .concat(...)", begin
        )

    def _string(self, quote: str, begin: int) -> Expression:
        parts: list[Expression] = [Text("")]
        while not self._text.startswith(quote, self.at):
            self.check_length()
            if self._text.startswith(OPENING, self.at):
                parts.append(self.nested())
            elif found := _PLAIN.match(self._text, self.at):
                parts.append(Text(found[0]))
                self.at = found.end()
            else:
                parts.append(Text(self._special(begin)))
        self.at += 1
        return self._joined(parts, begin)

    def _special(self, begin: int) -> str:
        """A character that isn't plain: the other quote, or one behind a backslash."""
        char = self._text[self.at : self.at + 1]
        if char in {'"', "'"}:
            self.at += 1
            return char
        if char == "\\":
            char = self._text[self.at + 1 : self.at + 2]
            if char and char in "\\\"'":
                self.at += 2
                return char
            raise self._malformed("has a backslash that means nothing", "write \\\\, \\\" or \\'")
        raise self._malformed("has a text whose quotes aren't closed", "close them on the same line", begin)

    def _joined(self, parts: list[Expression], begin: int) -> Expression:
        if len(parts) == 1:
            return parts[0]
        flat: list[Text | Variable] = []
        for part in parts:
            match part:
                case SecretValue():
                    raise self._secret_within(begin)
                case Joined():
                    flat += part.parts
                case _:
                    flat.append(part)
        merged: list[Text | Variable] = []
        for one in flat:
            if isinstance(one, Text) and merged and isinstance(merged[-1], Text):
                merged[-1] = Text(merged[-1].text + one.text)
            else:
                merged.append(one)
        kept = [one for one in merged if one != Text("")] or [Text("")]
        return kept[0] if len(kept) == 1 else Joined(tuple(kept))

    def _secret_within(self, begin: int) -> Malformed:
        return Malformed(
            "expression_secret_within",
            f"the expression at {self._places.of(begin)} makes a secret's value part of a text or of another secret's name",
            'let <+secrets.getValue("...")> stand for itself; a name is made of texts and variables',
        )

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self.at)
        assert found is not None
        self.at = found.end()

    def _comes(self, token: str) -> bool:
        self._skip()
        return self._text.startswith(token, self.at)

    def _takes(self, token: str) -> bool:
        if not self._comes(token):
            return False
        self.at += len(token)
        return True

    def _malformed(self, what: str, hint: str, at: int | None = None) -> Malformed:
        return _malformed(self._places.of(self.at if at is None else at), what, hint)


def _malformed(place: str, what: str, hint: str) -> Malformed:
    return Malformed("expression_malformed", f"the expression at {place} {what}", hint)
