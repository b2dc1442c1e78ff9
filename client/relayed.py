"""What tasks, orders and their runs look like on the way to the manager and back: protobuf types stop here.

Nothing of it is believed for standing here: what a delegate signed is verified where it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from client.outcomes import Outcome
from client.transport import PROTOBUF, Reply
from shared.errors import Unavailable
from shared.wire import submission_pb2 as pb


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a command's output, as the manager relays it; the first has the delegate's `opening`."""

    index: int
    data: bytes
    opening: str


def submission(compact: str, inputs: Sequence[bytes], documents: Sequence[str] = ()) -> bytes:
    """The body that brings a task or an order with its sealed inputs, and the documents that it needs besides."""
    return pb.Submission(document=compact, inputs=inputs, documents=documents).SerializeToString()


def outcome_of(reply: Reply) -> Outcome:
    """The outcome of a task or a run. Raises Unavailable."""
    try:
        told = pb.Outcome.FromString(reply.body)
    except DecodeError:
        raise _faulty("outcome") from None
    if PROTOBUF not in reply.headers.get("Content-Type", ""):
        raise _faulty("outcome")
    state = told.state or ("done" if told.answer else "queued")
    return Outcome(told.task, state, told.code, told.answer, told.certificate, told.sealed)


def output_of(reply: Reply) -> tuple[list[Part], bool]:
    """The parts of a command's output that a page has, and whether no more will come. Raises Unavailable."""
    try:
        page = pb.OutputPage.FromString(reply.body)
    except DecodeError:
        raise _faulty("page of output") from None
    return [Part(one.index, one.data, one.opening) for one in page.chunks], page.over


def reason_of(code: str) -> str:
    """A code that nobody but the manager tells, to be part of a message: `failed` for what is none."""
    return code if code.replace("_", "").isalnum() else "failed"


def _faulty(what: str) -> Unavailable:
    return Unavailable("manager_faulty", f"the manager answered with something that is no {what}", "check the URL")
