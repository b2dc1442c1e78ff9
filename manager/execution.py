"""One task, from the checking of what was submitted to what is written of its end.

    parse, verify, warrant  ->  load what it acts on  ->  dispatch  ->  write outcome and audit  ->  answer

Nothing is answered before the audit entry is durable. What a task changes (a version, its documents) is written in the same
transaction as that entry; the access of one that only reads is written down before it is known how it ends. What waited in the
queue is checked anew like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from manager.assignment import Assignment, assigned
from manager.authentication import Caller
from manager.books import Books, row_of
from manager.clock import Clock
from manager.deferred import Deferred, check_deferrable
from manager.dispatch import Dispatcher
from manager.endings import Endings
from manager.history import History, check_named, publishing
from manager.outcomes import Finished, Outcomes
from manager.queue import Entry, Submission
from manager.records import Records, check_inputs, versions_of
from manager.store import Store, Transaction
from manager.turns import Turns
from manager.waiting import NoPlace
from manager.warrants import Warrants
from shared.canonical import digest
from shared.documents.answer import AnswerDocument
from shared.documents.fields import Revisioned
from shared.documents.jws import Unverified, Verified, parse_as
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, Malformed, Overloaded, PrivySealError, Unavailable
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

    `priority` is how it is served among those that wait, and `may_wait` says that it may do so in the queue where no delegate
    can take it; `span` is the manager's part of its trace. `task` is the digest that names it, empty for what can't be one.
    """

    compact: str
    inputs: tuple[bytes, ...] = ()
    documents: tuple[str, ...] = ()
    span: Span = UNRECORDED
    priority: Priority = "normal"
    may_wait: bool = False
    task: str = field(init=False)

    def __post_init__(self) -> None:
        # Once: a task of a thousand targets has half a megabyte.
        object.__setattr__(self, "task", digest(self.compact) if self.compact.isascii() else "")


class Execution:
    """What all tasks of one manager are executed by."""

    def __init__(
        self,
        store: Store,
        books: Books,
        dispatcher: Dispatcher,
        clock: Clock,
        endings: Endings,
        history: History,
        outcomes: Outcomes,
        deferred: Deferred,
    ) -> None:
        self._store = store
        self._books = books
        self._dispatcher = dispatcher
        self._clock = clock
        self._endings = endings
        self._history = history
        self._outcomes = outcomes
        self._deferred = deferred
        self._records = Records(store)
        self._warrants = Warrants(store, clock)
        self._turns = Turns()
        self._ending: set[tuple[Caller, str]] = set()
        self._accepted: dict[tuple[Caller, str], asyncio.Event] = {}

    def accepted(self, caller: Caller, task: str) -> asyncio.Event:
        """Set when nothing speaks against a task any more that is under way; until it is over."""
        event = self._accepted.setdefault((caller, task), asyncio.Event())
        if task in self._dispatcher.running(caller.account):
            event.set()
        return event

    def is_ending(self, caller: Caller, task: str) -> bool:
        """Whether it is over with that task, but for the writing."""
        return (caller, task) in self._ending

    def is_over(self, caller: Caller, task: str) -> None:
        """To be told when `run` has come to its end."""
        self._ending.discard((caller, task))
        self._accepted.pop((caller, task), None)

    async def run(
        self,
        caller: Caller,
        submitted: Submitted,
        resumed: Entry | None = None,
    ) -> Finished:
        """How it ended; or that it waits, kept, where it may. `resumed` is one that waited. Raises why it came to nothing."""
        try:
            finished = await self._run(caller, submitted, resumed)
        except Exception:
            self._history.is_over(caller.account, submitted.task, is_written=False)
            raise
        self._history.is_over(caller.account, submitted.task, is_written=True)
        return finished

    async def _run(self, caller: Caller, submitted: Submitted, resumed: Entry | None) -> Finished:
        # (1) Who asks, and may he?
        arrived = self._clock.monotonic()
        unverified = parse_as(TaskDocument, submitted.compact)
        document = unverified.document
        submitted.span.tell(op=document.op, task=submitted.task)
        if unverified.kid != caller.kid:
            raise await self._foreign(caller, document, submitted, arrived)
        kept = self._outcomes.find(caller, submitted.task)
        if kept is not None:
            return kept
        task = submitted.task
        if resumed is None and (waiting := self._deferred.find(caller, task)) is not None:
            return await self._deferred.told(waiting, 0)
        try:
            if submitted.may_wait:
                check_deferrable(document)
            assignment, allowed, fresh = await self._prepared(caller, submitted, unverified, arrived)
            if document.repeat == "never":
                await self._history.begin(caller, assignment, document)
        except PrivySealError as why:
            if resumed is not None:
                await self._refuse(resumed, why)
            else:
                await self._history.refused(caller, document, submitted.compact, why, submitted.span, arrived)
            raise
        if submitted.may_wait:
            self._prepare_to_wait(assignment, resumed)
        if self._accepted and (accepted := self._accepted.get((caller, task))) is not None:
            accepted.set()
        reads = document.op in _READS and not fresh and not assignment.is_kept
        # What only reads is written down while the delegate works, since no more of it need be known: that costs no time.
        access = self._history.access(caller, assignment, document) if reads else None
        try:
            result, answer = await self._dispatcher.run(assignment)
        except NoPlace:
            return await self._wait(caller, submitted, document, assignment)
        except PrivySealError:
            await self._failed(caller, assignment, document)
            raise
        except Exception:
            # A fault of ours, and no reason to keep quiet about what may have happened.
            state = State.FAILED if document.repeat == "any" else State.UNKNOWN
            assignment.life = replace(assignment.life, state=state, code="internal")
            await self._failed(caller, assignment, document)
            raise
        # (4) It is over when it is written.
        with self._endings.settling(caller, assignment, document, result):
            is_told = access is not None and await self._has_told(caller, assignment, document, access)
            if not is_told:
                await self._write(caller, assignment, allowed, result, answer, fresh)
        finished = _relayed(assignment, result)
        self._outcomes.keep(caller, finished)
        return finished

    async def _has_told(
        self, caller: Caller, assignment: Assignment, document: TaskDocument, access: Awaitable[None]
    ) -> bool:
        """Whether that a task has read is durable and no more need be; not so where it is kept by now, since its end is, too."""
        await access
        if self._deferred.is_open(caller, assignment.id):
            return False
        self._ending.add((caller, assignment.id))
        self._history.ended(caller, assignment, document)
        return True

    async def _foreign(self, caller: Caller, document: TaskDocument, submitted: Submitted, arrived: float) -> Denied:
        why = Denied("task_of_another", "the task is signed by another key than the request", "submit your own")
        await self._history.refused(caller, document, submitted.compact, why, submitted.span, arrived)
        return why

    def _prepare_to_wait(self, assignment: Assignment, resumed: Entry | None) -> None:
        assignment.is_kept, assignment.is_patient = True, resumed is not None and resumed.is_patient
        if resumed is not None:
            assignment.is_given_up = resumed.is_given_up
            assignment.submitted_at = resumed.submitted_at
            assignment.life = replace(assignment.life, attempt=resumed.attempts)

    async def _wait(
        self, caller: Caller, submitted: Submitted, document: TaskDocument, assignment: Assignment
    ) -> Finished:
        """Nobody can take it now: it is kept, or it ends because it can't be."""
        try:
            await self.keep(caller, submitted, document, assignment)
        except PrivySealError as why:
            assignment.life = assignment.life.refused(why.code)
            await self._history.failed(caller, assignment, document)
            raise
        assignment.span.end(State.QUEUED.value)
        return Finished(assignment.id, State.QUEUED.value, "")

    async def _refuse(self, resumed: Entry, why: PrivySealError) -> None:
        """Something speaks against it by now. What only fails for the moment is no end of it."""
        if not isinstance(why, Overloaded | Unavailable):
            await self._deferred.end(resumed, State.FAILED, why.code)

    async def _failed(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> None:
        """It ended without an outcome."""
        self._ending.add((caller, assignment.id))
        finished = Finished(assignment.id, assignment.life.state.value, assignment.life.code)
        await self._history.failed(caller, assignment, document, self._deferred.ending(caller, finished))
        self._deferred.has_ended(caller, finished)

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
            await self._failed(caller, assignment, document)
            raise
        # What went wrong of a part only its reader learns, so that nothing of it is taken away.
        doomed = document.targets if document.op == "delete" and answer.code == "ok" else ()
        failed = {use.target.secret for use in allowed.uses} - {version.secret for version in versions}
        # A secret whose first value couldn't be stored isn't made.
        published = [one for one in fresh if done and getattr(one.document, "id", "") not in failed]
        row = self._history.row(caller, assignment, document)
        self._ending.add((caller, assignment.id))
        finished = _relayed(assignment, result)
        beside = self._deferred.ending(caller, finished)

        def run(transaction: Transaction) -> None:
            transaction.publish(caller.account, [row_of(one) for one in published])
            for version in versions:
                transaction.add_version(caller.account, version)
            for target in doomed:
                transaction.delete_versions(caller.account, target.secret or "", now, [target.n] if target.n else None)
            transaction.put_task(caller.account, row)
            if beside is not None:
                beside(transaction)

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
        self._deferred.has_ended(caller, finished)
        if published:
            self._books.take(caller.account, published)
        if versions:
            self._dispatcher.probes.renewed(caller.account, [use.secret.document for use in allowed.uses if use.secret])

    async def _lose(self, caller: Caller, assignment: Assignment, allowed: Warrant, why: Conflict) -> NoReturn:
        """Another was durable first: what the delegate did counts for nothing, and the submitter learns what is newest."""
        assignment.life = replace(assignment.life, state=State.FAILED, code=why.code)
        await self._failed(caller, assignment, allowed.task.document)
        if why.code == "version_exists":
            secrets = [use.target.secret or "" for use in allowed.uses]
            why.facts["latest"] = await self._records.newest(caller.account, secrets)
        raise why

    async def keep(
        self, caller: Caller, submitted: Submitted, document: TaskDocument, assignment: Assignment | None = None
    ) -> None:
        """Done when it is durable that it waits. Raises Overloaded, Unavailable."""
        await self._deferred.keep(
            caller,
            document,
            submitted.task,
            Submission(submitted.compact, submitted.inputs, submitted.documents),
            submitted.priority,
            wanted=assignment.wanted if assignment is not None else None,
            attempts=assignment.life.attempt if assignment is not None else 0,
        )


def _relayed(assignment: Assignment, result: Result) -> Finished:
    return Finished(
        task=assignment.id,
        state=assignment.life.state.value,
        code=assignment.life.code,
        answer=result.answer,
        certificate=assignment.certificate,
        sealed=result.sealed,
    )


def _check_brought(task: TaskDocument, documents: Sequence[Verified[Revisioned]]) -> None:
    """Raises Malformed for what a task may not bring along: all else is published for itself, and told to delegates."""
    pinned = {pin.digest for pin in task.pins}
    for one in documents:
        if one.kind not in _BROUGHT or one.digest not in pinned or getattr(one.document, "deleted", False):
            raise Malformed("documents_unexpected", "a task brings the secrets that it makes and nothing else")
