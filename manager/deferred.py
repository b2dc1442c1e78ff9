"""Tasks that may wait for a delegate, from the moment in which nobody can take one until it has ended.

Promises: nobody is told that a task is kept before it is durable; each ends once, with its reason, in the same transaction as
what its end changes; who asks for it is told, also after a restart. What runs it is `manager.tasks`, anew each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.authentication import Caller
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.history import History
from manager.outcomes import Finished
from manager.queue import Entry, Queue, Submission
from manager.routing import Wanted
from manager.standby import Standby
from manager.store import Store, Transaction
from shared.documents.jws import parse_as
from shared.documents.task import TaskDocument
from shared.errors import Malformed, NotFound, PrivySealError
from shared.task import Priority, State

QUEUED = State.QUEUED.value


class Deferred:
    """One manager's. `resume` tries a task that waits; when that is over, `returned` is to be called."""

    def __init__(
        self, store: Store, clock: Clock, history: History, dispatcher: Dispatcher, resume: Callable[[Entry], None]
    ) -> None:
        self.queue = Queue(store, clock)
        self._clock = clock
        self._history = history
        self._dispatcher = dispatcher
        self._standby = Standby(clock, dispatcher, resume, self._expire)
        dispatcher.offered = self._standby.stir

    async def recover(self) -> None:
        """Those that waited when the manager ended wait on: each is checked anew when it is tried."""
        for entry in await self.queue.load():
            self._standby.enter(entry)

    async def watch(self) -> None:
        """Tries and ends them, until it is cancelled."""
        await self._standby.watch()

    def close(self) -> None:
        """No more are tried, and those that only wait are let go: they are kept."""
        self._standby.close()
        self._dispatcher.put_back()

    def find(self, caller: Caller, task: str) -> Entry | None:
        """The caller's task, whether it waits or has ended."""
        entry = self.queue.find(caller.account, task)
        return entry if entry is not None and entry.principal == caller.kid else None

    async def keep(
        self,
        caller: Caller,
        document: TaskDocument,
        task: str,
        submission: Submission,
        priority: Priority,
        *,
        wanted: Wanted | None = None,
        attempts: int = 0,
    ) -> None:
        """Done when it is durable; where it is so already, it only waits again. Raises Overloaded and Unavailable."""
        entry = self.queue.find(caller.account, task)
        if entry is None:
            now = self._clock.now()
            entry = Entry(caller.account, task, caller.kid, priority, document.op, document.keyring, now, document.exp)
            await self.queue.add(entry, submission, [self._history.told(caller, document, task, QUEUED, "")])
        elif entry.kept is not None:
            await asyncio.shield(entry.kept)
        entry.wanted, entry.attempts = wanted, attempts

    def returned(self, caller: Caller, task: str) -> None:
        """A task of the caller's is under way no more; where it is kept and that wasn't its end, it waits again."""
        entry = self.find(caller, task)
        if entry is None or entry.closing.locked():
            return
        if entry.ended_at is None:
            self._standby.enter(entry)
        else:
            self._standby.leave(entry)

    def is_open(self, caller: Caller, task: str) -> bool:
        """Whether the caller's task is kept and has no end yet."""
        entry = self.find(caller, task)
        return entry is not None and entry.ended_at is None

    def ending(self, caller: Caller, finished: Finished) -> Callable[[Transaction], None] | None:
        """What writes down the end of a task that is kept, None for any other; then `has_ended`."""
        entry = self.queue.find(caller.account, finished.task)
        return self.queue.ending(entry, finished) if entry is not None and entry.ended_at is None else None

    def has_ended(self, caller: Caller, finished: Finished) -> None:
        """That is durable."""
        entry = self.queue.find(caller.account, finished.task)
        if entry is not None and entry.ended_at is None:
            self.queue.has_ended(entry, finished)

    async def told(self, entry: Entry, wait: float) -> Finished:
        """How it ended, waited for; or that it hasn't. Raises NotFound where that is kept no more, Unavailable."""
        if entry.kept is not None:
            await asyncio.shield(entry.kept)
        try:
            async with asyncio.timeout(wait):
                await entry.ended.wait()
        except TimeoutError:
            running = self._dispatcher.running(entry.account).get(entry.task)
            is_running = running is not None and running.life.state is State.LEASED
            return Finished(entry.task, "running" if is_running else QUEUED, "")
        return await self.queue.outcome(entry)

    async def end(self, entry: Entry, state: State, code: str) -> None:
        """Ends one that waits and isn't being tried, unless it has ended. Raises Unavailable, and then it waits on."""
        async with entry.closing:
            if entry.ended_at is None:
                await self._end(entry, state, code)

    async def _end(self, entry: Entry, state: State, code: str) -> None:
        self._standby.leave(entry)
        try:
            finished = Finished(entry.task, state.value, code)
            document = await self._document(entry)
            await self._history.closed(entry, document, state, code, self.queue.ending(entry, finished))
        except PrivySealError:
            self._standby.enter(entry, again=True)
            raise
        self.queue.has_ended(entry, finished)

    async def _document(self, entry: Entry) -> TaskDocument | None:
        """The task of one that waits; None where it can't be read any more, which is no reason that it doesn't end."""
        try:
            submission = await self.queue.submission(entry)
            return parse_as(TaskDocument, submission.compact).document
        except (Malformed, NotFound):
            return None

    async def _expire(self, entry: Entry) -> None:
        await self.end(entry, State.EXPIRED, "expired")


def check_deferrable(document: TaskDocument) -> None:
    """Raises Malformed for what may not run twice: where its delegate isn't there, nobody else may do it later."""
    if document.repeat != "any":
        raise Malformed(
            "task_not_queueable",
            "the task may run only once, on the delegate that it names, and can't wait in the queue",
            "run it when that delegate is there",
        )
