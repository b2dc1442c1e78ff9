"""How tasks ended, for whoever runs the manager: counted, and one line in the log for each.

Promises: no task ends without its line, and none has two; the line is written when its submitter's answer is on its way. It is
not the audit, which `manager.history` writes. Must not say what the delegate alone knows: that is sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.clock import Clock
from manager.metrics import ManagerMetrics
from shared.documents.task import TaskDocument
from shared.errors import PrivySealError
from shared.messages import Result
from shared.metrics import known
from shared.task import State
from shared.tracing import Span, size_class

_log = structlog.get_logger()


class Endings:
    """One manager's."""

    def __init__(self, clock: Clock, metrics: ManagerMetrics) -> None:
        self._clock = clock
        self._metrics = metrics

    @contextmanager
    def settling(
        self, caller: Caller, assignment: Assignment, document: TaskDocument, result: Result
    ) -> Iterator[None]:
        """A delegate answered, and now all is written: where that fails, so has the task."""
        try:
            yield
        except PrivySealError as why:
            assignment.life = replace(assignment.life, state=State.FAILED, code=why.code)
            self.failed(caller, assignment, document)
            raise
        life = assignment.life
        self._metrics.ended(document.op, "completed" if life.state is State.DONE else "failed", life.code)
        self._over(caller, assignment, document, len(result.sealed) + sum(map(len, result.stored)))

    def failed(self, caller: Caller, assignment: Assignment, document: TaskDocument) -> None:
        """It ended without an answer; only the first of its ends is told."""
        if assignment.is_told:
            return
        assignment.is_told, life = True, assignment.life
        self._metrics.ended(document.op, "timed_out" if life.state is State.EXPIRED else "failed", life.code)
        self._over(caller, assignment, document, 0)

    def closed(self, caller: Caller, op: str, targets: int, task: str, state: State, code: str, seconds: int) -> None:
        """It ended in the queue, after so many seconds."""
        self._metrics.ended(op, "timed_out" if state is State.EXPIRED else "failed", code)
        self._write(
            account=caller.account,
            task=task,
            op=op,
            code=code,
            state=state.value,
            thumbprint=caller.kid,
            targets=targets,
            attempt=0,
            duration_ms=seconds * 1000,
        )

    def refused(
        self, caller: Caller, document: TaskDocument, task: str, why: PrivySealError, span: Span, arrived: float
    ) -> None:
        """It was refused before anybody was asked."""
        self._metrics.rejected(document.op, why.code)
        span.end(why.code)
        self._write(
            account=caller.account,
            task=task,
            op=document.op,
            code=why.code,
            state="refused",
            thumbprint=caller.kid,
            targets=len(document.targets),
            attempt=0,
            duration_ms=self._since(arrived),
        )

    def _over(self, caller: Caller, assignment: Assignment, document: TaskDocument, size_out: int) -> None:
        life, times = assignment.life, assignment.times
        self._metrics.tasks.labels(known(document.op)).observe(self._clock.monotonic() - times.arrived)
        sizes = {"size_in": size_class(assignment.size), "size_out": size_class(size_out)}
        assignment.span.tell(attempt=life.attempt, targets=len(document.targets), **sizes)
        assignment.span.end(life.code or life.state.value)
        self._write(
            account=caller.account,
            task=assignment.id,
            op=document.op,
            code=life.code or life.state.value,
            state=life.state.value,
            thumbprint=caller.kid,
            delegate=assignment.name,
            targets=len(document.targets),
            attempt=life.attempt,
            queue_ms=_ms(times.queued),
            dispatch_ms=_ms(times.handed - times.arrived) if times.handed else None,
            execution_ms=_ms(times.executed),
            duration_ms=self._since(times.arrived),
            **sizes,
        )

    def _since(self, arrived: float) -> float:
        return _ms(self._clock.monotonic() - arrived)

    @staticmethod
    def _write(**known: str | float | None) -> None:
        # After the answer: writing a line takes as long as some of the checks.
        asyncio.get_running_loop().call_soon(lambda: _log.info("task.finished", **known))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
