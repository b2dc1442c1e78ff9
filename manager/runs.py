"""What came of a run, as it is kept for the order's owner: the signed answer with its sealed part, and a command's output.

Promises: bounded; output for which there is no room is cut at its end, and its reader notices, since chunks are numbered and
counted under encryption. Must not look into any of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import msgspec

from manager.assignment import Assignment
from manager.outcomes import Finished
from manager.outputs import Outputs
from manager.rows import RunRow
from shared.errors import Malformed
from shared.messages import Output, Result

T = TypeVar("T")

RUNNING = "running"
REFUSED = "refused"
"""States of a run besides those of a task: sent, and refused by the manager before any delegate saw it."""

PUT_BACK = "manager_stopping"
"""The code of one that no delegate had when the manager was stopped: the next manager begins it, if it is still due."""

_chunks = msgspec.msgpack.Decoder(list[tuple[int, bytes, str]])
_finished = msgspec.msgpack.Decoder(Finished)

OUTPUT_BYTES = 1024 * 1024
"""Of a command's output, that are kept of one run."""


async def kept_output(outputs: Outputs, assignment: Assignment) -> bytes:
    """What the command has written, as far as it is kept."""
    kept: list[Output] = []
    held, first, over = 0, 0, False
    while not over:
        page = await outputs.read(assignment.account, assignment.id, assignment.principal, first, 0)
        if page is None or not page.chunks:
            break
        over = page.over
        for chunk in page.chunks:
            held += len(chunk.data) + len(chunk.opening)
            over = over or held > OUTPUT_BYTES
            if held <= OUTPUT_BYTES:
                kept.append(chunk)
        first = page.chunks[-1].index + 1
    return msgspec.msgpack.encode([(one.index, one.data, one.opening) for one in kept])


def output_of(row: RunRow) -> list[tuple[int, bytes, str]]:
    """Index, data and opening of each chunk. Raises Malformed for what the database keeps no longer as it was."""
    return [] if row.output is None else _read(_chunks, row.output)


def finished_of(row: RunRow) -> Finished:
    """What was signed and sealed, relayed; of a run that has no outcome its state alone. Raises Malformed as above."""
    return Finished(row.run, row.state, row.code) if row.outcome is None else _read(_finished, row.outcome)


def _read(decoder: msgspec.msgpack.Decoder[T], kept: bytes) -> T:
    try:
        return decoder.decode(kept)
    except (msgspec.MsgspecError, UnicodeError):
        raise Malformed(
            "run_unreadable", "what the database keeps of the run isn't what came of it", "the next run has its own"
        ) from None


def ended(row: RunRow, assignment: Assignment, result: Result | None, output: bytes, now: int) -> RunRow:
    """The run's row when it is over, with all that its owner can open."""
    life = assignment.life
    finished = Finished(row.run, life.state.value, life.code)
    if result is not None:
        finished = replace(
            finished, answer=result.answer, certificate=assignment.certificate, sealed=result.sealed
        )  # fmt: skip
    whole = msgspec.msgpack.encode(finished)
    return msgspec.structs.replace(
        row,
        state=life.state.value,
        code=life.code,
        delegate=life.delegate,
        name=assignment.name,
        finished_at=now,
        size=len(whole) + len(output),
        outcome=whole,
        output=output or None,
    )
