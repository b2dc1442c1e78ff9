"""What is written down of tasks: one row and one audit entry each, in the same transaction as what they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import structlog

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.books import row_of
from manager.clock import Clock
from manager.endings import Endings
from manager.queue import Entry as Queued
from manager.rows import TaskRow
from manager.store import Store, Transaction
from manager.trail import Step, wanted_of
from shared.audit import TARGETS_LIMIT
from shared.canonical import digest
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified
from shared.documents.task import Target, TaskDocument
from shared.errors import Conflict, Malformed, PrivySealError
from shared.task import FINAL, State
from shared.tracing import Span

Entry = dict[str, str | int]
Change = Callable[[Transaction], None]

ENDED_SECONDS = 0.01
"""How long the outcome of a task that only read may wait to be written; its access was written before the answer left."""

UNWRITTEN_SECONDS = 1.0
"""Between two tries to write how a task ended that may not run twice."""

_log = structlog.get_logger()


class History:
    """Writes rows and entries; whoever changes something else too takes them from `row` and `entry`."""

    def __init__(self, store: Store, clock: Clock, endings: Endings) -> None:
        self._store = store
        self._clock = clock
        self._endings = endings
        self._ended: list[tuple[Caller, Assignment, TaskDocument]] = []
        self._writing: asyncio.TimerHandle | None = None
        self._begun: set[tuple[str, str]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def row(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> TaskRow:
        """The task's row, as it stands."""
        life = assignment.life
        return TaskRow(
            task=assignment.id,
            op=document.op,
            principal=caller.kid,
            state=life.state.value,
            code=life.code,
            delegate=life.delegate,
            attempts=life.attempt,
            submitted_at=assignment.submitted_at,
            finished_at=self._clock.now() if life.state in FINAL else None,
            jti=document.jti,
            keyring=document.keyring,
            summary=msgspec.json.encode(
                {
                    "targets": _named(document.targets),
                    "name": assignment.name,
                    "wanted": wanted_of(assignment.wanted),
                    "steps": assignment.trail.told(),
                }
            ).decode(),
        )

    def entry(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> Entry:
        """The task's audit entry, as it stands."""
        life = assignment.life
        return self._entry(caller, document, assignment.id, life.state.value, life.code, life.delegate)

    def access(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> Awaitable[None]:
        """That somebody asks for what he may read; to be awaited before he is answered, whatever the answer is."""
        entry = {**self.entry(caller, assignment, document), "outcome": "asked"}
        # A task of its own begins when the caller first waits: the delegate has the secret's task before the disk is asked.
        writing = asyncio.create_task(self._write_access(caller.account, entry))
        # Nobody awaits it where the task fails; that failure is written for itself.
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return writing

    async def _write_access(self, account: str, entry: Entry) -> None:
        # What has ended meanwhile comes to the disk with it, in the same commit.
        self.write_ended()
        await self._store.audit(account, [entry])

    def ended(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> None:
        """How a task ended whose access is durable already; nobody waits for it, and a few are written at once."""
        if self._writing is None:
            self._writing = asyncio.get_running_loop().call_later(ENDED_SECONDS, self.write_ended)
        self._ended.append((caller, assignment, document))

    def write_ended(self) -> None:
        """Hands those that have ended to the store now, so that whoever asks it next finds them."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        ended, self._ended = self._ended, []
        for caller, assignment, document in ended:
            row, entry = self.row(caller, assignment, document), self.entry(caller, assignment, document)
            try:
                writing = self._store.put_task(caller.account, row, [entry])
            except PrivySealError as why:
                _log.error("outcome.unwritten", code=why.code)
            else:
                asyncio.ensure_future(writing).add_done_callback(_noted)

    async def begin(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> None:
        """What may not run twice is written down before it is sent, so that a restart knows of it. Raises Conflict."""
        known = await self._store.task(caller.account, assignment.id)
        if known is not None:
            if known.state == State.QUEUED.value:
                # It ran, and how it ended couldn't be written; nobody runs it now.
                known = await self._lost(caller.account, known, "outcome_unwritten")
            detail = f"the task was submitted before and is {known.state}"
            raise Conflict("task_known", detail, "sign a new one", state=known.state)
        row, entry = self.row(caller, assignment, document), self.entry(caller, assignment, document)
        # Also where the writing fails: it may have come to the disk all the same.
        self._begun.add((caller.account, assignment.id))
        await self._store.put_task(caller.account, row, [{**entry, "outcome": "submitted"}])

    def is_over(self, account: str, task: str, is_written: bool) -> None:
        """A task that may have been begun is over. One whose end couldn't be written is closed as soon as the store works again."""
        if (account, task) not in self._begun:
            return
        self._begun.remove((account, task))
        if not is_written:
            closing = asyncio.create_task(self._close(account, task))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _close(self, account: str, task: str) -> None:
        while True:
            try:
                row = await self._store.task(account, task)
                if row is not None and row.state == State.QUEUED.value:
                    await self._lost(account, row, "outcome_unwritten")
                return
            except PrivySealError as why:
                _log.warning("outcome.unwritten", code=why.code)
            await asyncio.sleep(UNWRITTEN_SECONDS)

    async def failed(
        self, caller: Caller, assignment: Assignment, document: TaskDocument, beside: Change | None = None
    ) -> None:
        """It ended without an answer; `beside` is written with that."""
        self._endings.failed(caller, assignment, document)
        row, entry = self.row(caller, assignment, document), self.entry(caller, assignment, document)
        await self._store.put_task(caller.account, row, [entry], beside)

    async def closed(
        self, queued: Queued, document: TaskDocument | None, state: State, code: str, beside: Change
    ) -> None:
        """It ended while it waited, with nobody trying it; without a document where that can't be read any more."""
        now, caller = self._clock.now(), Caller(queued.account, queued.principal)
        row = TaskRow(
            task=queued.task,
            op=queued.op,
            principal=queued.principal,
            state=state.value,
            code=code,
            submitted_at=queued.submitted_at,
            finished_at=now,
            jti=document.jti if document is not None else "",
            keyring=queued.keyring,
            summary=msgspec.json.encode({"targets": _named(document.targets)} if document is not None else {}).decode(),
        )
        if document is not None:
            entry = self._entry(caller, document, queued.task, state.value, code, "")
        else:
            told = {"op": queued.op, "task": queued.task, "outcome": state.value, "code": code}
            entry = {"at": now, "principal": queued.principal, **told}
        await self._store.put_task(queued.account, row, [entry], beside)
        targets = len(document.targets) if document is not None else 0
        self._endings.closed(caller, queued.op, targets, queued.task, state, code, now - queued.submitted_at)

    def told(self, caller: Caller, document: TaskDocument, task: str, outcome: str, code: str) -> Entry:
        """The audit entry of what became of a task that no delegate has."""
        return self._entry(caller, document, task, outcome, code, "")

    async def refused(
        self, caller: Caller, document: TaskDocument, compact: str, why: PrivySealError, span: Span, arrived: float
    ) -> None:
        """It was refused before it ran."""
        task = digest(compact)
        self._endings.refused(caller, document, task, why, span, arrived)
        entry = self._entry(caller, document, task, "refused", why.code, "")
        await self._store.audit(caller.account, [entry])

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
                await self._lost(account, row, "manager_restarted")

    async def _lost(self, account: str, row: TaskRow, code: str) -> TaskRow:
        now = self._clock.now()
        lost = msgspec.structs.replace(
            row, state=State.UNKNOWN.value, code=code, finished_at=now, summary=_with_loss(row.summary, now, code)
        )
        entry: Entry = {
            "at": now,
            "principal": row.principal,
            "op": row.op,
            "task": row.task,
            "outcome": lost.state,
            "code": code,
        }
        await self._store.put_task(account, lost, [entry])
        return lost

    def _entry(
        self, caller: Caller, document: TaskDocument, task: str, outcome: str, code: str, delegate: str
    ) -> Entry:
        return {
            "at": self._clock.now(),
            "principal": caller.kid,
            "op": document.op,
            "task": task,
            "targets": _named(document.targets),
            **({"credentials": _named(document.credentials)} if document.credentials else {}),
            "outcome": outcome,
            "code": code,
            "delegate": delegate,
        }


def _with_loss(summary: str, now: int, code: str) -> str:
    """What is told of a task whose trail was in memory alone: where it was to go, and that nobody knows more."""
    told: dict[str, Any] = msgspec.json.decode(summary) if summary else {}
    to = str(told.get("wanted", {}).get("to", ""))
    step = Step(now, "lost", to, code=code, why="nobody wrote how it ended: it may have happened or not")
    return msgspec.json.encode({**told, "steps": [*told.get("steps", []), msgspec.to_builtins(step)]}).decode()


def _noted(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled() and (why := writing.exception()) is not None:
        _log.error("outcome.unwritten", code=getattr(why, "code", "internal"))


def publishing(document: Verified[Revisioned], principal: str, now: int) -> Entry:
    """The audit entry of a document that `principal` publishes."""
    row = row_of(document)
    return {
        "at": now,
        "op": "document.delete" if row.deleted else "document.publish",
        "principal": principal,
        "kind": row.kind,
        "id": row.id,
        "rev": row.rev,
        "digest": row.digest,
    }


def check_named(document: TaskDocument) -> None:
    """Raises Malformed where the audit can't name all that a task reads: one path could hide among many long ones."""
    if len(_places(document.targets)) > TARGETS_LIMIT and any(target.reference for target in document.targets):
        raise Malformed(
            "targets_too_long",
            "the names of all that the task is about are longer together than the audit takes",
            "ask for fewer at once",
        )


def _named(targets: Sequence[Target]) -> str:
    named = _places(targets)
    if len(named) <= TARGETS_LIMIT:
        return named
    return ",".join(target.secret or target.connector or "" for target in targets)


def _places(targets: Sequence[Target]) -> str:
    return ",".join(map(_place, targets))


def _place(target: Target) -> str:
    """Its id; and what else it names: the path and version that a connector reads, or the host that an SSHKey logs in to."""
    id = target.secret or target.connector or ""
    if not target.reference and not target.metadata:
        return id
    told = f"/{quote(target.reference, safe='/')}" if target.reference else ""
    version = target.metadata.get("version", "")
    return f"{id}{told}?version={quote(version, safe='')}" if version else f"{id}{told}"
