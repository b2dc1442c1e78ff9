"""What the command of a run wrote, opened from what the manager kept of it.

Promises: shown is only what the run's delegate vouched for, in its order, from the beginning; an end that wasn't kept is said to
be missing, never made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from client.relayed import Part
from client.tasks import SignedTask
from shared.canonical import blob_digest
from shared.command import Finished
from shared.crypto.stream import OutputOpener
from shared.documents.certificate import CertificateDocument
from shared.documents.jws import VerifyingKey, parse_as
from shared.documents.output import OutputDocument
from shared.errors import Tampered


@dataclass(frozen=True, slots=True)
class Printed:
    """Standard output and standard error, masked; `is_whole` where nothing of them is missing."""

    out: bytes
    err: bytes
    is_whole: bool


def read_output(parts: Sequence[Part], task: SignedTask, certificate: str, finished: Finished) -> Printed:
    """What is kept of a run's output; `certificate` is that of its verified answer. Raises Tampered for what isn't that run's."""
    written: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
    opener: OutputOpener | None = None
    for at, chunk in enumerate(parts):
        if chunk.index != at:
            raise Tampered("output_cut", "a part of the run's output is missing, or not in order")
        if opener is None:
            opener = opener_of(chunk, task, parse_as(CertificateDocument, certificate).document.key)
            continue
        stream, data, is_last = opener.open(chunk.data)
        if not is_last:
            written[stream] += data
    count = len(parts)
    if count > finished.chunks or (opener is not None and opener.is_over and count != finished.chunks):
        raise Tampered("output_cut", "the run's output has more or fewer parts than its delegate counted")
    return Printed(bytes(written[1]), bytes(written[2]), count == finished.chunks)


def opener_of(first: Part, task: SignedTask, key: str) -> OutputOpener:
    """What opens the parts after the first of a task or run, for which a delegate's key has to vouch. Raises Tampered."""
    opening = parse_as(OutputDocument, first.opening).verified_by(VerifyingKey.of(key)).document
    account = task.document.acct
    if (opening.acct, opening.task, opening.sealed) != (account, task.digest, blob_digest(first.data)):
        raise Tampered("output_forged", "the output isn't this task's", "find out what the manager does with it")
    return OutputOpener(task.reader, account, task.document.keyring, task.digest, first.data)
