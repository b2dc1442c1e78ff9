"""Log lines that can't carry a secret: processors for structlog, and one call that installs them.

Promises: a line has keys from a closed list with plain, short values and nothing else; what was left out is
named in `dropped`; a traceback has neither locals nor the texts of foreign exceptions, which may repeat a
value; a line that can't be written disturbs nobody. Must not be mistaken for audit. structlog is imported at
the first call, since it takes tens of milliseconds that the client needn't pay.
"""

from __future__ import annotations

import json as json_text
import logging
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from errno import errorcode
from traceback import walk_tb
from types import TracebackType
from typing import Any, Final, TextIO

from shared.errors import PrivySealError

Line = MutableMapping[str, Any]
Step = Callable[[Any, str, Line], Any]
"""A structlog processor: logger, method name, line so far."""

KEYS: Final = frozenset(
    """
    account address attempt bytes caller capacity code connector count delegate delegate_id digest dispatch_ms
    duration_ms error error_type event execution_ms expires generation group hint id keyring kind level limit method op origin
    outcome output path pid pins port program queue_ms reason repeat request_id rev route scope seconds secret_id
    secret_name selectors serial setting signal size_in size_out state status targets task thumbprint timestamp
    verify_ms version
    """.split()
)
"""The keys that a line may carry."""

WORDS: Final = frozenset({"code", "error", "error_type", "outcome"})
"""Keys whose value is one word, so that the text of an exception doesn't slip in."""

LIBRARIES: Final = ("grpc", "asyncio", "uvicorn", "uvicorn.error", "uvicorn.access", "sqlalchemy", "aiohttp")
CLOUD_LIBRARIES: Final = ("botocore", "boto3", "aiobotocore", "urllib3", "hvac", "google", "azure")

LONGEST = 500
"""Characters of one text."""
_MOST = 100
"""Texts in one list."""
_FRAMES = 30
_ERRORS = 10
_EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}\Z")
_VARIABLE = re.compile(r"""(["'`<]).*?(["'`>]|\Z)|\S{41,}""")
_encode = json_text.JSONEncoder(separators=(",", ":")).encode
_COLOURS = {"debug": 90, "info": 32, "warning": 33, "error": 31, "critical": 35}


def configure(
    program: str,
    json: bool,
    level: str,
    strict: bool = False,
    *,
    colours: bool = False,
    stream: TextIO | None = None,
    timestamper: Step | None = None,
) -> None:
    """Send every line of this process, its libraries' included, to `stream` (standard output unless given).

    `json` when nobody reads it at a terminal, else `colours` unless NO_COLOR is set. `strict` (tests) raises
    TypeError for a line that would lose something. `timestamper` is structlog's with UTC unless given.
    """
    import structlog

    structlog.configure(
        processors=[
            named(program),
            timestamper or structlog.processors.TimeStamper(fmt="iso", utc=True),
            Allowed(strict),
            traced,
            as_json if json else Pretty(colours),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=Sink(stream or sys.stdout),
        # A cached logger would keep the stream of the test before.
        cache_logger_on_first_use=not strict,
    )
    _route(Forwarder())


def silence() -> None:
    """Drop every line: what the client does unless told otherwise."""
    _route(logging.NullHandler())
    if "structlog" in sys.modules:
        import structlog

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"), processors=[_dropped])


def uncaught(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    """For `sys.excepthook`: a crash is one more line, without values."""
    import structlog

    structlog.get_logger().critical("program.crashed", exc_info=error)


def named(program: str) -> Step:
    """Puts level and program first."""

    def name(_logger: Any, method: str, line: Line) -> Line:
        return {
            "timestamp": None,
            "level": method,
            "event": line.pop("event", None),
            "program": program,
            **line,
        }

    return name


def traced(_logger: Any, _method: str, line: Line) -> Line:
    """Replaces `exc_info` by `exception`, a list of texts; after `Allowed`, so that nobody else gives it."""
    error = line.pop("exc_info", None)
    if isinstance(error, tuple) and len(error) == 3:
        error = error[1]
    elif error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        line["exception"] = [text[:LONGEST] for text in traceback_lines(error)][:_MOST]
    return line


def traceback_lines(error: BaseException) -> Iterator[str]:
    """What was raised and where, then the errors behind it: no locals, no source, no foreign text."""
    chain: list[tuple[str, BaseException]] = [("", error)]
    seen: set[int] = set()
    while chain and len(seen) < _ERRORS:
        how, error = chain.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield how + _described(error)
        frames = [
            f"  {frame.f_globals.get('__name__')}:{number} in {frame.f_code.co_name}"
            for frame, number in walk_tb(error.__traceback__)
        ]
        yield from frames[-_FRAMES:]
        if isinstance(error, BaseExceptionGroup):
            chain += [("in a group: ", inner) for inner in error.exceptions]
        if error.__cause__ is not None:
            chain.append(("caused by: ", error.__cause__))
        elif error.__context__ is not None and not error.__suppress_context__:
            chain.append(("while handling: ", error.__context__))


def _described(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    match error:
        case PrivySealError():
            return f"{name}: {error.code}: {error.detail}"
        case OSError(errno=int(number)) if number in errorcode:
            return f"{name}: {errorcode[number]}"
    return name


class Allowed:
    """Leaves what a line may carry, names the rest in `dropped`; a strict one raises TypeError instead."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict

    def __call__(self, _logger: Any, _method: str, line: Line) -> Line:
        allowed: Line = {
            key: value for key, value in line.items() if key == "exc_info" or (key in KEYS and _is_plain(key, value))
        }
        if len(allowed) == len(line):
            return allowed
        # Key names come from code, but a mapping may have been spread into the call.
        dropped = sorted(key if _WORD.match(key) else "(no name)" for key in line.keys() - allowed.keys())
        if self._strict:
            raise TypeError("a log line may not carry, at least not with this type: " + ", ".join(dropped))
        allowed.setdefault("event", "log.malformed")
        allowed["dropped"] = dropped
        return allowed


def _is_plain(key: str, value: object) -> bool:
    # Exact types: a subclass may print itself in its own way.
    if type(value) is str:
        pattern = _EVENT if key == "event" else _WORD if key in WORDS else None
        return len(value) <= LONGEST and (pattern is None or pattern.match(value) is not None)
    if key == "event":
        return False
    if type(value) is int:
        return abs(value) < 2**63
    if type(value) is float:
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        fitting = len(value) <= _MOST and all(type(text) is str and len(text) <= LONGEST for text in value)
        return fitting and type(value) in {list, tuple}
    return value is None or type(value) is bool


def as_json(_logger: Any, _method: str, line: Line) -> str:
    """One line of ASCII JSON."""
    return _encode(line)


class Pretty:
    """One line for people; control characters are escaped, so that no text moves the cursor."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: Any, _method: str, line: Line) -> str:
        rest = dict(line)
        timestamp, level, event = (str(rest.pop(key, "")) for key in ("timestamp", "level", "event"))
        rest.pop("program", None)
        exception = rest.pop("exception", None) or []
        shown = f"{_quoted(level) if level else level:<8}"
        if self._colours:
            shown = f"\x1b[{_COLOURS.get(level, 0)}m{shown}\x1b[0m"
        pairs = " ".join(f"{key}={_quoted(value)}" for key, value in rest.items())
        traceback = "".join(f"\n    {_quoted(text)[1:-1]}" for text in exception)
        return f"{_quoted(timestamp)} {shown} {event} {pairs}".rstrip() + traceback


def _quoted(value: object) -> str:
    text = json_text.dumps(value)
    return text[1:-1] if isinstance(value, str) and re.fullmatch(r"[!#-\[\]-~]+", value) else text


class Sink:
    """Where lines go; its own factory. A full disk or a closed pipe must not stop a task."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *_: Any) -> Sink:
        return self

    def write(self, text: str) -> None:
        """Write one line, or lose it."""
        with suppress(OSError, ValueError):
            # One write: two threads' lines don't mix.
            self._stream.write(text + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


class Forwarder(logging.Handler):
    """Libraries' records as our lines: a message's template without arguments, which may be values."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record; an unfit one is named and no more."""
        import structlog

        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        template = record.msg.partition("\n")[0] if isinstance(record.msg, str) else type(record.msg).__name__
        structlog.get_logger().log(
            level,
            "library.logged",
            origin=record.name[:LONGEST],
            reason=_VARIABLE.sub("...", template)[:LONGEST],
            exc_info=record.exc_info,
        )


def _route(handler: logging.Handler) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (*LIBRARIES, *CLOUD_LIBRARIES):
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = True
        library.setLevel(logging.WARNING)


def _dropped(_logger: Any, _method: str, _line: Mapping[str, Any]) -> Line:
    from structlog import DropEvent

    raise DropEvent
