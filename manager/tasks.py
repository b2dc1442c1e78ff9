"""A task from its submission to its outcome, as the manager sees it.

    parse, verify, warrant  ->  load what it acts on  ->  dispatch  ->  write outcome and audit  ->  answer

Nothing is answered before the audit entry is durable, and what a task changes (a version, its documents) is written in
the same transaction as that entry.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import msgspec

from manager.authentication import Caller
from manager.books import Books, row_of
from manager.clock import Clock
from manager.dispatch import Assignment, Dispatcher
from manager.metrics import ManagerMetrics
from manager.routing import Wanted
from manager.rows import StoredVersion, TaskRow
from manager.store import Store, Transaction
from shared.canonical import blob_digest, digest
from shared.documents.answer import AnswerDocument
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified, parse_as
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, PrivySealError
from shared.messages import Result
from shared.task import FINAL, Life, State
from shared.trust.book import Book
from shared.trust.warrant import Warrant, warrant

LARGEST_INPUTS = LARGEST_VALUE_BYTES + 4_096
"""All sealed inputs, or all records, of one task together."""

KEPT_OUTCOMES = 1_000
KEPT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task as it arrived: the signed task, its sealed inputs, and new documents to be published with its outcome."""

    compact: str
    inputs: tuple[bytes, ...] = ()
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """A task's end, for its submitter: what the delegate signed and sealed, relayed."""

    task: str
    state: str
    code: str
    answer: str = ""
    certificate: str = ""
    sealed: bytes = b""


class Tasks:
    """Runs submitted tasks, each once at a time."""

    def __init__(
        self, store: Store, books: Books, dispatcher: Dispatcher, clock: Clock, metrics: ManagerMetrics
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._books = books
        self._dispatcher = dispatcher
        self._clock = clock
        self._running: dict[tuple[str, str], asyncio.Task[Finished]] = {}
        self._kept: OrderedDict[tuple[str, str], tuple[str, Finished]] = OrderedDict()
        self._kept_bytes = 0

    async def submit(self, caller: Caller, submitted: Submitted) -> asyncio.Task[Finished]:
        """The task, running: the one already under way where the same signed task was submitted before.

        Raises what is wrong with it before it runs. The asyncio task must be shielded from a submitter who leaves.
        """
        name = (caller.account, digest(submitted.compact) if submitted.compact.isascii() else "")
        under_way = self._running.get(name)
        if under_way is None:
            under_way = asyncio.create_task(self._run(caller, submitted), name=f"task {name[1]}")
            self._running[name] = under_way
            under_way.add_done_callback(lambda _: self._running.pop(name, None))
        return under_way

    def running(self, account: str, task: str) -> asyncio.Task[Finished] | None:
        """The task while it is under way."""
        return self._running.get((account, task))

    def kept(self, caller: Caller, task: str) -> Finished | None:
        """The outcome of a task of the caller's that ended a short while ago."""
        owner, finished = self._kept.get((caller.account, task), ("", None))
        return finished if owner == caller.kid else None

    async def drain(self) -> None:
        """Waits for all that are under way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, caller: Caller, submitted: Submitted) -> Finished:
        # (1) Who asks, and may he?
        unverified = parse_as(TaskDocument, submitted.compact)
        document = unverified.document
        if unverified.kid != caller.kid:
            raise Denied(
                "task_of_another",
                "the task is signed by another key than the request",
                "submit your own tasks",
            )
        book = await self._books.book(caller.account)
        kept = self.kept(caller, digest(submitted.compact))
        if kept is not None:
            return kept
        draft = book
        fresh: list[Verified[Revisioned]] = []
        try:
            await self._books.complete(book, (pin.digest for pin in document.pins))
            if submitted.documents:
                draft, fresh = self._books.try_documents(book, submitted.documents)
            task = draft.verify(unverified)
            allowed = await self._warrant(draft, task)
            _check_inputs(document, submitted.inputs)
            # (2) What does it act on?
            stored = await self._records(caller.account, document)
        except PrivySealError as why:
            await self._refuse(caller, document, submitted.compact, why)
            raise
        # (3) Who does it?
        assignment = self._assign(allowed, submitted, stored, draft)
        if document.repeat == "never":
            await self._begin(caller, assignment, document)
        try:
            result, answer = await self._dispatcher.run(assignment)
        except PrivySealError as why:
            await self._record(caller, assignment, document, why.code)
            raise
        # (4) It is over when it is written.
        return await self._finish(caller, assignment, allowed, result, answer, fresh)

    async def _begin(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> None:
        """What may not run twice is written down before it is sent, so that a restart knows of it."""
        known = await self._store.task(caller.account, assignment.id)
        if known is not None:
            raise Conflict(
                "task_known",
                f"the task was submitted before and is {known.state}",
                "sign a new one",
                state=known.state,
            )
        row = self._row(caller, assignment, document, "")
        await self._store.put_task(caller.account, row, [self._entry(caller, assignment, document, "submitted")])

    async def recover(self) -> None:
        """After a restart: what was under way and may not run twice has an unknown outcome."""
        after = ""
        while True:
            accounts = await self._store.accounts(after)
            for account in accounts.items:
                await self._recover(account.account)
            if not accounts.next:
                return
            after = accounts.next

    async def _recover(self, account: str) -> None:
        while page := (await self._store.tasks(account, state=State.QUEUED.value)).items:
            for row in page:
                now = self._clock.now()
                lost = msgspec.structs.replace(
                    row, state=State.UNKNOWN.value, code="manager_restarted", finished_at=now
                )
                entry: dict[str, str | int] = {
                    "at": now,
                    "principal": row.principal,
                    "op": row.op,
                    "task": row.task,
                    "outcome": lost.state,
                    "code": lost.code,
                }
                await self._store.put_task(account, lost, [entry])

    async def _warrant(self, book: Book, task: Verified[TaskDocument]) -> Warrant:
        try:
            return warrant(book, task, self._clock.now())
        except Conflict as why:
            if why.code == "pin_stale":
                newer = [await self._newer(book, kind, id) for kind, id in why.facts["stale"]]
                why.facts["documents"] = [compact for compact in newer if compact]
            raise
        except NotReady as why:
            if why.code == "documents_missing":
                raise Conflict(
                    "pin_unknown",
                    "the task pins documents that the manager doesn't have",
                    "sync and sign again",
                ) from None
            raise

    async def _newer(self, book: Book, kind: str, id: str) -> str | None:
        row = await self._store.head(book.id, kind, id)
        return row.compact if row else None

    async def _records(self, account: str, document: TaskDocument) -> tuple[bytes, ...]:
        """The records that it opens. Raises Conflict where it names others than there are, or means a newer one."""
        secrets = [target.secret for target in document.targets if target.secret is not None]
        if document.op == "store":
            latest = await self._store.latest_many(account, secrets)
            for target in document.targets:
                newest = latest.get(target.secret or "")
                if (target.n, target.version) != ((newest.n + 1, newest.digest) if newest else (1, None)):
                    raise self._newer_version("version_exists", newest, target.secret or "")
            return ()
        if document.op != "reveal":
            return ()
        places = [(target.secret or "", target.n) for target in document.targets]
        versions = await self._store.version_many(account, places)
        meant_latest = [target.secret or "" for target in document.targets if target.latest]
        latest = await self._store.latest_many(account, meant_latest) if meant_latest else {}
        records = []
        for target, place in zip(document.targets, places, strict=True):
            version = versions.get(place)
            if version is None or version.digest != target.version or version.record is None:
                raise NotFound(
                    "version_not_found",
                    "there is no such version, or it was deleted",
                    "privyseal secret versions",
                )
            if target.latest and latest[place[0]].n != target.n:
                raise self._newer_version("version_newer", latest[place[0]], place[0])
            records.append(version.record)
        if sum(map(len, records)) > LARGEST_INPUTS + 1024 * len(records):
            raise Malformed("records_too_large", "the values asked for are too large together", "ask for fewer at once")
        return tuple(records)

    @staticmethod
    def _newer_version(code: str, newest: StoredVersion | None, secret: str) -> Conflict:
        latest = {secret: {"n": newest.n, "digest": newest.digest}} if newest else {secret: {"n": 0, "digest": ""}}
        return Conflict(
            code, "there is another newest version than the task means", "sync and sign again", latest=latest
        )

    def _assign(self, allowed: Warrant, submitted: Submitted, stored: tuple[bytes, ...], book: Book) -> Assignment:
        task = allowed.task
        pinned = [book.find(pin.digest) for pin in task.document.pins]
        rank = {"account": 0, "grant": 1, "keyring": 2}
        documents = sorted((one for one in pinned if one is not None), key=lambda one: rank.get(one.kind, 3))
        return Assignment(
            account=book.id,
            id=task.digest,
            compact=submitted.compact,
            op=task.document.op,
            wanted=Wanted(
                task.document.keyring,
                task.document.gen,
                frozenset(use.connector.document.type for use in allowed.uses),
                allowed.selectors,
                task.document.to,
            ),
            exp=task.document.exp,
            inputs=submitted.inputs,
            stored=stored,
            documents=documents,
            life=Life(task.document.repeat),
            principal=task.kid,
            submitted_at=self._clock.now(),
        )

    async def _finish(
        self,
        caller: Caller,
        assignment: Assignment,
        allowed: Warrant,
        result: Result,
        answer: AnswerDocument,
        fresh: Sequence[Verified[Revisioned]],
    ) -> Finished:
        done = assignment.life.state is State.DONE
        versions = _versions(allowed, assignment, result, answer, self._clock.now()) if done else []
        failed = {use.target.secret for use in allowed.uses} - {version.secret for version in versions}
        # A secret whose first value couldn't be stored isn't made.
        published = [one for one in fresh if done and getattr(one.document, "id", "") not in failed]
        row = self._row(caller, assignment, allowed.task.document, assignment.life.code)

        def run(transaction: Transaction) -> None:
            transaction.publish(caller.account, [row_of(one) for one in published])
            for version in versions:
                transaction.add_version(caller.account, version)
            transaction.put_task(caller.account, row)

        try:
            await self._store.write(
                run,
                account=caller.account,
                audit=[self._entry(caller, assignment, allowed.task.document, assignment.life.code)],
                size=sum(len(one) for one in result.stored),
            )
        except Conflict as why:
            await self._lose(caller, assignment, allowed, why)
        if published:
            self._books.take(await self._books.book(caller.account), published)
        self._metrics.finished(assignment.op, "completed" if done else "failed", answer.code)
        finished = Finished(
            task=assignment.id,
            state=assignment.life.state.value,
            code=assignment.life.code,
            answer=result.answer,
            certificate=assignment.certificate,
            sealed=result.sealed,
        )
        self._keep(caller, finished)
        return finished

    async def _lose(self, caller: Caller, assignment: Assignment, allowed: Warrant, why: Conflict) -> NoReturn:
        """Another was durable first: what the delegate did counts for nothing, and the submitter learns what is newest."""
        assignment.life = replace(assignment.life, state=State.FAILED, code=why.code)
        await self._record(caller, assignment, allowed.task.document, why.code)
        if why.code == "version_exists":
            secrets = [use.target.secret or "" for use in allowed.uses]
            latest = await self._store.latest_many(caller.account, secrets)
            why.facts["latest"] = {secret: {"n": row.n, "digest": row.digest} for secret, row in latest.items()}
        raise why

    def _keep(self, caller: Caller, finished: Finished) -> None:
        self._kept[caller.account, finished.task] = (caller.kid, finished)
        self._kept_bytes += len(finished.sealed)
        while len(self._kept) > KEPT_OUTCOMES or self._kept_bytes > KEPT_BYTES:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.sealed)

    async def _record(self, caller: Caller, assignment: Assignment, document: TaskDocument, code: str) -> None:
        timed_out = assignment.life.state is State.EXPIRED
        self._metrics.finished(document.op, "timed_out" if timed_out else "failed", code)
        row = self._row(caller, assignment, document, code)
        entry = self._entry(caller, assignment, document, code)
        await self._store.put_task(caller.account, row, [entry])

    async def _refuse(self, caller: Caller, document: TaskDocument, compact: str, why: PrivySealError) -> None:
        self._metrics.rejected(document.op, why.code)
        entry = self._audit(caller, document, digest(compact), "refused", why.code, "")
        await self._store.audit(caller.account, [entry])

    def _entry(self, caller: Caller, assignment: Assignment, document: TaskDocument, code: str) -> dict[str, str | int]:
        state = assignment.life.state.value
        return self._audit(caller, document, assignment.id, state, code, assignment.life.delegate)

    def _audit(
        self, caller: Caller, document: TaskDocument, task: str, outcome: str, code: str, delegate: str
    ) -> dict[str, str | int]:
        return {
            "at": self._clock.now(),
            "principal": caller.kid,
            "op": document.op,
            "task": task,
            "targets": _targets(document),
            "outcome": outcome,
            "code": code,
            "delegate": delegate,
        }

    def _row(self, caller: Caller, assignment: Assignment, document: TaskDocument, code: str) -> TaskRow:
        return TaskRow(
            task=assignment.id,
            op=document.op,
            principal=caller.kid,
            state=assignment.life.state.value,
            code=code,
            delegate=assignment.life.delegate,
            attempts=assignment.life.attempt,
            submitted_at=assignment.submitted_at,
            finished_at=self._clock.now() if assignment.life.state in FINAL else None,
            jti=document.jti,
            keyring=document.keyring,
            summary=msgspec.json.encode({"targets": _targets(document), "name": assignment.name}).decode(),
        )


def _targets(document: TaskDocument) -> str:
    return ",".join(target.secret or target.connector or "" for target in document.targets)


def _check_inputs(document: TaskDocument, inputs: tuple[bytes, ...]) -> None:
    if sum(map(len, inputs)) > LARGEST_INPUTS + 2048 * len(inputs):
        raise Malformed("value_too_large", "the values are larger than 10 MB together", "store fewer or smaller values")
    if tuple(blob_digest(one) for one in inputs) != document.input:
        raise Malformed("input_foreign", "the sealed inputs are not those that the task was signed over")


def _versions(
    allowed: Warrant, assignment: Assignment, result: Result, answer: AnswerDocument, now: int
) -> list[StoredVersion]:
    """The versions that a store made, none for another operation; an empty record is a target that failed."""
    task = allowed.task
    if task.document.op != "store":
        return []
    if len(result.stored) != len(allowed.uses) or tuple(blob_digest(one) for one in result.stored) != answer.stored:
        raise Malformed("answer_malformed", "the delegate's records are not those that it signed")
    return [
        StoredVersion(
            secret=use.target.secret or "",
            n=use.target.n,
            digest=task.digest,
            prev=use.target.version or "",
            size=len(record),
            keyring=task.document.keyring,
            generation=task.document.gen,
            connector=use.connector.document.id,
            signer=task.kid,
            stored_at=now,
            delegate=assignment.life.delegate,
            deleted_at=None,
            compact=task.compact,
            record=record,
        )
        for use, record in zip(allowed.uses, result.stored, strict=True)
        if record
    ]
