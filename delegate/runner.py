"""Runs tasks side by side, as many as there are places, and answers each delivery of one with the same reply.

Promises: a task that is delivered again while it runs, over a new stream perhaps, isn't run twice; every task ends within
its time, a command within its own, and a command when the stream that its output goes to breaks; one line in the log for each
that ended. Whether a task may run is `delegate.tasks`. Must not wait for the stream: what can't be delivered is remembered
for a while and then forgotten.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from delegate.clock import Clock
from delegate.delivery import END_SECONDS
from delegate.metrics import DelegateMetrics
from delegate.tasks import Course, Performed, Tasks
from shared.documents.task import REPEAT
from shared.errors import Conflict, PrivySealError, Unavailable
from shared.messages import Need, Output, Progress, Result, Task
from shared.metrics import Outcome
from shared.tracing import Span, Tracer, Untraced, size_class

MOST_REMEMBERED = 64
REMEMBERED_BYTES = 8 * 1024 * 1024
"""Replies that are kept for a second delivery."""

_log = structlog.get_logger()


class Outlet(Protocol):
    """Where replies go: the stream that a task came by. It may be gone."""

    def reply(self, message: Result | Need) -> None: ...

    def report(self, message: Progress) -> None: ...

    async def emit(self, message: Output) -> None: ...

    async def ended(self) -> None: ...


@dataclass(slots=True)
class _Execution:
    """One running task, the `Delivery` of who performs it; `message` and `outlet` are those of its last delivery."""

    message: Task
    outlet: Outlet
    running: asyncio.Task[None] | None = None
    limit: asyncio.Timeout | None = None
    watching: asyncio.Task[None] | None = None
    """Waits for the end of the stream, for a task that ends by itself when it is told to."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reason: PrivySealError | None = None
    """Why it is being ended, if it is."""

    def progressed(self, done: int, total: int) -> None:
        """Tell the manager how far it is."""
        self.outlet.report(Progress(self.message.id, self.message.attempt, done, total))

    async def emit(self, index: int, data: bytes, opening: str = "") -> None:
        """Send a part of its output."""
        await self.outlet.emit(Output(self.message.id, self.message.attempt, index, data, opening))

    def lasts(self, seconds: float) -> None:
        """Give it that time instead of the usual one."""
        self._expire_in(seconds + END_SECONDS)
        self.watching = asyncio.create_task(self._watch())

    def end(self, reason: PrivySealError) -> None:
        """Have it end, by itself if it does so."""
        if self.running is None or self.reason is not None:
            return
        self.reason = reason
        if self.watching is None:
            self.running.cancel()
        else:
            self.stop.set()
            self._expire_in(END_SECONDS)

    async def _watch(self) -> None:
        await self.outlet.ended()
        _log.warning("command.abandoned", task=self.message.id[:64], hint="nobody learns how it ended: it is stopped")
        self.end(Unavailable("stream_lost", "the stream to the manager broke while the command ran"))

    def _expire_in(self, seconds: float) -> None:
        if self.limit is not None:
            self.limit.reschedule(asyncio.get_running_loop().time() + seconds)


class Runner:
    """The tasks that run here now. `capacity` bounds them; the stream's credits keep the manager within it."""

    def __init__(
        self, tasks: Tasks, capacity: int, timeout_seconds: float, clock: Clock, metrics: DelegateMetrics, name: str
    ) -> None:
        self.capacity = capacity
        self._tasks = tasks
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._name = name
        self._running: dict[str, _Execution] = {}
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._result_bytes = 0
        self._draining = False
        self.tracer: Tracer = Untraced()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def executing(self) -> int:
        """How many tasks run."""
        return len(self._running)

    def accept(self, message: Task, outlet: Outlet) -> None:
        """Run a task, or attach its outlet to the run that there is."""
        known = self._running.get(message.id)
        if known is not None:
            known.message, known.outlet = message, outlet
            return
        result = self._results.get(message.id)
        if result is not None:
            outlet.reply(replace(result, attempt=message.attempt))
            return
        if self._draining:
            why = Unavailable("delegate_draining", "the delegate is ending and takes no new tasks", "another one will")
            outlet.reply(self._tasks.refused(message, why).reply)
            return
        execution = _Execution(message, outlet)
        self._running[message.id] = execution
        self._idle.clear()
        execution.running = asyncio.create_task(self._execute(execution))

    def cancel(self, id: str) -> None:
        """End a task that nobody waits for."""
        execution = self._running.get(id)
        if execution is not None:
            execution.end(Conflict("task_cancelled", "the task was cancelled"))

    async def drain(self, seconds: float) -> int:
        """Take no new tasks and wait for the running ones; gives how many were cut off when the time was over."""
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
            return 0
        except TimeoutError:
            left = list(self._running.values())
        for execution in left:
            execution.end(Unavailable("delegate_draining", "the delegate ended before the task did", "try again"))
        await self._idle.wait()
        return len(left)

    async def _execute(self, execution: _Execution) -> None:
        began = self._clock.monotonic()
        self._metrics.started()
        timed_out = False
        course = Course(
            self.tracer.begin("delegate.task", execution.message.traceparent, task=execution.message.id[:64])
        )
        try:
            try:
                async with asyncio.timeout(self._timeout_seconds) as execution.limit:
                    performed = await self._tasks.perform(execution.message, execution, course)
            except TimeoutError:
                timed_out = True
                why: PrivySealError = execution.reason or Unavailable(
                    "task_late", "the task took longer than the delegate allows", "try again"
                )
                performed = self._ended(execution.message, why, course)
            except asyncio.CancelledError:
                if execution.reason is None:
                    raise
                performed = self._ended(execution.message, execution.reason, course)
        finally:
            if execution.watching is not None:
                execution.watching.cancel()
            del self._running[execution.message.id]
            if not self._running:
                self._idle.set()
        is_fine, is_run = performed.code in {"ok", "partial"}, bool(execution.message.run)
        # A run that began and failed doesn't begin again: who asks once more is told how it failed.
        if isinstance(performed.reply, Result) and (is_fine or (is_run and performed.began)):
            self._remember(performed.reply, is_run or REPEAT[performed.op] == "any")
        execution.outlet.reply(replace(performed.reply, attempt=execution.message.attempt))
        # When the reply is on its way: writing the line takes as long as some of the checks.
        seconds = self._clock.monotonic() - began
        asyncio.get_running_loop().call_soon(
            self._report, execution.message, performed, began, seconds, timed_out, course.span
        )

    def _ended(self, message: Task, why: PrivySealError, course: Course) -> Performed:
        """The reply to a task that didn't end by itself, with what was known of it by then."""
        refused = self._tasks.refused(message, why)
        return replace(refused, op=course.op, targets=course.targets, kid=course.kid, began_at=course.began_at)

    def _remember(self, result: Result, is_repeatable: bool) -> None:
        """Keep the result of a task that may be delivered twice; one that may not is refused when it comes again."""
        size = _size(result)
        if not is_repeatable or size > REMEMBERED_BYTES // 4:
            return
        self._results[result.id] = result
        self._result_bytes += size
        while len(self._results) > MOST_REMEMBERED or self._result_bytes > REMEMBERED_BYTES:
            self._result_bytes -= _size(self._results.popitem(last=False)[1])

    def _report(
        self, message: Task, performed: Performed, began: float, seconds: float, timed_out: bool, span: Span
    ) -> None:
        sizes = _sizes(message, performed.reply)
        span.tell(op=performed.op, targets=performed.targets, **sizes)
        span.end(performed.code)
        fine = performed.code in {"ok", "partial"}
        if isinstance(performed.reply, Need):
            self._metrics.executing.dec()
            self._metrics.deferred.inc()
            _log.debug("task.deferred", task=message.id[:64], count=len(performed.reply.digests))
            return
        verified = seconds if performed.began_at is None else performed.began_at - began
        if performed.began or timed_out:
            outcome: Outcome = "timed_out" if timed_out else "completed" if fine else "failed"
            self._metrics.finished(performed.op, outcome, seconds, performed.code)
        else:
            self._metrics.executing.dec()
            self._metrics.rejected(performed.op, performed.code)
        _log.info(
            "task.finished",
            task=message.id[:64],
            attempt=message.attempt,
            op=performed.op,
            code=performed.code,
            targets=performed.targets,
            thumbprint=performed.kid,
            delegate=self._name,
            verify_ms=round(verified * 1000, 3),
            execution_ms=round((seconds - verified) * 1000, 3),
            duration_ms=round(seconds * 1000, 3),
            **sizes,
        )


def _sizes(message: Task, reply: Result | Need) -> dict[str, str]:
    """Classes of what came and what goes."""
    given = sum(map(len, (*message.inputs, *message.stored, *message.credentials)))
    return {
        "size_in": size_class(given),
        "size_out": size_class(len(reply.sealed) + sum(map(len, reply.stored)) if isinstance(reply, Result) else 0),
    }


def _size(result: Result) -> int:
    return len(result.sealed) + sum(map(len, result.stored)) + len(result.answer)
