"""What orders and their runs look like on the way: protobuf types stop here."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from client.dispatch import Part
from client.outcomes import Outcome
from shared.errors import Unavailable
from shared.wire import submission_pb2 as pb


def submission(compact: str, inputs: tuple[bytes, ...]) -> bytes:
    """The body that brings an order with its sealed input."""
    return pb.Submission(document=compact, inputs=inputs).SerializeToString()


def outcome_of(body: bytes) -> Outcome:
    """A run's outcome, as the manager relays it. Raises Unavailable."""
    try:
        told = pb.Outcome.FromString(body)
    except DecodeError:
        raise _faulty("outcome") from None
    return Outcome(told.task, told.state, told.code, told.answer, told.certificate, told.sealed)


def parts_of(body: bytes) -> list[Part]:
    """The parts of a run's output. Raises Unavailable."""
    try:
        page = pb.OutputPage.FromString(body)
    except DecodeError:
        raise _faulty("output") from None
    return [Part(one.index, one.data, one.opening) for one in page.chunks]


def _faulty(what: str) -> Unavailable:
    return Unavailable("manager_faulty", f"the manager's {what} of a run is none", "check the URL")
