"""The queue of tasks that may wait for a delegate: kept until their time to start is over, whatever becomes of the manager.

Promises: what `add` has acknowledged is there after a crash, and so is how it ended, for a day or until others' outcomes need
the room; what has ended never waits again. Bounded for each account in number and bytes, and one principal has at most half of
it. It holds what was submitted as it came, sealed and signed. Must not decide when a task runs (`manager.standby`), nor run it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from manager.clock import Clock
from manager.outcomes import Finished
from manager.routing import Wanted
from manager.rows import QueuedRow
from manager.store import AuditEntry, Store, Transaction
from shared.canonical import digest
from shared.errors import Malformed, NotFound, Overloaded, PrivySealError
from shared.task import PRIORITIES, Priority, State

MOST_QUEUED = 1_000
"""Tasks of one account that wait."""

MOST_BYTES = 64 * 1024 * 1024
"""What they weigh together, sealed inputs included; and again as much for the outcomes of those that have ended."""

KEPT_SECONDS = 86_400
RETRY_SECONDS = 60


class Submission(msgspec.Struct, frozen=True, array_like=True):
    """What was submitted: the signed task, its sealed inputs, new documents."""

    compact: str
    inputs: tuple[bytes, ...]
    documents: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Entry:
    """One task that waits, or did until `ended_at`. `wanted` is None until it is known again after a restart."""

    account: str
    task: str
    principal: str
    priority: Priority
    op: str
    keyring: str
    submitted_at: int
    exp: int
    size: int = 0
    state: str = State.QUEUED.value
    code: str = ""
    ended_at: int | None = None
    wanted: Wanted | None = None
    attempts: int = 0
    is_given_up: bool = False
    is_patient: bool = True
    """Whether it may stand in the line for a place when it is tried."""

    not_before: float = 0.0
    """Not to be tried again before this (monotonic)."""

    pause: float = 0.0
    kept: asyncio.Future[None] | None = None
    """Done when it is durable, or with what keeps it from being so; None for one from before."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who ends it while it waits: the second who would finds that it has ended."""


class Queue:
    """One manager's. What it says of its entries is as durable as it says."""

    def __init__(self, store: Store, clock: Clock, most: int = MOST_QUEUED, most_bytes: int = MOST_BYTES) -> None:
        self._store = store
        self._clock = clock
        self._most = most
        self._most_bytes = most_bytes
        self._accounts: dict[str, dict[str, Entry]] = {}
        self._endings: dict[Entry, tuple[int, list[Entry]]] = {}
        """Of those whose end is being written: how much it weighs, and what makes room for it in the same transaction."""

    async def load(self) -> list[Entry]:
        """Those that wait from before, to be called once before any is added."""
        after = ""
        while True:
            page = await self._store.queue(after)
            for account, row in page.items:
                entry = _entry(account, row)
                self._accounts.setdefault(account, {})[row.task] = entry
            if not page.next:
                return list(self)
            after = page.next

    def find(self, account: str, task: str) -> Entry | None:
        """The task's entry, whether it waits or has ended."""
        return self._accounts.get(account, {}).get(task)

    def of(self, account: str) -> list[Entry]:
        """Those of an account that have no end yet."""
        return [one for one in self._accounts.get(account, {}).values() if one.ended_at is None]

    def __iter__(self) -> Iterator[Entry]:
        """Those that have no end yet."""
        for account in list(self._accounts):
            yield from self.of(account)

    async def add(self, entry: Entry, submission: Submission, audit: Sequence[AuditEntry] = ()) -> None:
        """Done when it is durable. Raises Overloaded, and Unavailable where it isn't kept. Cancelling doesn't take it back."""
        kept = msgspec.msgpack.encode(submission)
        entry.size = len(kept)
        self._check_room(entry)
        self._accounts.setdefault(entry.account, {})[entry.task] = entry
        row = QueuedRow(
            entry.task,
            entry.principal,
            entry.priority,
            entry.op,
            entry.keyring,
            entry.submitted_at,
            entry.exp,
            entry.size,
            submission=kept,
        )
        try:
            writing = self._store.write(
                lambda transaction: transaction.put_queued(entry.account, row),
                account=entry.account,
                audit=audit,
                size=len(kept),
            )
        except PrivySealError:
            self._forget([entry])
            raise
        entry.kept = asyncio.ensure_future(writing)
        entry.kept.add_done_callback(lambda done: self._forget([entry]) if done.exception() else None)
        await asyncio.shield(entry.kept)

    async def submission(self, entry: Entry) -> Submission:
        """What was submitted. Raises Unavailable, NotFound where it isn't there, and Malformed for what isn't that task any more."""
        row = await self._store.queued(entry.account, entry.task)
        if row is None or row.submission is None:
            raise NotFound("task_unknown", "the task waits no more")
        try:
            submission = msgspec.msgpack.decode(row.submission, type=Submission)
        except (msgspec.MsgspecError, UnicodeError):
            raise _unreadable() from None
        if not submission.compact.isascii() or digest(submission.compact) != entry.task:
            raise _unreadable()
        return submission

    async def outcome(self, entry: Entry) -> Finished:
        """How a task ended, of one that has. Raises Unavailable, NotFound where it is no longer kept, and Malformed."""
        row = await self._store.queued(entry.account, entry.task)
        if row is None or row.outcome is None:
            raise NotFound("task_unknown", "the task's outcome is kept no more")
        try:
            answer, certificate, sealed = msgspec.msgpack.decode(row.outcome, type=tuple[str, str, bytes])
        except (msgspec.MsgspecError, UnicodeError):
            raise _unreadable() from None
        return Finished(row.task, row.state, row.code, answer, certificate, sealed)

    def ending(self, entry: Entry, finished: Finished) -> Callable[[Transaction], None]:
        """What writes down that it ended so, beside whatever else of it is written; `has_ended` is to follow when it is durable."""
        kept, now = msgspec.msgpack.encode((finished.answer, finished.certificate, finished.sealed)), self._clock.now()
        doomed = self._too_many(entry, finished.size)
        self._endings[entry] = finished.size, doomed
        names = [one.task for one in doomed]

        def run(transaction: Transaction) -> None:
            transaction.end_queued(entry.account, entry.task, finished.state, finished.code, now, kept)
            transaction.drop_queued(entry.account, names)

        return run

    def has_ended(self, entry: Entry, finished: Finished) -> None:
        """It is written down that it ended so."""
        size, doomed = self._endings.pop(entry, (finished.size, []))
        self._forget(doomed)
        entry.state, entry.code, entry.ended_at, entry.size = finished.state, finished.code, self._clock.now(), size
        entry.wanted = None
        entry.ended.set()

    async def prune(self) -> None:
        """Forgets what ended more than a day ago. Raises Unavailable."""
        before = self._clock.now() - KEPT_SECONDS
        for account in list(self._accounts):
            doomed = [one for one in self._ended(account) if (one.ended_at or 0) < before]
            if doomed:
                names = [one.task for one in doomed]
                await self._store.write(
                    lambda transaction, names=names, account=account: transaction.drop_queued(account, names),  # type: ignore[misc]
                    account=account,
                )
                self._forget(doomed)

    @property
    def depth(self) -> int:
        """How many wait."""
        return sum(1 for _ in self)

    def oldest_seconds(self) -> int:
        """For how long the one that came first of all has waited, 0 for none."""
        return max(0, self._clock.now() - min((one.submitted_at for one in self), default=self._clock.now()))

    def _check_room(self, entry: Entry) -> None:
        waiting = [one for one in self.of(entry.account) if one.task != entry.task]
        mine = [one for one in waiting if one.principal == entry.principal]
        half = (self._most + 1) // 2
        if (
            len(waiting) >= self._most
            or len(mine) >= half
            or _bytes(waiting) + entry.size > self._most_bytes
            or _bytes(mine) + entry.size > self._most_bytes // 2
        ):
            raise Overloaded(
                "queue_full",
                "too many tasks of the account wait in the queue for a delegate",
                f"try again in {RETRY_SECONDS} seconds, cancel some of yours (privyseal task list), or start a delegate",
                retry_after=RETRY_SECONDS,
            )

    def _ended(self, account: str) -> list[Entry]:
        return [one for one in self._accounts.get(account, {}).values() if one.ended_at is not None]

    def _too_many(self, entry: Entry, size: int) -> list[Entry]:
        """Those whose outcomes make room for another one: of the principal who holds most, the first to have ended first."""
        self._endings.pop(entry, None)
        others = {one: ending for one, ending in self._endings.items() if one.account == entry.account}
        going = {one for _, doomed in others.values() for one in doomed}
        bytes_, counts = Counter({entry.principal: size}), Counter({entry.principal: 1})
        for one, (weight, _) in others.items():
            bytes_[one.principal] += weight
            counts[one.principal] += 1
        theirs: dict[str, deque[Entry]] = {}
        for one in sorted(self._ended(entry.account), key=lambda one: one.ended_at or 0):
            if one not in going:
                theirs.setdefault(one.principal, deque()).append(one)
                bytes_[one.principal] += one.size
                counts[one.principal] += 1
        doomed: list[Entry] = []
        while theirs and ((heavy := bytes_.total() > self._most_bytes) or counts.total() > self._most):
            most = max(theirs, key=(bytes_ if heavy else counts).__getitem__)
            gone = theirs[most].popleft()
            if not theirs[most]:
                del theirs[most]
            doomed.append(gone)
            bytes_[most] -= gone.size
            counts[most] -= 1
        return doomed

    def _forget(self, entries: Iterable[Entry]) -> None:
        for one in entries:
            self._endings.pop(one, None)
            account = self._accounts.get(one.account, {})
            if account.get(one.task) is one:
                del account[one.task]
                if not account:
                    del self._accounts[one.account]


def _bytes(entries: Iterable[Entry]) -> int:
    return sum(one.size for one in entries)


def _unreadable() -> Malformed:
    return Malformed(
        "queue_unreadable", "what the database keeps of the task isn't what was submitted", "sign a new one"
    )


def _entry(account: str, row: QueuedRow) -> Entry:
    entry = Entry(
        account,
        row.task,
        row.principal,
        # A damaged row keeps no other task from being tried, nor the manager from starting.
        row.priority if row.priority in PRIORITIES else "normal",
        row.op,
        row.keyring,
        row.submitted_at,
        row.exp,
        row.size,
        row.state,
        row.code,
        row.ended_at,
    )
    if row.ended_at is not None:
        entry.ended.set()
    return entry
