"""What came of a run of an order, believed only as far as the delegate that did it signed it, and opened with the order's key.

Promises: an answer to another run, by another delegate, or from before the run's time is refused as Tampered; what the manager
says besides is its word alone. Must not keep a value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from client.account import Account
from client.order_keys import Kept
from client.outcomes import Opened, Outcome, open_outcome
from client.relayed import outcome_of, output_of, reason_of
from client.run_outputs import Printed, read_output
from client.tasks import SignedTask
from shared.command import Finished, finished_from
from shared.documents.answer import AnswerDocument
from shared.documents.jws import Verified, parse_as
from shared.documents.order import OrderDocument
from shared.errors import NotReady, PrivySealError, Tampered, Unavailable
from shared.orders import start_of, task_of
from shared.trust.authority import SKEW_SECONDS


class Run(msgspec.Struct, frozen=True):
    """A run by the manager's word; `skipped` counts those right before it that nobody began."""

    run: str
    rev: int
    n: int
    state: str
    code: str
    name: str
    started_at: int
    finished_at: int | None
    skipped: int


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """What came of a run: the delegate by its signed name, how the command ended, and what it wrote as far as it was kept."""

    run: Run
    opened: Opened
    finished: Finished | None
    printed: Printed | None


async def open_run(account: Account, kept: Kept, order: Verified[OrderDocument], run: Run) -> OpenedRun:
    """What came of it. Raises NotReady for one that is under way, Tampered, or the error that it ended with."""
    task = _task(kept, order, run)
    place = f"orders/{order.document.id}/runs/{run.run}"
    outcome = outcome_of(await account.ask("GET", f"{place}/outcome", repeatable=True))
    if not outcome.answer:
        raise _unanswered(run)
    try:
        opened = _opened(account, order, run, task, outcome)
    except Tampered as why:
        if "group" not in why.facts:
            raise
        # The delegate's group may have other tags since this client last asked.
        await account.sync(force=True)
        opened = _opened(account, order, run, task, outcome)
    if order.document.op != "exec":
        return OpenedRun(run, opened, None, None)
    (item,) = opened.items
    if isinstance(item, PrivySealError):
        raise item
    finished = finished_from(item.reveal())
    reply = await account.ask("GET", f"{place}/output", repeatable=True)
    return OpenedRun(run, opened, finished, read_output(output_of(reply)[0], task, outcome.certificate, finished))


def _task(kept: Kept, order: Verified[OrderDocument], run: Run) -> SignedTask:
    """The run as a task, with the key that opens what came of it. Raises Tampered for another than the manager calls so."""
    task = task_of(order, run.n)
    if task.digest != run.run:
        raise _forged("the manager gives a run another name than it has")
    selectors, conditions = kept.revisions.get(str(order.document.rev), ([], []))
    return SignedTask(task.document, order.compact, task.digest, kept.key, frozenset(selectors), frozenset(conditions))


def _opened(account: Account, order: Verified[OrderDocument], run: Run, task: SignedTask, outcome: Outcome) -> Opened:
    """Judged at the time that the answer says, since certificates last for days: a key that was revoked since counts no more."""
    book, now = account.book, account.clock()
    keyring = book.keyrings.get(order.document.keyring)
    if keyring is None:
        raise NotReady("keyring_unfounded", "the order's keyring stands on nobody who is an administrator now")
    at = parse_as(AnswerDocument, outcome.answer).document.iat
    if not start_of(order.document, run.n) - SKEW_SECONDS <= at <= now + SKEW_SECONDS:
        raise _forged("the answer to a run is from before its time, or from the future")
    status = book.status.document if book.status else None
    try:
        return open_outcome(outcome, task, keyring, status, min(at, now), book.groups)
    except Tampered as why:
        group = book.groups.get(str(why.facts.get("group", "")))
        if group is None or group.document.iat < at:
            raise
        # What its group gave it then isn't known any more: that it is of the zone has to do.
        anybody = replace(task, selectors=frozenset(), conditions=frozenset())
        return open_outcome(outcome, anybody, keyring, status, min(at, now), book.groups)


def _unanswered(run: Run) -> PrivySealError:
    if run.finished_at is None:
        return NotReady("run_under_way", "the run is under way", "ask again when it is over")
    reason = reason_of(run.code)
    return Unavailable(
        reason,
        f"the manager says that no delegate answered for the run ({run.state}, {reason})",
        "see privyseal order runs; a stale pin is mended by: privyseal order renew",
        unsigned=True,
    )


def _forged(detail: str) -> Tampered:
    return Tampered("answer_forged", detail, "nothing of it was believed; find out what the manager does with answers")
