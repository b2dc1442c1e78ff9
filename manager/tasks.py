"""A task from its submission to its outcome, as the manager sees it.

    parse, verify, warrant  ->  load what it acts on  ->  dispatch  ->  write outcome and audit  ->  answer

Nothing is answered before the audit entry is durable. What a task changes (a version, its documents) is written in the same
transaction as that entry; the access of one that only reads is written down before it is known how it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from manager.assignment import Assignment, assigned
from manager.authentication import Caller
from manager.books import Books, row_of
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.endings import Endings
from manager.history import History, check_named, publishing
from manager.metrics import ManagerMetrics
from manager.outcomes import Finished, Outcomes
from manager.records import Records, check_inputs, versions_of
from manager.store import Store, Transaction
from manager.turns import Turns
from manager.warrants import Warrants
from shared.canonical import digest
from shared.documents.answer import AnswerDocument
from shared.documents.fields import Revisioned
from shared.documents.jws import Unverified, Verified, parse_as
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, Malformed, PrivySealError, Unavailable
from shared.messages import Result
from shared.task import Priority, State
from shared.tracing import UNRECORDED, Span
from shared.trust.warrant import Warrant

_READS = frozenset({"check", "reveal"})

_BROUGHT = frozenset({"connector", "secret"})
"""Kinds of documents that a task may bring along."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task as it arrived: the signed task, its sealed inputs, and new documents to be published with its outcome.

    `priority` is how it is served among those that wait; `span` is the manager's part of its trace.
    """

    compact: str
    inputs: tuple[bytes, ...] = ()
    documents: tuple[str, ...] = ()
    span: Span = UNRECORDED
    priority: Priority = "normal"


class Tasks:
    """Runs submitted tasks, each once at a time."""

    def __init__(
        self, store: Store, books: Books, dispatcher: Dispatcher, clock: Clock, metrics: ManagerMetrics
    ) -> None:
        self._store = store
        self._books = books
        self._dispatcher = dispatcher
        self._clock = clock
        self._endings = Endings(clock, metrics)
        self._history = History(store, clock, self._endings)
        self._records = Records(store)
        self._running: dict[tuple[str, str, str], asyncio.Task[Finished]] = {}
        self._warrants = Warrants(store, clock)
        self._outcomes = Outcomes(clock)
        self._turns = Turns()

    async def submit(self, caller: Caller, submitted: Submitted) -> asyncio.Task[Finished]:
        """The task, running: the one already under way where the same signed task was submitted before.

        Raises what is wrong with it before it runs. The asyncio task must be shielded from a submitter who leaves.
        """
        name = (caller.account, caller.kid, digest(submitted.compact) if submitted.compact.isascii() else "")
        under_way = self._running.get(name)
        if under_way is None:
            under_way = asyncio.create_task(self._run(caller, submitted), name=f"task {name[2]}")
            self._running[name] = under_way
            under_way.add_done_callback(lambda done: self._over(name, done))
            # Whatever becomes of it; where it ran, its span has ended.
            under_way.add_done_callback(lambda _: submitted.span.end("task_known"))
        else:
            submitted.span.end("task_known")
        return under_way

    def _over(self, name: tuple[str, str, str], done: asyncio.Task[Finished]) -> None:
        del self._running[name]
        # Whoever submitted it may have gone; its end is written down all the same.
        if not done.cancelled():
            done.exception()

    def running(self, caller: Caller, task: str) -> asyncio.Task[Finished] | None:
        """A task of the caller's while it is under way."""
        return self._running.get((caller.account, caller.kid, task))

    def kept(self, caller: Caller, task: str) -> Finished | None:
        """The outcome of a task of the caller's that ended a short while ago."""
        return self._outcomes.find(caller, task)

    async def recover(self) -> None:
        """To be called once, before anything is submitted."""
        await self._history.recover()

    async def drain(self) -> None:
        """Waits for all that are under way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._history.write_ended()

    async def settled(self, account: str) -> None:
        """Waits until the store has what has ended so far, for whoever reads it back."""
        self._history.write_ended()
        await self._store.settled(account)

    async def _run(self, caller: Caller, submitted: Submitted) -> Finished:
        # (1) Who asks, and may he?
        arrived = self._clock.monotonic()
        unverified = parse_as(TaskDocument, submitted.compact)
        document = unverified.document
        submitted.span.tell(op=document.op, task=digest(submitted.compact))
        if unverified.kid != caller.kid:
            foreign = Denied("task_of_another", "the task is signed by another key than the request", "submit your own")
            await self._history.refused(caller, document, submitted.compact, foreign, submitted.span, arrived)
            raise foreign
        kept = self.kept(caller, digest(submitted.compact))
        if kept is not None:
            return kept
        try:
            assignment, allowed, fresh = await self._prepared(caller, submitted, unverified, arrived)
            if document.repeat == "never":
                await self._history.begin(caller, assignment, document)
        except PrivySealError as why:
            await self._history.refused(caller, document, submitted.compact, why, submitted.span, arrived)
            raise
        reads = document.op in _READS and not fresh
        # What only reads is written down while the delegate works, since no more of it need be known: that costs no time.
        access = self._history.access(caller, assignment, document) if reads else None
        try:
            result, answer = await self._dispatcher.run(assignment)
        except PrivySealError:
            await self._history.failed(caller, assignment, document)
            raise
        except Exception:
            # A fault of ours, and no reason to keep quiet about what may have happened.
            state = State.FAILED if document.repeat == "any" else State.UNKNOWN
            assignment.life = replace(assignment.life, state=state, code="internal")
            await self._history.failed(caller, assignment, document)
            raise
        # (4) It is over when it is written.
        with self._endings.settling(caller, assignment, document, result):
            if access is not None:
                await access
                self._history.ended(caller, assignment, document)
            else:
                await self._write(caller, assignment, allowed, result, answer, fresh)
        return self._finished(caller, assignment, result)

    async def _prepared(
        self, caller: Caller, submitted: Submitted, unverified: Unverified[TaskDocument], arrived: float
    ) -> tuple[Assignment, Warrant, list[Verified[Revisioned]]]:
        """What is to be dispatched, by which warrant, and the new documents that it brings; raises what speaks against it."""
        if not self._turns.begin():
            await self._turns.wait(caller.account, caller.kid, submitted.priority)
        try:
            book = await self._books.book(caller.account)
            draft, document = book, unverified.document
            fresh: list[Verified[Revisioned]] = []
            stale = await self._books.complete(book, document.pins)
            if submitted.documents:
                draft, fresh = await self._books.examine(book, submitted.documents)
                _check_brought(document, fresh)
            task = draft.verify(unverified)
            allowed = await self._warrants.check(draft, task, stale, submitted.span)
            check_inputs(document, submitted.inputs)
            check_named(document)
            # (2) What does it act on?
            stored = await self._records.opened(caller.account, task.digest, document)
            credentials = await self._records.credentials(caller.account, document)
        finally:
            self._turns.end()
        # (3) Who does it?
        assignment = assigned(
            allowed,
            draft,
            self._clock.now(),
            inputs=submitted.inputs,
            stored=stored,
            credentials=credentials,
            priority=submitted.priority,
            span=submitted.span,
            arrived=arrived,
        )
        return assignment, allowed, fresh

    async def _write(
        self,
        caller: Caller,
        assignment: Assignment,
        allowed: Warrant,
        result: Result,
        answer: AnswerDocument,
        fresh: Sequence[Verified[Revisioned]],
    ) -> None:
        """What the task changes, its row and its audit entry: all of it or, by raising, none."""
        done = assignment.life.state is State.DONE
        now, document = self._clock.now(), allowed.task.document
        try:
            versions = versions_of(allowed, assignment, result, answer, now) if done else []
        except Unavailable as why:
            assignment.life = replace(assignment.life, state=State.FAILED, code=why.code)
            await self._history.failed(caller, assignment, document)
            raise
        # What went wrong of a part only its reader learns, so that nothing of it is taken away.
        doomed = document.targets if document.op == "delete" and answer.code == "ok" else ()
        failed = {use.target.secret for use in allowed.uses} - {version.secret for version in versions}
        # A secret whose first value couldn't be stored isn't made.
        published = [one for one in fresh if done and getattr(one.document, "id", "") not in failed]
        row = self._history.row(caller, assignment, document)

        def run(transaction: Transaction) -> None:
            transaction.publish(caller.account, [row_of(one) for one in published])
            for version in versions:
                transaction.add_version(caller.account, version)
            for target in doomed:
                transaction.delete_versions(caller.account, target.secret or "", now, [target.n] if target.n else None)
            transaction.put_task(caller.account, row)

        try:
            await self._store.write(
                run,
                account=caller.account,
                audit=[
                    *(publishing(one, caller.kid, now) for one in published),
                    self._history.entry(caller, assignment, document),
                ],
                size=sum(len(one) for one in result.stored),
            )
        except Conflict as why:
            await self._lose(caller, assignment, allowed, why)
        if published:
            self._books.take(caller.account, published)
        if versions:
            self._dispatcher.probes.renewed(caller.account, [use.secret.document for use in allowed.uses if use.secret])

    def _finished(self, caller: Caller, assignment: Assignment, result: Result) -> Finished:
        finished = Finished(
            task=assignment.id,
            state=assignment.life.state.value,
            code=assignment.life.code,
            answer=result.answer,
            certificate=assignment.certificate,
            sealed=result.sealed,
        )
        self._outcomes.keep(caller, finished)
        return finished

    async def _lose(self, caller: Caller, assignment: Assignment, allowed: Warrant, why: Conflict) -> NoReturn:
        """Another was durable first: what the delegate did counts for nothing, and the submitter learns what is newest."""
        assignment.life = replace(assignment.life, state=State.FAILED, code=why.code)
        await self._history.failed(caller, assignment, allowed.task.document)
        if why.code == "version_exists":
            secrets = [use.target.secret or "" for use in allowed.uses]
            why.facts["latest"] = await self._records.newest(caller.account, secrets)
        raise why


def _check_brought(task: TaskDocument, documents: Sequence[Verified[Revisioned]]) -> None:
    """Raises Malformed for what a task may not bring along: all else is published for itself, and told to delegates."""
    pinned = {pin.digest for pin in task.pins}
    for one in documents:
        if one.kind not in _BROUGHT or one.digest not in pinned or getattr(one.document, "deleted", False):
            raise Malformed("documents_unexpected", "a task brings the secrets that it makes and nothing else")
