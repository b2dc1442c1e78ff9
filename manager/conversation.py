"""What is said to a delegate about one task that it has: its documents, the task, and that it is given up.

Promises: a delegate that doesn't read or doesn't answer keeps nobody for ever. Must not decide what becomes of the task:
`manager.dispatch` does, by the reply, or by `Lost`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from manager.assignment import Assignment
from manager.clock import Clock
from manager.fleet import TELL_SECONDS, Delegate
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified
from shared.errors import Conflict
from shared.messages import Cancel, Documents, Need, Result

MOST_SENT = 50_000
"""Digests of documents that are remembered as sent to one delegate; it takes one that comes again as known."""


class Lost(Exception):
    """The stream that had the task ended."""


async def converse(
    assignment: Assignment, delegate: Delegate, clock: Clock, seconds: float, handed: Callable[[], None]
) -> Result | Need:
    """Documents, task, reply; `seconds` for all of it. Calls `handed` when the task is on its way.

    Raises Lost, and what is set as the reply's exception.
    """
    assert assignment.reply is not None
    is_sent, began = False, 0.0
    try:
        # The sending counts too: a delegate that doesn't read would keep the task for ever.
        async with asyncio.timeout(seconds) as bound:
            hurry = partial(_hurry, bound)
            assignment.reply.add_done_callback(hurry)
            try:
                await _give(assignment, delegate)
            finally:
                assignment.reply.remove_done_callback(hurry)
            is_sent, began = True, clock.monotonic()
            handed()
            return await assignment.reply
    except TimeoutError:
        if is_sent:
            await delegate.tell(Cancel(assignment.id, assignment.life.attempt))
        else:
            delegate.cut()
        if not assignment.reply.cancelled() and assignment.reply.done():  # in the same moment
            return assignment.reply.result()
        raise Lost from None
    except Conflict:  # given up; told here, so that it comes after the task
        await delegate.tell(Cancel(assignment.id, assignment.life.attempt))
        raise
    finally:
        if is_sent:
            assignment.times.executed += clock.monotonic() - began


def _hurry(bound: asyncio.Timeout, _: asyncio.Future[Result | Need]) -> None:
    """Given up, or lost, before it was all sent: a delegate that doesn't read has as long as for anything that it is told."""
    before = bound.when()
    # It may have been sent in the same moment, and the time with it be over.
    with suppress(RuntimeError):
        if before is not None:
            bound.reschedule(min(before, asyncio.get_running_loop().time() + TELL_SECONDS))


async def _give(assignment: Assignment, delegate: Delegate) -> None:
    fresh = unsent(delegate, assignment.documents)
    if fresh:
        await delegate.send(Documents(fresh))
    await delegate.send(assignment.task())


def unsent(delegate: Delegate, documents: Iterable[Verified[Revisioned]]) -> tuple[str, ...]:
    """Those that haven't gone down its stream, in compact form; from now on they count as sent."""
    fresh = [one for one in documents if one.digest not in delegate.sent]
    if fresh and len(delegate.sent) > MOST_SENT:
        delegate.sent.clear()
    delegate.sent.update(one.digest for one in fresh)
    return tuple(one.compact for one in fresh)
