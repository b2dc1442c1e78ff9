"""The codec: every message goes there and back, whole or in chunks; what isn't one is ignored or Malformed."""

from __future__ import annotations

import contextlib
import itertools
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import (
    CHUNK_BYTES,
    LARGEST_BYTES,
    MOST_CHUNKED_AT_ONCE,
    MOST_PARTS,
    DelegateReader,
    ManagerReader,
    delegate_messages,
    manager_messages,
)
from shared.errors import Malformed
from shared.messages import (
    Cancel,
    Challenge,
    Checked,
    Credit,
    Documents,
    Drain,
    FromDelegate,
    FromManager,
    Heartbeat,
    Hello,
    Need,
    NewCertificate,
    Output,
    Probe,
    Progress,
    Result,
    Task,
    Use,
    Welcome,
)
from shared.wire import delegate_pb2 as pb

OF_MANAGER: Sequence[FromManager] = (
    Challenge(b"n" * 32),
    Welcome(2000, 5000, 1_800_000_000),
    Heartbeat(),
    Documents(("one", "two")),
    Documents(()),
    Task("id", 2, "document", (b"input",), (b"", b"record")),
    Task("id", 2, "document", (), (), (b"credential", b"")),
    Task("id", 2, "order", (b"input",), run=2**64 - 1),
    Cancel("id", 2),
    Probe(("digest", "another")),
    Probe(()),
    Drain(),
)
OF_DELEGATE: Sequence[FromDelegate] = (
    Hello("certificate", b"proof", "https://m", "1.0", ("Local", "Vault"), (1, 2), 64),
    Heartbeat(3),
    Heartbeat(1, now=1_790_000_000),
    Heartbeat(0, Use(0, 0, False), None),
    Heartbeat(2, Use(93, 80, True), Use(41, 70, False)),
    Credit(5),
    Result("id", 2, "answer", b"sealed", (b"", b"record")),
    Progress("id", 2, 1, 9),
    Output("id", 2, 0, b"sealed key", "opening"),
    Output("id", 2, 7, b"chunk"),
    Checked("document"),
    Need("id", 2, ("digest",)),
    Drain(),
    NewCertificate("certificate"),
)


WIRES = [wire.SerializeToString() for message in OF_MANAGER for wire in manager_messages(message, 0)]


def tagged(field: int, value: Any) -> bytes:
    """A length-delimited field, so as to write what this version doesn't know."""
    body = bytes(value)
    return bytes([field << 3 | 2, len(body)]) + body


@pytest.mark.parametrize("message", OF_MANAGER, ids=str)
def test_a_manager_s_message_goes_there_and_back(message: FromManager) -> None:
    (wire,) = manager_messages(message, 1)
    assert ManagerReader().read(pb.FromManager.FromString(wire.SerializeToString())) == message


@pytest.mark.parametrize("message", OF_DELEGATE, ids=str)
def test_a_delegate_s_message_goes_there_and_back(message: FromDelegate) -> None:
    (wire,) = delegate_messages(message, 1)
    assert DelegateReader().read(pb.FromDelegate.FromString(wire.SerializeToString())) == message


def test_every_message_is_tried() -> None:
    assert {type(one) for one in OF_MANAGER} == set(FromManager.__args__)
    assert {type(one) for one in OF_DELEGATE} == set(FromDelegate.__args__)


def test_what_is_no_message_is_not_sent() -> None:
    with pytest.raises(AssertionError):
        list(manager_messages(Credit(1), 1))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        list(delegate_messages(Cancel("id", 1), 1))  # type: ignore[arg-type]


def test_unknown_messages_and_fields_are_ignored() -> None:
    for raw in (b"", tagged(12, b"later"), tagged(14, b"")):
        assert ManagerReader().read(pb.FromManager.FromString(raw)) is None
        assert DelegateReader().read(pb.FromDelegate.FromString(raw)) is None
    known = tagged(6, tagged(1, b"id") + tagged(9, b"later"))
    assert ManagerReader().read(pb.FromManager.FromString(known)) == Cancel("id", 0)


@pytest.mark.parametrize("size", [CHUNK_BYTES - 100, CHUNK_BYTES, 3 * CHUNK_BYTES, 10_000_000])
def test_a_long_message_goes_in_chunks_and_is_whole_again(size: int) -> None:
    task, result = Task("id", 1, "document", (bytes(size),)), Result("id", 1, "answer", bytes(size))
    to_delegate, to_manager = list(manager_messages(task, 7)), list(delegate_messages(result, 8))
    for wires in (to_delegate, to_manager):
        assert len(wires) == -(-(size + 60) // CHUNK_BYTES) or len(wires) == 1
        assert all(wire.ByteSize() < CHUNK_BYTES + 100 for wire in wires)
    one, other = ManagerReader(), DelegateReader()
    assert [one.read(wire) for wire in to_delegate] == [None] * (len(to_delegate) - 1) + [task]
    assert [other.read(wire) for wire in to_manager] == [None] * (len(to_manager) - 1) + [result]


def test_long_messages_may_be_interleaved() -> None:
    tasks = [Task(str(n), 1, "document", (bytes(CHUNK_BYTES * 2),)) for n in range(MOST_CHUNKED_AT_ONCE)]
    streams = [list(manager_messages(task, n)) for n, task in enumerate(tasks)]
    reader = ManagerReader()
    read = [reader.read(wire) for round_ in itertools.zip_longest(*streams) for wire in round_ if wire]
    assert [one for one in read if one] == tasks


def chunk(stream: int, index: int, data: bytes, last: bool = False) -> pb.FromManager:
    """One chunk to a delegate."""
    return pb.FromManager(chunk=pb.Chunk(stream=stream, index=index, last=last, data=data))


@pytest.mark.parametrize(
    "wires",
    [
        [chunk(1, 1, b"a")],
        [chunk(1, 0, b"a"), chunk(1, 2, b"a")],
        [chunk(1, 0, b"a"), chunk(1, 0, b"a")],
        [chunk(1, 0, b"")],
        [chunk(1, 0, b"a"), chunk(1, 1, b"")],
        [chunk(1, 0, b"\xff\xff", last=True)],
        [chunk(1, 0, chunk(1, 0, b"a", last=True).SerializeToString(), last=True)],
        [chunk(stream, 0, b"a") for stream in range(MOST_CHUNKED_AT_ONCE + 1)],
    ],
    ids=["a middle", "a gap", "a beginning twice", "nothing", "nothing more", "no message", "a chunk", "too many"],
)
def test_chunks_that_make_no_message_are_malformed(wires: list[pb.FromManager]) -> None:
    reader = ManagerReader()
    for wire in wires[:-1]:
        assert reader.read(wire) is None
    with pytest.raises(Malformed) as caught:
        reader.read(wires[-1])
    assert caught.value.code == "message_malformed"


def test_a_delegate_s_chunks_make_a_message_or_are_malformed_too() -> None:
    for inner in (b"\xff\xff", pb.FromDelegate(chunk=pb.Chunk(data=b"a", last=True)).SerializeToString()):
        with pytest.raises(Malformed):
            DelegateReader().read(pb.FromDelegate(chunk=pb.Chunk(data=inner, last=True)))


def test_an_unknown_message_in_chunks_is_ignored() -> None:
    assert ManagerReader().read(chunk(1, 0, tagged(12, b"later"), last=True)) is None


def test_a_stream_holds_no_more_than_the_largest_message() -> None:
    reader, mebibyte = ManagerReader(), bytes(2**20)
    for index in range(LARGEST_BYTES // 2**20):
        assert reader.read(chunk(index % 2, index // 2, mebibyte)) is None
    with pytest.raises(Malformed):
        reader.read(chunk(2, 0, b"a"))


def test_tiny_chunks_take_no_more_memory_than_their_bytes() -> None:
    reader, count = ManagerReader(), 100_000
    wire = chunk(1, 0, b"a")
    tracemalloc.start()
    try:
        for index in range(count):
            wire.chunk.index = index
            reader.read(wire)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * count


def test_room_is_free_again_after_a_message() -> None:
    reader = ManagerReader()
    task = Task("id", 1, "document", (bytes(LARGEST_BYTES // 3),))
    for stream in range(6):
        assert [one for one in map(reader.read, manager_messages(task, stream)) if one] == [task]


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_protobuf_is_a_message_nothing_or_malformed(raws: list[bytes]) -> None:
    to_delegate, to_manager = ManagerReader(), DelegateReader()
    for raw in raws:
        try:
            one, other = pb.FromManager.FromString(raw), pb.FromDelegate.FromString(raw)
        except DecodeError:
            continue
        with contextlib.suppress(Malformed):
            assert isinstance(to_delegate.read(one), FromManager | None)
        with contextlib.suppress(Malformed):
            assert isinstance(to_manager.read(other), FromDelegate | None)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 3),
            st.booleans(),
            st.binary(max_size=4) | st.sampled_from(WIRES),
        ),
        max_size=12,
    )
)
@settings(max_examples=200)
def test_any_chunks_are_messages_or_malformed(chunks: list[tuple[int, int, bool, bytes]]) -> None:
    reader = ManagerReader()
    for stream, index, last, data in chunks:
        try:
            message = reader.read(chunk(stream, index, data, last))
        except Malformed:
            return
        assert message is None or last


@pytest.mark.parametrize("field", ["documents", "inputs", "stored", "credentials"])
def test_a_message_of_endless_tiny_parts_is_malformed(field: str) -> None:
    parts = [b""] * (MOST_PARTS + 1)
    texts = [""] * (MOST_PARTS + 1)
    task = pb.Task(id="a", **{} if field == "documents" else {field: parts})  # type: ignore[arg-type]
    wire = pb.FromManager(documents=pb.Documents(compact=texts)) if field == "documents" else pb.FromManager(task=task)
    with pytest.raises(Malformed):
        ManagerReader().read(wire)


def test_a_task_says_which_trace_it_belongs_to() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    (wire,) = manager_messages(Task("id", 1, "document", traceparent=parent), 1)
    read = ManagerReader().read(wire)
    assert isinstance(read, Task)
    assert read.traceparent == parent
