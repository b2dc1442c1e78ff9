"""Dispatch: sends a signed task, waits for its outcome, and signs again when the world has moved on.

Promises: what may happen twice is sent again after a lost connection, as the same signed task; what may happen once is
only asked after. After a conflict the newer documents are believed first, by the book's rules, and the task is signed
anew, three times at most. Must not believe a code that isn't signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from client.account import Account
from client.outcomes import FINAL_STATES, Opened, Outcome, open_outcome
from client.patience import Detached
from client.relayed import Part, outcome_of, output_of, reason_of, submission
from client.tasks import SignedTask
from client.transport import expired, is_unsent, pause_after
from shared.documents.task import TaskDocument
from shared.errors import (
    Conflict,
    Expired,
    NotFound,
    NotReady,
    Overloaded,
    PrivySealError,
    StaleRecipient,
    Tampered,
    Unauthenticated,
    Unavailable,
)
from shared.tracing import account_hash, size_class

SIGNINGS = 4
POLL_SECONDS = 30
WAIT_SECONDS = 120.0
UNREACHED_SECONDS = 60.0
GIVING_UP_SECONDS = 2.0
_MOVED_ON = frozenset({"pin_stale", "pin_unknown", "version_exists", "version_newer"})
_BEHIND = frozenset({"status_behind", "documents_missing", "generation_missing", "group_stale"})
_BEHIND_PAUSE_SECONDS = 0.3

Make = Callable[[], SignedTask]
Learn = Callable[[Mapping[str, Any]], Awaitable[None]]

Run = Callable[[Account, SignedTask, float], Awaitable[Opened]]


async def perform(
    account: Account, make: Make, learn: Learn, wait_seconds: float = WAIT_SECONDS, *, run: Run | None = None
) -> tuple[SignedTask, Opened]:
    """The task that was made last, and its verified outcome. `learn` is shown the facts of each conflict before the next try.

    `run` is `submit` unless something has to be done meanwhile. What may happen twice is signed anew also when a delegate
    says that it is overloaded and for how long, within `wait_seconds`.

    Raises the task's signed error, or what the manager claims (marked as its claim).
    """
    patience = wait_seconds
    for signing in range(1, SIGNINGS + 1):
        task = make()
        if account.patience.seconds and task.document.repeat == "any":
            # It may begin at the last moment.
            wait_seconds = account.patience.seconds + WAIT_SECONDS
        try:
            return task, await (run or submit)(account, task, wait_seconds)
        except (Conflict, StaleRecipient) as why:
            if signing == SIGNINGS or (isinstance(why, Conflict) and why.code not in _MOVED_ON):
                raise
            # The facts may come unsigned: the documents among them count only once they are admitted.
            for refusal in account.believe_all(why.facts.get("documents") or ()).values():
                if isinstance(refusal, Tampered):
                    raise refusal from None
            await account.sync(force=True)
            await learn(why.facts)
        except NotReady as why:
            if signing == SIGNINGS or why.code not in _BEHIND:
                raise
            await asyncio.sleep(_BEHIND_PAUSE_SECONDS * signing)
            await account.sync(force=True)
        except Overloaded as why:
            # What the manager says of itself has been waited for already, by the transport.
            if task.document.repeat != "any" or signing == SIGNINGS or why.facts.get("unsigned"):
                raise
            pause = pause_after(why, signing)
            patience -= pause
            if "retry_after" not in why.facts or patience < 0:
                raise
            await asyncio.sleep(pause)
    raise AssertionError


async def submit(account: Account, task: SignedTask, wait_seconds: float) -> Opened:
    """The verified outcome of one signed task. Raises Expired when there is none in time."""
    document = task.document
    span = account.tracer.begin(
        "client.task",
        account.traceparent,
        account=account_hash(account.id),
        op=document.op,
        targets=len(document.targets),
        task=task.digest,
        size_in=size_class(sum(map(len, task.inputs))),
    )
    with span:
        opened = await _submitted(account, task, wait_seconds, span.traceparent)
        span.end(opened.code)
        return opened


async def _submitted(account: Account, task: SignedTask, wait_seconds: float, traceparent: str) -> Opened:
    until = asyncio.get_running_loop().time() + wait_seconds
    if account.patience.seconds and task.document.repeat == "any":
        outcome = await _patiently(account, task, wait_seconds, traceparent)
    else:
        outcome = await _polled(account, task, await _send(account, task, wait_seconds, traceparent), until)
    if outcome.state not in FINAL_STATES:
        with suppress(PrivySealError):
            await account.ask("DELETE", f"tasks/{task.digest}")
        raise expired(f"the task {task.digest}", wait_seconds)
    if not outcome.answer:
        raise unanswered(outcome)
    try:
        try:
            return _open(account, task, outcome)
        except (Unauthenticated, Tampered) as why:
            if why.code != "certifier_unknown" and "group" not in why.facts:
                raise
            # The keyring may have been rotated since, or the delegate's group have other tags; the newest document decides.
            await account.sync(force=True)
            return _open(account, task, outcome)
    except PrivySealError as why:
        why.facts.setdefault("task", task.digest)
        raise


async def _polled(account: Account, task: SignedTask, outcome: Outcome, until: float) -> Outcome:
    """The outcome once there is one, or what it is when the time is over."""
    while outcome.state not in FINAL_STATES:
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return outcome
        poll = max(1, min(POLL_SECONDS, int(left)))
        reply = await account.ask("GET", f"tasks/{task.digest}/outcome", query={"wait": poll}, wait_seconds=poll)
        outcome = outcome_of(reply)
    return outcome


async def _patiently(account: Account, task: SignedTask, wait_seconds: float, traceparent: str) -> Outcome:
    """The same of a task that may wait in the manager's queue: a manager that is gone for a while is asked again.

    Raises Detached where nobody is to wait here, and Conflict where the world has moved on while it waited.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    until, attempt = began + wait_seconds, 0
    kept: Outcome | None = None
    try:
        while True:
            attempt += 1
            try:
                if kept is None:
                    kept = await _send(account, task, 1 if account.patience.is_detached else wait_seconds, traceparent)
                if account.patience.is_detached and kept.state not in FINAL_STATES:
                    raise Detached(task.digest, kept.state)
                outcome = await _polled(account, task, kept, until)
                break
            except NotFound:
                if kept is None:
                    raise
                # It forgot it, from a backup perhaps: to hand the same signed task in again is harmless.
                kept = None
                await asyncio.sleep(_BEHIND_PAUSE_SECONDS)
            except (Unavailable, Overloaded) as why:
                pause, now = pause_after(why, min(attempt, 5)), loop.time()
                # Who never reached it has the wrong address rather than a manager that is gone for a while.
                if why.code == "tls_failed" or now + pause > (until if kept else began + UNREACHED_SECONDS):
                    raise
                await asyncio.sleep(pause)
    except asyncio.CancelledError:
        # Whoever gives up here doesn't want it done later.
        with suppress(PrivySealError, TimeoutError):
            async with asyncio.timeout(GIVING_UP_SECONDS):
                await account.ask("DELETE", f"tasks/{task.digest}")
        raise
    if not outcome.answer and outcome.code in _MOVED_ON:
        raise Conflict(outcome.code, "the manager says that the world moved on while the task waited", unsigned=True)
    if loop.time() - began > POLL_SECONDS:
        await account.sync()
    return outcome


async def output(account: Account, task: SignedTask, first: int, wait_seconds: int) -> tuple[list[Part], bool]:
    """The parts from index `first` on that are there or come in time, and whether there will be no more. Raises NotFound."""
    path, query = f"tasks/{task.digest}/output", {"first": first, "wait": wait_seconds}
    reply = await account.ask("GET", path, query=query, repeatable=True, wait_seconds=wait_seconds)
    return output_of(reply)


def _open(account: Account, task: SignedTask, outcome: Outcome) -> Opened:
    book = account.book
    keyring = book.keyrings.get(task.document.keyring)
    if keyring is None:
        raise NotReady(
            "keyring_unfounded",
            "the keyring's document stands on nobody who is an administrator now: no answer can be believed",
            "an administrator publishes it anew: privyseal keyring rotate",
        )
    status = book.status.document if book.status else None
    return open_outcome(outcome, task, keyring, status, account.clock(), book.groups)


async def _send(account: Account, task: SignedTask, wait_seconds: float, traceparent: str) -> Outcome:
    body = submission(task.compact, task.inputs, task.documents)
    wait = max(1, min(60, int(wait_seconds)))
    again = task.document.repeat == "any"
    try:
        reply = await account.ask(
            "POST",
            "tasks",
            data=body,
            query={"wait": wait, **_served(account, again)},
            headers={"traceparent": traceparent} if traceparent else None,
            repeatable=again,
            wait_seconds=wait,
            patience_seconds=wait_seconds,
        )
    except Unavailable as why:
        if again or why.facts.get("unsigned") or is_unsent(why):
            raise
        # It may have arrived, and it must not happen twice: only ask what became of it.
        try:
            reply = await account.ask("GET", f"tasks/{task.digest}/outcome", query={"wait": wait}, wait_seconds=wait)
        except (NotFound, Unavailable) as later:
            raise _untold(task.document, isinstance(later, NotFound)) from None
    except Conflict as why:
        if why.code != "task_known":
            raise
        reply = await account.ask("GET", f"tasks/{task.digest}/outcome", query={"wait": wait}, wait_seconds=wait)
    return outcome_of(reply)


def _untold(task: TaskDocument, is_unknown: bool) -> Unavailable:
    """The error for what was cut off on its way: one that the manager doesn't know now may still arrive."""
    what = "the manager doesn't know of it" if is_unknown else "the manager can't be asked what became of it"
    return Unavailable(
        "outcome_unknown",
        f"the connection broke while the task was sent, and {what}: it may have happened or not, or happen yet",
        f"it can't begin later than {task.exp - task.iat} seconds after it was signed: look then at what it was to change, and try again",
    )


def _served(account: Account, again: bool) -> dict[str, str | int]:
    """What the manager is told of how it may serve the task."""
    patience = account.patience
    told: dict[str, str | int] = {} if patience.priority == "normal" else {"priority": patience.priority}
    return {**told, "queue": 1} if patience.seconds and again else told


def unanswered(outcome: Outcome) -> PrivySealError:
    """The error for an outcome that no delegate signed: the manager's word alone."""
    if outcome.state == "expired":
        return Expired(
            "task_expired",
            "the manager says that no delegate took the task in time",
            "see privyseal delegate list",
            unsigned=True,
        )
    if outcome.state == "unknown":
        return Unavailable(
            "outcome_unknown",
            "the manager says that the delegate was lost while it ran the task: it may have happened or not",
            "look at what it was to change, then decide whether to do it again",
            unsigned=True,
        )
    reason = reason_of(outcome.code)
    return Unavailable(
        reason,
        f"the manager says that the task came to nothing ({reason})",
        "see privyseal delegate list, then try again",
        unsigned=True,
    )
