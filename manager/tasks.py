"""The tasks under way: each once at a time, whoever asks for it how often, and those that wait in the queue when their time comes.

What is done for one is `manager.execution`; this file only remembers which are under way and who may ask after them.
"""

from __future__ import annotations

import asyncio

from manager.authentication import Caller
from manager.books import Books
from manager.clock import Clock
from manager.deferred import Deferred
from manager.dispatch import Dispatcher
from manager.endings import Endings
from manager.execution import Execution, Submitted
from manager.history import History
from manager.metrics import ManagerMetrics
from manager.outcomes import Finished, Outcomes
from manager.queue import Entry
from manager.store import Store
from shared.documents.jws import parse_as
from shared.documents.task import TaskDocument
from shared.errors import Overloaded, PrivySealError, Unavailable
from shared.task import State

__all__ = ["Submitted", "Tasks"]


class Tasks:
    """Runs submitted tasks, each once at a time."""

    def __init__(
        self, store: Store, books: Books, dispatcher: Dispatcher, clock: Clock, metrics: ManagerMetrics
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        endings = Endings(clock, metrics)
        self._history = History(store, clock, endings)
        self._outcomes = Outcomes(clock)
        self._running: dict[tuple[str, str, str], asyncio.Task[Finished]] = {}
        self.deferred = Deferred(store, clock, self._history, dispatcher, self._resume)
        self._execution = Execution(
            store, books, dispatcher, clock, endings, self._history, self._outcomes, self.deferred
        )

    async def submit(self, caller: Caller, submitted: Submitted) -> asyncio.Task[Finished]:
        """The task, running: the one already under way where the same signed task was submitted before.

        Raises what is wrong with it before it runs. The asyncio task must be shielded from a submitter who leaves.
        """
        name = (caller.account, caller.kid, submitted.task)
        under_way = self._running.get(name)
        if under_way is None:
            under_way = asyncio.create_task(self._execution.run(caller, submitted), name=f"task {name[2]}")
            self._running[name] = under_way
            under_way.add_done_callback(lambda done: self._over(name, done))
            # Whatever becomes of it; where it ran, its span has ended.
            under_way.add_done_callback(lambda _: submitted.span.end("task_known"))
        else:
            submitted.span.end("task_known")
        return under_way

    async def submit_lasting(self, caller: Caller, submitted: Submitted, wait: float) -> Finished:
        """The outcome of a task that may wait, within so many seconds; else its state, when it is durable that it has none yet.

        Raises what is wrong with it, Overloaded where too many wait, and Unavailable where it isn't kept.
        """
        running = await self.submit(caller, submitted)
        task = submitted.task
        if not running.done():
            accepting = asyncio.create_task(self._execution.accepted(caller, task).wait())
            try:
                await asyncio.wait({running}, timeout=wait)
                await asyncio.wait({running, accepting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                accepting.cancel()
        if running.done() or self._execution.is_ending(caller, task):
            return await asyncio.shield(running)
        await self._execution.keep(caller, submitted, parse_as(TaskDocument, submitted.compact).document)
        return running.result() if running.done() else Finished(task, "running", "")

    def _resume(self, entry: Entry) -> None:
        """Tries one that waits in the queue, as if it were submitted now."""
        caller = Caller(entry.account, entry.principal)
        name = (entry.account, entry.principal, entry.task)
        if name in self._running:
            # Its submitter asks for it in this very moment.
            self.deferred.returned(caller, entry.task)
            return
        under_way = asyncio.create_task(self._run_queued(caller, entry), name=f"task {entry.task}")
        self._running[name] = under_way
        under_way.add_done_callback(lambda done: self._over(name, done))

    async def _run_queued(self, caller: Caller, entry: Entry) -> Finished:
        try:
            kept = await self.deferred.queue.submission(entry)
            submitted = Submitted(kept.compact, kept.inputs, kept.documents, priority=entry.priority, may_wait=True)
            return await self._execution.run(caller, submitted, entry)
        except PrivySealError as why:
            # What speaks against it for good has ended it, unless it isn't even that task or that caller's any more.
            if not isinstance(why, Overloaded | Unavailable) and entry.ended_at is None:
                await self.deferred.end(entry, State.FAILED, why.code)
            raise

    async def cancel(self, caller: Caller, task: str) -> bool:
        """Gives up a task of the caller's; whether there is one. One that waits in the queue has ended durably then.

        What may not run twice may have happened all the same. Raises Unavailable.
        """
        assignment = self._dispatcher.running(caller.account).get(task)
        mine = assignment if assignment is not None and assignment.principal == caller.kid else None
        entry = self.deferred.find(caller, task)
        if entry is None or entry.ended_at is not None:
            if mine is not None:
                await self._dispatcher.cancel(mine)
            return mine is not None
        entry.is_given_up = True
        running = self.running(caller, task)
        if mine is not None:
            await self._dispatcher.cancel(mine)
        if running is not None:
            await asyncio.wait({running})
        if entry.ended_at is None:
            await self.deferred.end(entry, State.CANCELLED, "cancelled")
        return True

    def _over(self, name: tuple[str, str, str], done: asyncio.Task[Finished]) -> None:
        del self._running[name]
        caller, task = Caller(name[0], name[1]), name[2]
        self._execution.is_over(caller, task)
        self.deferred.returned(caller, task)
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
        await self.deferred.recover()

    async def drain(self) -> None:
        """Waits for all that are under way, but for those that only wait and are kept."""
        self.deferred.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._history.write_ended()

    async def settled(self, account: str) -> None:
        """Waits until the store has what has ended so far, for whoever reads it back."""
        self._history.write_ended()
        await self._store.settled(account)
