"""A command goes there and back, and what would choose another program than it names is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import encode
from shared.command import LONGEST_BYTES, Command, Finished, finished_from, pack, unpack
from shared.errors import Malformed


def test_a_command_goes_there_and_back() -> None:
    command = Command(
        argv=("deploy", "--now", ""), names=("DB_PASSWORD",), env={"STAGE": "pr\u00f6d"}, directory="/srv"
    )
    assert pack(command) == (
        b'{"argv":["deploy","--now",""],"directory":"/srv","env":{"STAGE":"pr\xc3\xb6d"},"names":["DB_PASSWORD"]}'
    )
    assert unpack(pack(command)) == command


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "PATH", "BASH_ENV", "PYTHONPATH", "GIT_SSH", "NODE_OPTIONS", "PRIVYSEAL_KEYRING", "HOME", "TMPDIR"],
)
def test_variables_that_decide_how_programs_start_are_refused(name: str) -> None:
    for command in (Command(argv=("a",), names=(name,)), Command(argv=("a",), env={name: "x"})):
        with pytest.raises(Malformed, match=f"sets the variable {name}"):
            pack(command)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (Command(argv=("a",), names=("1A",)), "malformed"),
        (Command(argv=("a",), names=("A\n",)), "malformed"),
        (Command(argv=("a",), env={"A=B": ""}), "malformed"),
        (Command(argv=("a",), names=("A", "A")), "twice"),
        (Command(argv=("a",), names=("A",), env={"A": ""}), "twice"),
        (Command(argv=("",)), "no program"),
        (Command(argv=("a", "b\0c")), "null character"),
        (Command(argv=("a",), env={"A": "\0"}), "null character"),
        (Command(argv=("a",), directory="srv"), "absolute"),
        (Command(argv=("a", "b" * LONGEST_BYTES)), "128 KiB"),
    ],
)
def test_a_command_that_cannot_be_started_as_it_is_meant_is_refused(command: Command, what: str) -> None:
    with pytest.raises(Malformed, match=what) as why:
        pack(command)
    assert why.value.code == "command_malformed"


def test_an_opened_command_is_held_to_the_same_rules() -> None:
    with pytest.raises(Malformed, match="LD_PRELOAD"):
        unpack(b'{"argv":["a"],"names":["LD_PRELOAD"]}')


@given(st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(raw: bytes) -> None:
    try:
        command = unpack(raw)
    except Malformed:
        return
    assert pack(command) == raw


def test_how_a_command_ended_goes_there_and_back() -> None:
    finished = Finished(exit=None, signal=9, chunks=4, truncated=True, reason="timed_out")
    raw = b'{"chunks":4,"exit":null,"reason":"timed_out","signal":9,"truncated":true}'
    assert encode(finished) == raw
    assert finished_from(raw) == finished
    for bad in (b"", b"{}", raw + b" ", raw.replace(b"timed_out", b"tired")):
        with pytest.raises(Malformed):
            finished_from(bad)
