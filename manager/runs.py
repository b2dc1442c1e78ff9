"""What came of a run, as it is kept for the order's owner: the signed answer with its sealed part, and a command's output.

Promises: bounded; output for which there is no room is cut at its end, and its reader notices, since chunks are numbered and
counted under encryption. Must not look into any of it.
"""

from __future__ import annotations

import msgspec

from manager.assignment import Assignment
from manager.outputs import Outputs
from manager.rows import RunRow
from shared.messages import Output, Result
from shared.wire import submission_pb2 as pb

RUNNING = "running"
REFUSED = "refused"
"""States of a run besides those of a task: sent, and refused by the manager before any delegate saw it."""

OUTPUT_BYTES = 1024 * 1024
"""Of a command's output, that are kept of one run."""


async def pack_output(outputs: Outputs, assignment: Assignment) -> bytes:
    """What the command has written, as an OutputPage."""
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
    chunks = [pb.OutputChunk(index=one.index, data=one.data, opening=one.opening) for one in kept]
    return pb.OutputPage(chunks=chunks, over=True).SerializeToString()


def ended(row: RunRow, assignment: Assignment, result: Result | None, output: bytes, now: int) -> RunRow:
    """The run's row when it is over, with all that its owner can open."""
    life = assignment.life
    outcome = pb.Outcome(task=row.run, state=life.state.value, code=life.code)
    if result is not None:
        outcome.answer, outcome.certificate, outcome.sealed = result.answer, assignment.certificate, result.sealed
    whole = outcome.SerializeToString()
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
