"""Plaintext: a value leaves through `reveal()` and nowhere else."""

from __future__ import annotations

import collections
import copy
import dataclasses
import io
import json
import logging
import pickle
import sys
import traceback
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto.plaintext import BLOCK_BYTES, Plaintext
from shared.errors import Malformed

CANARY = b"zq-canary-7f3"


@dataclasses.dataclass
class Holder:
    """Something that holds a value."""

    value: Plaintext


EXITS: dict[str, Callable[[Plaintext], object]] = {
    "str": str,
    "format": format,
    "an f-string": lambda value: f"{value}",
    "an f-string with a width": lambda value: f"{value:>40}",
    "percent": lambda value: "%s" % value,  # noqa: UP031
    "str.format": "{}".format,
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,  # type: ignore[dict-item]
    "iter": iter,
    "list": list,
    "unpacking": lambda value: [*value],
    "in": lambda value: b"z" in value,  # type: ignore[operator]
    "an index": lambda value: value[0],  # type: ignore[index]
    "join": lambda value: b"".join([value]),  # type: ignore[list-item]
    "addition": lambda value: b"" + value,  # type: ignore[operator]
    "int": int,  # type: ignore[dict-item]
    "hash": hash,
    "pickle": pickle.dumps,
    "pickle, the oldest protocol": lambda value: pickle.dumps(value, 0),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a holder": lambda value: copy.deepcopy(Holder(value)),
    "dataclasses.asdict": lambda value: dataclasses.asdict(Holder(value)),
    "json": json.dumps,
    "msgspec json": msgspec.json.encode,
    "msgspec msgpack": msgspec.msgpack.encode,
    "msgspec to_builtins": msgspec.to_builtins,
    "msgspec json of a holder": lambda value: msgspec.json.encode(Holder(value)),
    "vars": vars,
    "io": lambda value: io.BytesIO().write(value),  # type: ignore[arg-type]
    "print": lambda value: print(value, file=io.StringIO()),
}


@pytest.mark.parametrize("leave", EXITS.values(), ids=EXITS)
def test_a_plaintext_refuses_to_leave(leave: Callable[[Plaintext], object]) -> None:
    with pytest.raises(TypeError) as caught:
        leave(Plaintext(CANARY))
    assert CANARY.decode() not in str(caught.value)


def test_what_shows_of_a_plaintext_is_that_it_is_one() -> None:
    value = Plaintext(CANARY)
    shown = [repr(value), f"{value!r}", f"{value!a}", str([value]), str({"a": value}), repr(Holder(value))]
    assert all("Plaintext(***)" in text and CANARY.decode() not in text for text in shown)
    assert not hasattr(value, "__dict__")


def test_a_plaintext_does_not_leave_in_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("of a test")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(stream))
    logger.warning("%s", Plaintext(CANARY))
    logger.warning("%r", Plaintext(CANARY))
    logger.warning(Plaintext(CANARY))
    assert CANARY.decode() not in stream.getvalue() + "".join(capsys.readouterr())


def test_a_plaintext_does_not_leave_in_a_traceback_with_locals() -> None:
    def fail(value: Plaintext) -> None:
        raise RuntimeError(len(value))

    try:
        fail(Plaintext(CANARY))
    except RuntimeError:
        error = traceback.TracebackException(*sys.exc_info(), capture_locals=True)
    text = "".join(error.format())
    assert "value = Plaintext(***)" in text and CANARY.decode() not in text


def test_reveal_is_the_way_out_and_len_is_all_else_that_is_told() -> None:
    value = Plaintext(CANARY)
    assert value.reveal() == CANARY
    assert len(value) == len(CANARY)
    assert not isinstance(value, collections.abc.Hashable)


def test_plaintexts_are_equal_by_value_and_to_nothing_else() -> None:
    assert Plaintext(b"a") == Plaintext(b"a")
    assert Plaintext(b"a") != Plaintext(b"b")
    assert Plaintext(b"a") != Plaintext(b"ab")
    assert Plaintext(b"a") != b"a"


@given(st.binary(max_size=600))
def test_padding_goes_there_and_back_and_hides_short_lengths(value: bytes) -> None:
    padded = Plaintext(value).padded()
    assert padded.unpadded().reveal() == value
    assert len(padded) == -(-(len(value) + 4) // BLOCK_BYTES) * BLOCK_BYTES


@given(st.binary(max_size=300) | st.binary(max_size=20).map(lambda value: Plaintext(value).padded().reveal()))
def test_any_bytes_are_padded_or_malformed(raw: bytes) -> None:
    try:
        value = Plaintext(raw).unpadded()
    except Malformed as why:
        assert why.code == "padding_malformed"
        return
    assert value.padded().reveal() == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\0\0",
        b"\0\0\0\1" + b"a" + b"\1" * 251,
        b"\0\0\0\0" + bytes(508),
        b"\0\0\1\0" + bytes(252),
        b"\xff\xff\xff\xff" + bytes(252),
    ],
)
def test_another_form_of_padding_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Plaintext(raw).unpadded()
