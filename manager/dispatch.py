"""Dispatching: each task to the delegate that routing chooses, and again when that one is lost.

Decisions are `routing` (who) and `shared.task` (what now); this file only waits. A task lives here while its submitter's
request does; what must survive a restart is what the submitter holds, a signed task that he can send again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog
from msgspec import structs

from manager.assignment import Assignment
from manager.clock import Clock
from manager.conversation import Lost, converse
from manager.fleet import Delegate, Fleet
from manager.metrics import ManagerMetrics
from manager.outputs import Outputs
from manager.pace import Pace
from manager.probes import Probes
from manager.prospects import Prospects, wanted_by
from manager.routing import CLOCK_WRONG, Candidate, Wanted, explain, fits
from manager.timekeeping import Timekeeping
from manager.waiting import MOST_WAITING, NoPlace, Waiting, is_full
from shared.canonical import digest
from shared.documents.answer import AnswerDocument
from shared.documents.jws import parse_as
from shared.errors import Conflict, Expired, Malformed, NotReady, Overloaded, Unavailable
from shared.messages import Need, Output, Progress, Result
from shared.metrics import known
from shared.session import Side
from shared.task import FINAL, RETRYABLE_CODES, State

MOST_RUNNING = 4_096
"""Tasks of one account at once; more is answered as Overloaded."""

MOST_BYTES = 256 * 1024 * 1024
"""Inputs and records of one account's tasks that are held at once."""

MOST_NEEDS = 3
GRACE_SECONDS = 5.0
"""How long a task whose delegate was lost waits for one to come back."""

EXECUTION_SECONDS = 600.0
"""How long a delegate may take; then it counts as lost."""

_log = structlog.get_logger()


class Dispatcher:
    """Holds the tasks that run and those that wait for a free delegate."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        metrics: ManagerMetrics,
        grace_seconds: float = GRACE_SECONDS,
        execution_seconds: float = EXECUTION_SECONDS,
        most_waiting: int = MOST_WAITING,
        probes: Probes | None = None,
    ) -> None:
        self._fleet = fleet
        self.probes = probes or Probes(fleet, clock, metrics)
        self._clock = clock
        self.outputs = Outputs(clock)
        self._metrics = metrics
        self._grace_seconds = grace_seconds
        self._execution_seconds = execution_seconds
        self._running: dict[str, dict[str, Assignment]] = {}
        self._waiting = Waiting(most_waiting)
        self.prospects = Prospects(fleet, self.probes, self._waiting, grace_seconds, self._take, self._no_delegate)
        self.probes.mended, self.probes.failed = self.offer, self.prospects.failed
        self.clocks = Timekeeping(fleet, clock, self.offer, self.prospects.narrowed)
        self._bytes: dict[str, int] = {}
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self.offered: Callable[[str], None] = _nobody
        """Told of each account of which a delegate had places, when those that wait have taken theirs."""

    def running(self, account: str) -> dict[str, Assignment]:
        """The account's tasks that have no end yet, by digest."""
        return self._running.get(account, {})

    async def run(self, assignment: Assignment) -> tuple[Result, AnswerDocument]:
        """A delegate's result and the answer in it; `assignment.life` is DONE or FAILED then.

        The answer is parsed, not believed: its reader verifies it. Raises NotReady (no delegate fits, each with its
        reasons), Unavailable (lost, or unknown for `never`), Expired, Conflict (cancelled), Overloaded.
        `assignment.life` is final in each case. Raises NoPlace, and it is not, where it is kept and nobody can take it now.
        """
        running = self._running.setdefault(assignment.account, {})
        held, size = self._bytes.get(assignment.account, 0), assignment.size
        if is_full(running.values(), assignment.principal, MOST_RUNNING) or held + size > MOST_BYTES:
            if assignment.is_kept:
                raise NoPlace
            raise self._overloaded(assignment, "tasks_too_many", "too many tasks of the account are running")
        running[assignment.id] = assignment
        self._bytes[assignment.account] = held + size
        if assignment.seconds:
            self.outputs.begin(assignment.account, assignment.id, assignment.principal)
        try:
            return await self._run(assignment)
        finally:
            self.outputs.end(assignment.account, assignment.id)
            del running[assignment.id]
            self._bytes[assignment.account] -= size
            if assignment.life.attempt:
                self._paces[assignment.account].ended(self._clock.monotonic())

    def _overloaded(self, assignment: Assignment, code: str, detail: str) -> Overloaded:
        """Answered at once, with the time that the line before it will take."""
        assignment.life = assignment.life.refused("overloaded")
        waiting = self._waiting.count(assignment.account) + 1
        seconds = self._paces[assignment.account].seconds_for(waiting, self._clock.monotonic())
        hint = f"try again in {seconds} seconds; privyseal delegate list shows who is busy or over a limit"
        return Overloaded(code, detail, hint, retry_after=seconds)

    async def _run(self, assignment: Assignment) -> tuple[Result, AnswerDocument]:
        needs = 0
        assignment.times.arrived = assignment.times.arrived or self._clock.monotonic()
        while True:
            if assignment.is_given_up:
                assignment.life = assignment.life.cancelled()
                raise _cancelled()
            began = self._clock.monotonic()
            try:
                with assignment.span.child("manager.queue"):
                    delegate = await self._seat(assignment)
            finally:
                assignment.times.queued += self._clock.monotonic() - began
            self._metrics.executing.inc()
            try:
                with assignment.span.child("manager.dispatch", attempt=assignment.life.attempt) as span:
                    assignment.traceparent = span.traceparent
                    reply = await converse(
                        assignment,
                        delegate,
                        self._clock,
                        self._execution_seconds + assignment.seconds,
                        partial(self._handed, assignment, delegate),
                    )
            except Lost:
                self._record_loss(assignment, delegate)
                self._metrics.redispatched.labels("lost").inc()
                continue
            finally:
                self._metrics.executing.dec()
                assignment.delegate = assignment.reply = None
            if isinstance(reply, Need):
                needs += 1
                delegate.sent.difference_update(reply.digests)
                if needs > MOST_NEEDS:
                    assignment.life = assignment.life.answered("internal", others=False)
                    raise Unavailable(
                        "documents_refused",
                        "the delegate doesn't accept the documents that the task acts on",
                        "look for document.refused in the delegate's log",
                    )
                assignment.life = assignment.life.needed()
                assignment.trail.note(self._clock.now(), "needs", delegate.kid, delegate.name)
                continue
            answer = self._read(assignment, reply)
            if is_off := self.clocks.is_at_fault(delegate, answer):
                code = CLOCK_WRONG
            else:
                code = answer.code
                self.probes.answered(delegate, assignment.wanted, assignment.documents, code)
            others = (is_off or code in RETRYABLE_CODES) and self._could_other(assignment)
            life = assignment.life.answered("not_ready" if is_off else code, others=others)
            assignment.life = replace(life, code=answer.code)
            if life.state in FINAL:
                return reply, answer
            assignment.tried.add(delegate.kid)
            assignment.trail.note(self._clock.now(), "answered", delegate.kid, delegate.name, code)
            self._metrics.redispatched.labels("answer").inc()

    def _record_loss(self, assignment: Assignment, delegate: Delegate) -> None:
        assignment.life = assignment.life.lost()
        assignment.trail.note(self._clock.now(), "lost", delegate.kid, delegate.name, "delegate_lost")
        assignment.tried.add(delegate.kid)
        if not delegate.online:
            assignment.gone.add(delegate.kid)
        _log.warning("task.lost", account=assignment.account, task=assignment.id, delegate=delegate.name)
        if assignment.life.state is State.UNKNOWN:
            raise Unavailable(
                "outcome_unknown",
                "the delegate was lost while it ran the task, which must not run twice: its outcome is unknown",
                "look at what it was to change before you try again",
            )
        if assignment.life.state is State.FAILED:
            raise Unavailable("delegate_lost", "every delegate that took the task was lost", "try again")

    def _read(self, assignment: Assignment, result: Result) -> AnswerDocument:
        try:
            answer = parse_as(AnswerDocument, result.answer).document
        except Malformed:
            answer = None
        is_run = answer is not None and assignment.run and answer.task == digest(assignment.compact)
        if answer is not None and is_run and self._could_other(assignment):
            # By a delegate from before there were orders, to which this is no task.
            return structs.replace(answer, code="not_ready")
        if answer is None or answer.task != assignment.id:
            assignment.life = assignment.life.answered("internal", others=False)
            raise Unavailable("answer_malformed", "the delegate's answer can't be read", "update the delegate")
        return answer

    _wanted = staticmethod(wanted_by)

    def _could_other(self, assignment: Assignment) -> bool:
        wanted = replace(assignment.wanted, tried=frozenset({*assignment.tried, assignment.life.delegate}))
        return self._fleet.could_wait(assignment.account, wanted)

    def could_wait(self, account: str, wanted: Wanted) -> bool:
        """Whether some delegate may have it, now or when it is less busy."""
        return self._fleet.could_wait(account, wanted)

    def has_place(self, account: str, wanted: Wanted) -> bool:
        """Whether some delegate may have it now."""
        return self._fleet.choose(account, wanted, "") is not None

    def is_served(self, account: str, task: str) -> bool:
        """Whether a delegate has that task."""
        assignment = self.running(account).get(task)
        return assignment is not None and assignment.life.state is State.LEASED

    def _candidates(self, assignment: Assignment) -> list[Candidate]:
        return self._fleet.candidates(assignment.account, self._clock.now(), assignment.id)

    async def _seat(self, assignment: Assignment) -> Delegate:
        """A delegate that has the task on its books: one with a free place, at once or when there is one."""
        if assignment.gone and not self._fleet.could_wait(assignment.account, self._wanted(assignment)):
            # Nobody else could. One whose line broke is back soon, and goes on with what it has begun.
            assignment.tried -= assignment.gone
            assignment.gone.clear()
        now, wanted = self._clock.now(), self._wanted(assignment)
        chosen = self._fleet.choose(assignment.account, wanted, assignment.id)
        self.probes.rescue(assignment.account, wanted, assignment.documents, None)
        if chosen is not None:
            return self._take(assignment, chosen, self._fleet.why(chosen))
        patience: float = max(0, assignment.exp - now)
        # What has begun already is not sent away: it has its place among those that run.
        is_crowded = not assignment.life.attempt and self._waiting.is_full_for(assignment)
        could_wait = self._fleet.could_wait(assignment.account, wanted)
        if assignment.is_kept and (is_crowded or not could_wait or not assignment.is_patient):
            raise NoPlace
        if not could_wait:
            if not assignment.life.attempt:
                assignment.life = assignment.life.refused("no_delegate")
                raise self._no_delegate(assignment)
            patience = min(patience, self._grace_seconds)
        if is_crowded:
            raise self._overloaded(assignment, "queue_full", "too many tasks of the account wait for a free delegate")
        assignment.seat = asyncio.get_running_loop().create_future()
        self._waiting.enter(assignment)
        assignment.trail.note(now, "waits")
        self._tell(assignment)
        self.prospects.rescue(assignment)
        try:
            async with asyncio.timeout(patience):
                return await assignment.seat
        except TimeoutError:
            if not assignment.seat.cancelled():  # given a place, or given up, in the same moment
                return assignment.seat.result()
            if self._clock.now() >= assignment.exp:
                assignment.life = assignment.life.expired()
                raise Expired(
                    "task_expired", "the task's time to start ran out while it waited", "sign a new one"
                ) from None
            if self.could_wait(assignment.account, self._wanted(assignment)):
                return await self._seat(assignment)  # somebody has come meanwhile, and is busy
            assignment.life = assignment.life.refused("no_delegate")
            raise self._no_delegate(assignment) from None
        finally:
            assignment.seat = None
            self._waiting.leave(assignment)

    def _take(self, assignment: Assignment, delegate: Delegate, why: str) -> Delegate:
        """Puts the task on the delegate's books before anything is awaited, so that no other takes the same place."""
        assignment.life = assignment.life.dispatched(delegate.kid)
        assignment.delegate, assignment.name = delegate, delegate.name
        assignment.trail.note(self._clock.now(), "chosen", delegate.kid, delegate.name, why=why)
        assignment.certificate = delegate.certificate.compact
        assignment.reply = asyncio.get_running_loop().create_future()
        delegate.session.record(Side.MANAGER, assignment.task())
        self._fleet.take_turn(delegate)
        return delegate

    def _tell(self, assignment: Assignment, chosen: str = "") -> None:
        """Who can't have the task now, on its trail."""
        account, wanted, now = assignment.account, self._wanted(assignment), self._clock.now()
        assignment.trail.tell(self._fleet.passed_over(account, wanted, now, assignment.id, chosen))

    def _no_delegate(self, assignment: Assignment) -> NotReady:
        assignment.trail.note(self._clock.now(), "refused", code="no_delegate")
        self._tell(assignment)
        rows, others = explain(self._candidates(assignment), self._wanted(assignment))
        if not rows:
            detail, hint = "no delegate is connected to this account", "start one: privyseal-delegate --help"
        else:
            detail, hint = "no known delegate can take the task", "each delegate's reasons are listed"
        return NotReady("no_delegate", detail, hint, delegates=rows, **({"others": others} if others else {}))

    def _handed(self, assignment: Assignment, delegate: Delegate) -> None:
        """It is on its way to a delegate."""
        times = assignment.times
        if not times.handed:
            times.handed = self._clock.monotonic()
            self._metrics.dispatch.labels(known(assignment.op)).observe(times.handed - times.arrived)
        # While it works: to look at others takes time, and it is the first moment in which nobody waits for us.
        self._tell(assignment, delegate.kid)

    @property
    def waiting(self) -> int:
        """Tasks that wait for a free delegate."""
        return len(self._waiting)

    # What the streams report.

    def replied(self, delegate: Delegate, message: Result | Need) -> None:
        """A delegate's answer, or what it needs before it can give one."""
        assignment = self._running.get(delegate.account, {}).get(message.id)
        if (
            assignment is not None
            and assignment.delegate is delegate
            and assignment.reply is not None
            and not assignment.reply.done()
        ):
            assignment.reply.set_result(message)

    def progressed(self, delegate: Delegate, message: Progress) -> None:
        """How far a task is."""
        assignment = self._running.get(delegate.account, {}).get(message.id)
        if assignment is not None and assignment.delegate is delegate:
            assignment.done, assignment.total = message.done, message.total

    def wrote(self, delegate: Delegate, message: Output) -> None:
        """A part of what a command writes."""
        assignment = self._running.get(delegate.account, {}).get(message.id)
        if assignment is not None and assignment.delegate is delegate:
            self.outputs.add(delegate.account, message)

    def offer(self, delegate: Delegate) -> None:
        """A delegate has free places: those that wait and may have them get them, in turn."""

        as_it_is: Candidate | None = None

        def give(assignment: Assignment) -> bool:
            nonlocal as_it_is
            if assignment.seat is None or assignment.seat.done() or assignment.id in delegate.session.outstanding:
                return False
            as_it_is = as_it_is or delegate.candidate(self._clock.now())
            if not fits(as_it_is, self._wanted(assignment)):
                return False
            assignment.seat.set_result(self._take(assignment, delegate, "the first to have room while it waited"))
            as_it_is = None
            return True

        places = delegate.session.credits if delegate.session.takes_tasks else 0
        self._waiting.serve(delegate.account, places, give)
        self.offered(delegate.account)

    def put_back(self) -> None:
        """Those that can wait elsewhere leave their lines: the manager stops."""
        for assignment in self._waiting:
            if assignment.is_kept and assignment.seat is not None and not assignment.seat.done():
                assignment.seat.set_exception(NoPlace())

    def lost(self, delegate: Delegate) -> None:
        """A stream has ended: its tasks are lost, and some that wait have nobody to wait for any more."""
        for assignment in list(self._running.get(delegate.account, {}).values()):
            if assignment.delegate is delegate and assignment.reply is not None and not assignment.reply.done():
                assignment.reply.set_exception(Lost())
        self.prospects.narrowed(delegate.account)

    async def cancel(self, assignment: Assignment) -> None:
        """Its submitter gave it up. An answer that is here already counts all the same."""
        assignment.is_given_up = True
        for waiting in (assignment.seat, assignment.reply):
            if waiting is not None and not waiting.done():
                assignment.life = assignment.life.cancelled()
                waiting.set_exception(_cancelled())
                return


def _nobody(account: str) -> None:
    """To whom it doesn't matter."""


def _cancelled() -> Conflict:
    return Conflict("task_cancelled", "the task was cancelled")
