"""Conditions: which delegates may do something, as an expression over their tags.

    region=eu and not (tier=test or tier=dev)

Grammar, weakest first:  or | and | not | ( ) | TAG    A tag is a selector (`shared.selectors`): it holds for a delegate that
carries it, its name and host included. Promises: one meaning, one canonical text, in time that grows with the length alone;
every text is a condition or Malformed. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from shared.errors import Malformed
from shared.selectors import normalise

LONGEST = 1_024
MOST_TAGS = 64
DEEPEST = 16

# What `str.strip` takes away of ASCII; another space is part of a word, and no tag.
_SPACE = r"\t-\r\x1c-\x20"
_WORD = re.compile(rf"[{_SPACE}]*(?:([()])|([^{_SPACE}()]+))")
_WORDS = frozenset({"and", "or", "not"})


@dataclass(frozen=True, slots=True)
class Tag:
    """Holds where the delegate carries it."""

    tag: str

    def holds(self, tags: Collection[str]) -> bool:
        """For a delegate with those tags."""
        return self.tag in tags

    def __str__(self) -> str:
        return self.tag


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where the other doesn't."""

    of: Condition

    def holds(self, tags: Collection[str]) -> bool:
        """For a delegate with those tags."""
        return not self.of.holds(tags)

    def __str__(self) -> str:
        return f"not {_within(self.of, All, Any)}"


@dataclass(frozen=True, slots=True)
class All:
    """Holds where all do."""

    of: tuple[Condition, ...]

    def holds(self, tags: Collection[str]) -> bool:
        """For a delegate with those tags."""
        return all(one.holds(tags) for one in self.of)

    def __str__(self) -> str:
        return " and ".join(_within(one, Any) for one in self.of)


@dataclass(frozen=True, slots=True)
class Any:
    """Holds where one does."""

    of: tuple[Condition, ...]

    def holds(self, tags: Collection[str]) -> bool:
        """For a delegate with those tags."""
        return any(one.holds(tags) for one in self.of)

    def __str__(self) -> str:
        return " or ".join(str(one) for one in self.of)


Condition = Tag | Not | All | Any


def parse(text: str) -> Condition:
    """The condition that a text says. Raises Malformed with the place, counted in characters from 1."""
    if len(text) > LONGEST:
        raise _malformed(f"is longer than {LONGEST} characters")
    found = _Parser(text).whole()
    if len(str(found)) > LONGEST:
        # Spaces between words and brackets may be missing in what somebody writes; documents have them.
        raise _malformed(f"is longer than {LONGEST} characters in its canonical form")
    return found


@lru_cache(maxsize=4096)
def parsed(text: str) -> Condition:
    """`parse`, remembered: a document's condition is asked for again with each task."""
    return parse(text)


def is_canonical(text: str) -> bool:
    """Whether it is the one text of a condition."""
    try:
        return str(parsed(text)) == text
    except Malformed:
        return False


def canonical(text: str) -> str:
    """The one text of a condition: small letters, single spaces, no bracket that changes nothing. Raises Malformed."""
    return str(parse(text))


def _within(one: Condition, *weaker: type[Condition]) -> str:
    return f"({one})" if isinstance(one, weaker) else str(one)


class _Parser:
    def __init__(self, text: str) -> None:
        self._rest = self._words(text)
        self._word, self._at = next(self._rest)
        self._tags = 0

    @staticmethod
    def _words(text: str) -> Iterator[tuple[str, int]]:
        at = 0
        while (match := _WORD.match(text, at)) is not None:
            at = match.end()
            written = match[1] or match[2]
            word = written.lower()
            yield (word if word in _WORDS else written), match.start(1 if match[1] else 2) + 1
        while True:
            yield "", len(text.rstrip()) + 1

    def whole(self) -> Condition:
        found = self._either(0)
        if self._word:
            raise self._unexpected("and, or, or the end")
        return found

    def _either(self, depth: int) -> Condition:
        parts = self._joined("or", lambda: self._both(depth))
        return parts[0] if len(parts) == 1 else Any(_flat(parts, Any))

    def _both(self, depth: int) -> Condition:
        parts = self._joined("and", lambda: self._one(depth))
        return parts[0] if len(parts) == 1 else All(_flat(parts, All))

    def _joined(self, word: str, part: object) -> tuple[Condition, ...]:
        assert callable(part)
        parts = [part()]
        while self._word == word:
            self._next()
            parts.append(part())
        return tuple(parts)

    def _one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise _malformed(f"at {self._at} is more than {DEEPEST} levels deep")
        word, at = self._word, self._at
        if word == "not":
            self._next()
            inner = self._one(depth + 1)
            return inner.of if isinstance(inner, Not) else Not(inner)
        if word == "(":
            self._next()
            inner = self._either(depth + 1)
            if self._word != ")":
                raise self._unexpected(f") for the ( at {at}")
            self._next()
            return inner
        if word in {"", ")", "and", "or"}:
            raise self._unexpected("a tag, not or (")
        self._next()
        self._tags += 1
        if self._tags > MOST_TAGS:
            raise _malformed(f"has more than {MOST_TAGS} tags")
        try:
            return Tag(normalise(word))
        except Malformed as why:
            raise _malformed(f"has no tag at {at}: {why.hint}") from None

    def _next(self) -> None:
        self._word, self._at = next(self._rest)

    def _unexpected(self, wanted: str) -> Malformed:
        return _malformed(f"needs {wanted} at {self._at}")


def _flat(parts: tuple[Condition, ...], kind: type[All] | type[Any]) -> tuple[Condition, ...]:
    """Brackets around what is joined by the same word change nothing."""
    return tuple(one for part in parts for one in (part.of if isinstance(part, kind) else (part,)))


def _malformed(what: str) -> Malformed:
    return Malformed(
        "condition_malformed", f"the condition {what}", "write it as in: region=eu and not (tier=test or tier=dev)"
    )
