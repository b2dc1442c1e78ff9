"""Log lines: what they may carry, that nothing else gets out, and that writing one never fails."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared import logs
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied

CANARY = "zq-canary-7f3"
Read = Callable[[], list[dict[str, Any]]]


class Text(str):
    """A str that prints itself in its own way."""

    __slots__ = ()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def stamped(_logger: Any, _method: str, line: Any) -> Any:
    line["timestamp"] = "2026-11-21T09:00:00Z"
    return line


def reader(stream: io.StringIO) -> Read:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Read:
    stream = io.StringIO()
    logs.configure("privyseal-manager", json=True, level="info", stream=stream, timestamper=stamped)
    return reader(stream)


@pytest.fixture
def strict() -> Read:
    stream = io.StringIO()
    logs.configure("privyseal-manager", json=True, level="debug", strict=True, stream=stream)
    return reader(stream)


def raising() -> None:
    local = CANARY
    raise ValueError(f"can't use {local}")


def test_a_line_carries_what_is_allowed(lines: Read) -> None:
    structlog.get_logger().info("task.finished", op="reveal", count=2, seconds=0.5, selectors=("a", "b"), hint=None)
    assert lines() == [
        {
            "timestamp": "2026-11-21T09:00:00Z",
            "level": "info",
            "event": "task.finished",
            "program": "privyseal-manager",
            "op": "reveal",
            "count": 2,
            "seconds": 0.5,
            "selectors": ["a", "b"],
            "hint": None,
        }
    ]


def test_the_timestamp_is_utc_unless_given(strict: Read) -> None:
    structlog.get_logger().debug("task.started")
    assert strict()[0]["timestamp"].endswith("Z")


def test_a_line_below_the_level_is_not_written(lines: Read) -> None:
    structlog.get_logger().debug("task.started")
    assert lines() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("value", CANARY),
        ("exception", CANARY),
        ("dropped", CANARY),
        ("reason", Plaintext(CANARY.encode())),
        ("reason", CANARY.encode()),
        ("reason", bytearray(CANARY.encode())),
        ("reason", Text(CANARY)),
        ("reason", CANARY * 50),
        ("reason", {"inner": CANARY}),
        ("reason", [CANARY, 1]),
        ("reason", [CANARY * 50]),
        ("reason", (CANARY,) * 101),
        ("reason", ValueError(CANARY)),
        ("count", float("nan")),
        ("count", 2**63),
        ("code", f"not a word {CANARY}"),
        ("error", f"ValueError('{CANARY}')"),
        (f"key {CANARY}", 1),
    ],
)
def test_anything_else_is_left_out_and_named(lines: Read, key: str, value: object) -> None:
    structlog.get_logger().info("task.finished", **{key: value, "op": "reveal"})
    (line,) = lines()
    assert line["dropped"] == [key if key.isidentifier() else "(no name)"]
    assert line["op"] == "reveal"
    assert CANARY not in json.dumps(line)


@pytest.mark.parametrize("event", [CANARY, f"secret.was {CANARY}", None, Plaintext(CANARY.encode()), 3])
def test_an_event_is_a_literal_noun_and_verb(lines: Read, event: Any) -> None:
    structlog.get_logger().info(event)
    (line,) = lines()
    assert (line["event"], line["dropped"]) == ("log.malformed", ["event"])


def test_a_strict_log_raises_instead(strict: Read) -> None:
    with pytest.raises(TypeError, match="value"):
        structlog.get_logger().info("task.finished", value=CANARY)
    with pytest.raises(TypeError, match="event"):
        structlog.get_logger().info(CANARY)
    structlog.get_logger().info("task.finished", origin="link", error_type="ValueError")
    assert len(strict()) == 1


def test_a_traceback_has_neither_locals_nor_the_text_of_a_foreign_error(lines: Read) -> None:
    try:
        raising()
    except ValueError:
        structlog.get_logger().exception("task.failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert line["exception"][0] == "ValueError"
    assert line["exception"][-1].endswith("in raising")
    assert CANARY not in json.dumps(line)


def test_a_traceback_tells_our_own_errors_and_the_system_s(lines: Read) -> None:
    log = structlog.get_logger()
    log.info("task.failed", exc_info=Denied("local_policy", "the op is not allowed"))
    log.info("task.failed", exc_info=FileNotFoundError(2, CANARY, CANARY))
    log.info("task.failed", exc_info=OSError(CANARY))
    assert [line["exception"] for line in lines()] == [
        ["shared.errors.Denied: local_policy: the op is not allowed"],
        ["FileNotFoundError: ENOENT"],
        ["OSError"],
    ]


def test_a_traceback_follows_causes_contexts_and_groups_once_each(lines: Read) -> None:
    cause, context = KeyError(CANARY), Conflict("stale", "it changed")
    one, other = ValueError(CANARY), TypeError(CANARY)
    one.__cause__, other.__context__ = cause, context
    cause.__cause__ = one
    structlog.get_logger().error("task.failed", exc_info=ExceptionGroup(CANARY, [one, other]))
    assert lines()[0]["exception"] == [
        "ExceptionGroup",
        "in a group: ValueError",
        "in a group: TypeError",
        "caused by: KeyError",
        "while handling: shared.errors.Conflict: stale: it changed",
    ]


def test_a_suppressed_context_is_not_followed_and_a_long_chain_ends(lines: Read) -> None:
    hidden = ValueError()
    hidden.__context__, hidden.__suppress_context__ = TypeError(), True
    structlog.get_logger().error("task.failed", exc_info=hidden)
    structlog.get_logger().error("task.failed", exc_info=ExceptionGroup("", [ValueError() for _ in range(50)]))
    assert [len(line["exception"]) for line in lines()] == [1, 10]


def test_what_is_no_error_makes_no_traceback(lines: Read) -> None:
    structlog.get_logger().info("task.failed", exc_info=CANARY)
    structlog.get_logger().info("task.failed", exc_info=(None, None, None))
    structlog.get_logger().info("task.failed", exc_info=True)
    assert not any("exception" in line or CANARY in json.dumps(line) for line in lines())


def test_a_crash_is_one_line_without_values(lines: Read) -> None:
    try:
        raising()
    except ValueError as error:
        logs.uncaught(type(error), error, error.__traceback__)
    (line,) = lines()
    assert (line["event"], line["level"]) == ("program.crashed", "critical")
    assert CANARY not in json.dumps(line)


@pytest.mark.parametrize("name", [*logs.LIBRARIES, *logs.CLOUD_LIBRARIES, "something.else"])
def test_a_librarys_records_are_ours_from_warning_up(lines: Read, name: str) -> None:
    library = logging.getLogger(name)
    library.info("chatty")
    library.warning("Retrying (%r) after '%s'", CANARY, CANARY)
    (line,) = lines()
    assert (line["event"], line["origin"], line["level"]) == ("library.logged", name, "warning")
    assert line["reason"] == "Retrying (%r) after ..."


def test_a_librarys_message_is_cut_where_a_value_may_stand(lines: Read) -> None:
    library = logging.getLogger("hvac")
    library.error(f"bad value '{CANARY}' in <{CANARY}>\nmore: {CANARY}")
    library.error("token " + CANARY * 4)
    library.error(ValueError(CANARY))
    library.error("'' " * 300)
    library.log(35, "odd level")
    library.log(99, "odder level")
    found = lines()
    assert [line["reason"] for line in found[:3]] == ["bad value ... in ...", "token ...", "ValueError"]
    assert [line["level"] for line in found[3:]] == ["error", "warning", "critical"]
    assert CANARY not in json.dumps(found)


def test_a_lost_asyncio_task_is_told_without_its_values(lines: Read) -> None:
    async def lose() -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Task exception was never retrieved", "exception": ValueError(CANARY), "task": CANARY}
        )

    asyncio.run(lose())
    (line,) = lines()
    assert line["reason"] == "Task exception was never retrieved"
    assert line["exception"] == ["ValueError"]
    assert CANARY not in json.dumps(line)


def test_a_pretty_line_is_for_people_and_cannot_move_their_cursor() -> None:
    stream = io.StringIO()
    logs.configure("p", json=False, level="info", stream=stream, timestamper=stamped)
    log = structlog.get_logger()
    log.warning("link.lost", reason="two words", host="x", origin="\x1b[2J\n", count=3)
    log.info("link.up", exc_info=Denied("no", "tab\there"))
    assert stream.getvalue().splitlines() == [
        '2026-11-21T09:00:00Z warning  link.lost reason="two words" origin="\\u001b[2J\\n" count=3 dropped=["host"]',
        "2026-11-21T09:00:00Z info     link.up",
        "    shared.errors.Denied: no: tab\\there",
    ]


def test_colours_are_only_there_when_asked_for() -> None:
    stream = io.StringIO()
    logs.configure("p", json=False, level="info", colours=True, stream=stream, timestamper=stamped)
    structlog.get_logger().error("link.lost")
    assert "\x1b[31merror   \x1b[0m link.lost" in stream.getvalue()


def test_a_line_that_cannot_be_written_disturbs_nobody() -> None:
    stream = io.StringIO()
    logs.configure("p", json=True, level="info", stream=stream)
    stream.close()
    structlog.get_logger().info("task.finished")


def test_lines_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("p", json=True, level="info", strict=True)
    structlog.get_logger().info("task.finished")
    assert '"event":"task.finished"' in capsys.readouterr().out


def test_a_silenced_program_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    logs.silence()
    logging.getLogger("aiohttp").error("unclosed")
    structlog.get_logger().critical("task.failed")
    assert capfd.readouterr() == ("", "")


def test_a_silenced_program_does_not_pay_for_structlog() -> None:
    source = (
        "import logging, sys\n"
        "from shared import logs\n"
        "logs.silence()\n"
        "logging.getLogger('aiohttp').error('unclosed')\n"
        "assert 'structlog' not in sys.modules\n"
    )
    root = Path(logs.__file__).parent.parent
    ended = subprocess.run([sys.executable, "-c", source], cwd=root, capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (b"", b"")


def test_silencing_before_structlog_is_there_touches_only_the_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "structlog")
    logs.silence()
    assert "structlog" not in sys.modules


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    st.lists,
)


@given(st.dictionaries(st.sampled_from(sorted(logs.KEYS)) | st.text(max_size=8), _values), st.booleans())
def test_any_line_is_one_line(given_line: dict[str, Any], pretty: bool) -> None:
    line = logs.traced(None, "info", logs.Allowed(strict=False)(None, "info", dict(given_line)))
    text = logs.Pretty(colours=False)(None, "info", line) if pretty else logs.as_json(None, "info", line)
    assert text.isascii()
    assert len(text.splitlines()) <= 1
