"""Traces: which part of a task took how long, in whose hands, as spans that a collector puts together.

Promises: a span carries attributes from a closed list whose values have a closed form (`ATTRIBUTES`), and drops the rest, so
that no value, name, host or address leaves by it; what comes as a `traceparent` (W3C Trace Context) and isn't one is ignored.
Nothing is decided by a trace: nobody signed it. What sends spans is `shared.otlp`; without it, spans cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from shared.canonical import sha256
from shared.documents.task import OPERATIONS
from shared.errors import PrivySealError

Attribute = str | int

NAMES: Final = frozenset(
    """
    client.task manager.task manager.authenticate manager.warrant manager.queue manager.dispatch
    delegate.task delegate.verify delegate.secrets delegate.answer
    """.split()
)
"""Every span that there is."""

SIZES: Final = ((0, "0"), (1024, "1KiB"), (64 * 1024, "64KiB"), (2**20, "1MiB"), (2**24, "16MiB"))
"""Classes of sizes: at most so many bytes, and what that is called; beyond them, `more`."""

LONGEST_TRACEPARENT: Final = 512

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
_SHORT = re.compile(r"[0-9a-f]{16}")
_CLASSES = frozenset([name for _, name in SIZES] + ["more"])


def _number(value: Attribute) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _text(pattern: re.Pattern[str]) -> Callable[[Attribute], bool]:
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


ATTRIBUTES: Final[dict[str, Callable[[Attribute], bool]]] = {
    "account": _text(_SHORT),
    "attempt": _number,
    "busy_ms": _number,
    "code": _text(_CODE),
    "failures": _number,
    "kind": _text(_KIND),
    "op": lambda value: value in OPERATIONS,
    "size_in": lambda value: value in _CLASSES,
    "size_out": lambda value: value in _CLASSES,
    "targets": _number,
    "task": _text(_DIGEST),
}
"""What a span may carry, and of which form; on the wire each name begins with `privyseal.`."""


class Parent(NamedTuple):
    """The span that another program's belongs to: hexadecimal ids, and whether that one is recorded."""

    trace: str
    span: str
    sampled: bool


def parse_traceparent(text: str) -> Parent | None:
    """A `traceparent` (W3C Trace Context, level 1); None for anything else. A newer version is read as far as this one goes."""
    found = _TRACEPARENT.fullmatch(text) if len(text) <= LONGEST_TRACEPARENT else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return Parent(trace, span, bool(int(flags, 16) & 1))


def size_class(size: int) -> str:
    """How large something is, roughly: an exact length would tell values apart."""
    return next((name for most, name in SIZES if size <= most), "more")


def account_hash(account: str) -> str:
    """What tells accounts apart in a trace without naming one."""
    return sha256(account.encode()).hex()[:16]


def told(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    """Those that a span may carry, by their names on the wire."""
    return {
        f"privyseal.{name}": value
        for name, value in attributes.items()
        if name in ATTRIBUTES and ATTRIBUTES[name](value)
    }


class Span(Protocol):
    """A part of a task, from its beginning to `end`. As a context it ends with the error's code; ending twice is harmless."""

    @property
    def traceparent(self) -> str:
        """What the next program is told; empty where nothing is recorded."""

    def child(self, name: str, **attributes: Attribute) -> Span:
        """A part of this part, begun now."""

    def tell(self, **attributes: Attribute) -> None:
        """Add what isn't known at the beginning."""

    def end(self, code: str = "") -> None:
        """It is over; with a code other than `ok` and `partial` it failed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tracer(Protocol):
    """Begins traces, or goes on with those of others."""

    @property
    def dropped(self) -> int:
        """Spans that were lost, since the collector is too slow or not there."""

    @property
    def exported(self) -> int:
        """Spans that the collector took."""

    def begin(self, name: str, traceparent: str = "", **attributes: Attribute) -> Span:
        """A span of this program that belongs to `traceparent`, if that is one."""

    def close(self) -> None:
        """Hand over what is left, for a short while; may wait, so it isn't for an event loop."""


class _Unrecorded:
    """The span that isn't."""

    @property
    def traceparent(self) -> str:
        return ""

    def child(self, name: str, **attributes: Attribute) -> _Unrecorded:
        return self

    def tell(self, **attributes: Attribute) -> None:
        return

    def end(self, code: str = "") -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


UNRECORDED: Final[Span] = _Unrecorded()
"""It has no state: one is enough."""


class Untraced:
    """The tracer of a program that has no collector to tell."""

    dropped = 0
    exported = 0

    def begin(self, name: str, traceparent: str = "", **attributes: Attribute) -> Span:
        """The span that isn't."""
        return UNRECORDED

    def close(self) -> None:
        """Nothing to do."""


def code_of_error(error: BaseException | None) -> str:
    """A span's code for how its part ended."""
    if error is None:
        return ""
    return error.code if isinstance(error, PrivySealError) else "internal" if isinstance(error, Exception) else "ended"
