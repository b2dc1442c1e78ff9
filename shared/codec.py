"""Messages of the stream as protobuf, and long ones in chunks. Protobuf types end here.

A message that isn't known is ignored (None), so that either side may be one version older. Limits are checked before
anything is kept: what a peer can make us hold is `LARGEST_BYTES` a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, assert_never

from google.protobuf.message import DecodeError

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

T = TypeVar("T")

W = TypeVar("W", pb.FromManager, pb.FromDelegate)

CHUNK_BYTES = 256 * 1024
LARGEST_BYTES = 40 * 1024 * 1024
"""A message with its chunks: a value of 10 MB with room for a batch of them."""

MOST_CHUNKED_AT_ONCE = 8
MOST_PARTS = 10_000
"""Members of one list of a message: tiny ones would take many times their bytes once they are texts of their own."""


def manager_messages(message: FromManager, stream: int) -> Iterator[pb.FromManager]:
    """One message as it goes on the wire; `stream` is a number of its own for each long message."""
    whole = pb.FromManager()
    match message:
        case Challenge():
            whole.challenge.nonce = message.nonce
        case Welcome():
            whole.welcome.heartbeat_ms = message.heartbeat_ms
            whole.welcome.silence_ms = message.silence_ms
            whole.welcome.now = message.now
        case Heartbeat():
            _write_heartbeat(whole.heartbeat, message)
        case Documents():
            whole.documents.compact.extend(message.compact)
        case Task():
            task = whole.task
            task.id, task.attempt, task.document = message.id, message.attempt, message.document
            task.inputs.extend(message.inputs)
            task.stored.extend(message.stored)
            task.credentials.extend(message.credentials)
            task.traceparent, task.run = message.traceparent, message.run
        case Cancel():
            whole.cancel.id, whole.cancel.attempt = message.id, message.attempt
        case Probe():
            # One that asks for nothing is a member that is there all the same.
            whole.probe.SetInParent()
            whole.probe.connectors.extend(message.connectors)
        case Drain():
            whole.drain.SetInParent()
        case _:
            assert_never(message)
    if whole.ByteSize() <= CHUNK_BYTES:
        yield whole
    else:
        for chunk in _chunks(whole.SerializeToString(), stream):
            yield pb.FromManager(chunk=chunk)


def delegate_messages(message: FromDelegate, stream: int) -> Iterator[pb.FromDelegate]:
    """One message as it goes on the wire; `stream` is a number of its own for each long message."""
    whole = pb.FromDelegate()
    match message:
        case Hello():
            hello = whole.hello
            hello.certificate, hello.proof, hello.origin = message.certificate, message.proof, message.origin
            hello.version, hello.capacity = message.version, message.capacity
            hello.kinds.extend(message.kinds)
            hello.generations.extend(message.generations)
        case Heartbeat():
            _write_heartbeat(whole.heartbeat, message)
        case Credit():
            whole.credit.tasks = message.tasks
        case Result():
            result = whole.result
            result.id, result.attempt, result.answer = message.id, message.attempt, message.answer
            result.sealed = message.sealed
            result.stored.extend(message.stored)
        case Progress():
            progress = whole.progress
            progress.id, progress.attempt = message.id, message.attempt
            progress.done, progress.total = message.done, message.total
        case Output():
            output = whole.output
            output.id, output.attempt, output.index = message.id, message.attempt, message.index
            output.data, output.opening = message.data, message.opening
        case Checked():
            whole.checked.document = message.document
        case Need():
            whole.need.id, whole.need.attempt = message.id, message.attempt
            whole.need.digests.extend(message.digests)
        case Drain():
            whole.drain.SetInParent()
        case NewCertificate():
            whole.certificate.certificate = message.certificate
        case _:
            assert_never(message)
    if whole.ByteSize() <= CHUNK_BYTES:
        yield whole
    else:
        for chunk in _chunks(whole.SerializeToString(), stream):
            yield pb.FromDelegate(chunk=chunk)


def _write_heartbeat(wire: pb.Heartbeat, message: Heartbeat) -> None:
    # An empty one is a member that is there all the same.
    wire.SetInParent()
    wire.executing, wire.now = message.executing, message.now
    for use, member in ((message.cpu, wire.cpu), (message.memory, wire.memory)):
        if use is not None:
            member.SetInParent()
            member.percent, member.limit_percent, member.over = use.percent, use.limit_percent, use.over


def _heartbeat(wire: pb.Heartbeat) -> Heartbeat:
    return Heartbeat(
        wire.executing,
        _use(wire.cpu) if wire.HasField("cpu") else None,
        _use(wire.memory) if wire.HasField("memory") else None,
        wire.now,
    )


def _use(wire: pb.Use) -> Use:
    return Use(wire.percent, wire.limit_percent, wire.over)


def _chunks(data: bytes, stream: int) -> Iterator[pb.Chunk]:
    for index, at in enumerate(range(0, len(data), CHUNK_BYTES)):
        yield pb.Chunk(stream=stream, index=index, last=at + CHUNK_BYTES >= len(data), data=data[at : at + CHUNK_BYTES])


class ManagerReader:
    """Turns what arrives from the manager into messages."""

    def __init__(self) -> None:
        self._assembly = _Assembly()

    def read(self, wire: pb.FromManager) -> FromManager | None:
        """The message, or None for a part of one or an unknown one. Raises Malformed."""
        match wire.WhichOneof("message"):
            case "chunk":
                data = self._assembly.add(wire.chunk)
                return None if data is None else self.read(_whole(pb.FromManager, data))
            case "challenge":
                return Challenge(wire.challenge.nonce)
            case "welcome":
                return Welcome(wire.welcome.heartbeat_ms, wire.welcome.silence_ms, wire.welcome.now)
            case "heartbeat":
                return _heartbeat(wire.heartbeat)
            case "documents":
                return Documents(_parts(wire.documents.compact))
            case "task":
                task = wire.task
                return Task(
                    task.id,
                    task.attempt,
                    task.document,
                    _parts(task.inputs),
                    _parts(task.stored),
                    _parts(task.credentials),
                    task.traceparent,
                    task.run,
                )
            case "cancel":
                return Cancel(wire.cancel.id, wire.cancel.attempt)
            case "probe":
                return Probe(_parts(wire.probe.connectors))
            case "drain":
                return Drain()
        return None


class DelegateReader:
    """Turns what arrives from a delegate into messages."""

    def __init__(self) -> None:
        self._assembly = _Assembly()

    def read(self, wire: pb.FromDelegate) -> FromDelegate | None:
        """The message, or None for a part of one or an unknown one. Raises Malformed."""
        match wire.WhichOneof("message"):
            case "chunk":
                data = self._assembly.add(wire.chunk)
                return None if data is None else self.read(_whole(pb.FromDelegate, data))
            case "hello":
                hello = wire.hello
                return Hello(
                    hello.certificate,
                    hello.proof,
                    hello.origin,
                    hello.version,
                    _parts(hello.kinds),
                    _parts(hello.generations),
                    hello.capacity,
                )
            case "heartbeat":
                return _heartbeat(wire.heartbeat)
            case "credit":
                return Credit(wire.credit.tasks)
            case "result":
                result = wire.result
                return Result(result.id, result.attempt, result.answer, result.sealed, _parts(result.stored))
            case "progress":
                progress = wire.progress
                return Progress(progress.id, progress.attempt, progress.done, progress.total)
            case "output":
                output = wire.output
                return Output(output.id, output.attempt, output.index, output.data, output.opening)
            case "checked":
                return Checked(wire.checked.document)
            case "need":
                return Need(wire.need.id, wire.need.attempt, _parts(wire.need.digests))
            case "drain":
                return Drain()
            case "certificate":
                return NewCertificate(wire.certificate.certificate)
        return None


def _whole(cls: type[W], data: bytes) -> W:
    """The message that chunks carried; one that is a chunk itself could be nested without end."""
    try:
        whole = cls.FromString(data)
    except DecodeError:
        raise _malformed() from None
    if whole.WhichOneof("message") == "chunk":
        raise _malformed()
    return whole


class _Assembly:
    """Chunked messages that haven't arrived whole."""

    def __init__(self) -> None:
        self._messages: dict[int, tuple[int, bytearray]] = {}
        self._bytes = 0

    def add(self, chunk: pb.Chunk) -> bytes | None:
        """The whole message with its last chunk. In one buffer each: a list of tiny parts would take many times more."""
        index, data = self._messages.get(chunk.stream, (0, bytearray()))
        if not index and len(self._messages) >= MOST_CHUNKED_AT_ONCE:
            raise _malformed()
        if chunk.index != index or self._bytes + len(chunk.data) > LARGEST_BYTES or not chunk.data:
            raise _malformed()
        self._bytes += len(chunk.data)
        data += chunk.data
        self._messages[chunk.stream] = index + 1, data
        if not chunk.last:
            return None
        del self._messages[chunk.stream]
        self._bytes -= len(data)
        return bytes(data)


def _parts(members: Sequence[T]) -> tuple[T, ...]:
    if len(members) > MOST_PARTS:
        raise _malformed()
    return tuple(members)


def _malformed() -> Malformed:
    return Malformed("message_malformed", "a message on the stream is malformed or too long")
