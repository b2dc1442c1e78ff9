"""Orders on the manager: published once, then each run begun when it is due and written down.

Promises: what is due follows from the signed order and the runs in the store alone, so that a restart loses nothing; of an order
one run is under way at a time; a run whose time passed with nobody to begin it is skipped and counted, never made up for; a run
is durable before it is sent, and one that a restart overtook has an unknown outcome. Nobody need believe any of it: delegates
judge each run by their own clocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from manager.assignment import Assignment, assigned
from manager.authentication import Caller
from manager.books import Books
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.endings import Endings
from manager.fleet import Fleet
from manager.history import History, check_named, publishing
from manager.ledger import Ledger
from manager.metrics import ManagerMetrics
from manager.records import Records, check_inputs
from manager.rows import RunRow, TaskRow
from manager.runs import PUT_BACK, REFUSED, RUNNING, ended, kept_output
from manager.standing import Course, Standing
from manager.store import AuditEntry, Store
from manager.stream import Streams
from manager.trail import Trail
from shared.canonical import digest
from shared.documents.jws import Verified, parse_as
from shared.documents.order import OrderDocument
from shared.errors import Conflict, Denied, Expired, Malformed, NotReady, Overloaded, PrivySealError, Unavailable
from shared.messages import Result
from shared.orders import due, run_id, start_of, task_of
from shared.task import FINAL, Life, State
from shared.trust.authority import SKEW_SECONDS
from shared.trust.book import Book
from shared.trust.warrant import Warrant, standing

LOOK_SECONDS = 1.0
"""How often it is looked at what is due."""

RETRY_SECONDS = 5
"""How long a run that nobody can take is left before it is tried again."""

END_SECONDS = 2.0
"""How long it may take to write down what was broken off."""

MOST_AT_ONCE = 64
"""Runs that are verified and loaded side by side."""

_STALE = "the order pins documents of which there are newer revisions"

_log = structlog.get_logger()


class Orders:
    """All accounts'."""

    def __init__(
        self,
        store: Store,
        books: Books,
        fleet: Fleet,
        dispatcher: Dispatcher,
        streams: Streams,
        clock: Clock,
        metrics: ManagerMetrics,
    ) -> None:
        self._books = books
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._streams = streams
        self._clock = clock
        self.ledger = Ledger(store, metrics)
        self._records = Records(store)
        self._endings = Endings(clock, metrics)
        self._history = History(store, clock, self._endings)
        self._store = store
        metrics.answer("order_runs_overdue", lambda: sum(self.overdue(*name) for name in list(self._standing)))
        self._standing: dict[tuple[str, str], Standing] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self.is_draining = False

    async def recover(self) -> None:
        """To be called once, before anything is due: takes up every order where the store left it."""
        await self.ledger.lose(self._clock.now())
        last = await self.ledger.last_runs()
        for account, row in await self.ledger.standing():
            try:
                document = parse_as(OrderDocument, row.compact)
            except Malformed as why:
                # A row that was damaged keeps no other order from going on, nor the manager from starting.
                _log.error("order.unreadable", account=account, id=row.order, code=why.code)
                continue
            order = Verified("order", document.kid, document.document, row.compact, digest(row.compact))
            run = last.get((account, row.order))
            self._stand(account, order, row.published_at, run if run is not None and run.rev == row.rev else None)

    async def publish(self, caller: Caller, compact: str, inputs: Sequence[bytes]) -> Verified[OrderDocument]:
        """Keeps an order, or its cancellation, once its warrant was checked. Raises what is wrong with it; nothing is kept then."""
        unverified = parse_as(OrderDocument, compact)
        book, now = await self._books.book(caller.account), self._clock.now()
        name = caller.account, unverified.document.id
        try:
            if unverified.kid != caller.kid:
                raise Denied("order_of_another", "the order is signed by another key than the request", "send your own")
            if (kept := self._standing.get(name)) is not None and kept.order.compact == compact:
                # Who didn't hear that it is kept asks again; what has begun since isn't begun once more.
                return kept.order
            stale = [] if unverified.document.deleted else await self._books.complete(book, unverified.document.pins)
            draft, (published,) = await self._books.examine(book, [compact])
            assert isinstance(published.document, OrderDocument)
            order = Verified(published.kind, published.kid, published.document, published.compact, published.digest)
            self._check(draft, order, tuple(inputs), stale, now)
        except PrivySealError as why:
            told: AuditEntry = {"at": now, "op": "document.refused", "principal": caller.kid, "code": why.code}
            await self._store.audit(caller.account, [told])
            raise
        entry = publishing(order, caller.kid, now)
        await self.ledger.publish(caller.account, order, inputs[0] if inputs else None, now, [entry])
        if (kept := self._standing.get(name)) is not None and kept.order.compact == compact:
            return kept.order  # It was asked again while this was kept.
        self._books.take(caller.account, [order])
        before = self._standing.pop(name, None)
        if order.document.deleted:
            if before is not None and before.course is not None:
                before.course.is_cancelled = True
                if before.course.assignment is not None:
                    await self._dispatcher.cancel(before.course.assignment)
        else:
            self._stand(caller.account, order, now, None, before)
        if order.document.rev > 1:
            await self._streams.push(caller.account, [order.compact])
        return order

    def _check(
        self, book: Book, order: Verified[OrderDocument], inputs: tuple[bytes, ...], stale: list[list[str]], now: int
    ) -> None:
        if order.document.deleted:
            if inputs:
                raise Malformed("request_malformed", "a cancelled order takes no input")
            if order.document.rev == 1:
                # Whose grants have ended may still cancel: not what was never ordered, of which there is no end.
                raise Conflict("order_unknown", "there is no order that this could cancel", "see privyseal order list")
            return
        if stale:
            raise Conflict("pin_stale", _STALE, "sync and sign again", stale=stale)
        try:
            task = standing(book, order, None, now).task.document
        except NotReady as why:
            if why.code != "documents_missing":
                raise
            detail = "the order pins documents that the manager doesn't have"
            raise Conflict("pin_unknown", detail, "sync and sign again") from None
        check_inputs(task, inputs)
        check_named(task)

    def _stand(
        self,
        account: str,
        order: Verified[OrderDocument],
        published_at: int,
        last: RunRow | None,
        before: Standing | None = None,
    ) -> None:
        if last is not None:
            begun = last.n - (last.code == PUT_BACK)
        else:
            begun = (due(order.document, max(published_at, order.document.iat)) or 0) - 1
        one = Standing(account, order, begun)
        if last is not None and last.state == REFUSED:
            one.refusal = last
        if before is not None and before.is_running:
            # What runs by the revision before goes on, and no other run beside it.
            one.course = before.course
        self._standing[account, order.document.id] = one

    # What is due.

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.look()
            except Exception as bug:  # noqa: BLE001 (a bad look mustn't end those after it)
                _log.error("order.crashed", exc_info=bug)

    def look(self) -> list[asyncio.Task[None]]:
        """Begins every run that is due now and isn't under way; what it began."""
        now, begun = self._clock.now(), []
        for name, one in list(self._standing.items()):
            if one.is_running:
                continue
            if now >= one.order.document.exp:
                del self._standing[name]
                continue
            n = due(one.order.document, now)
            if n is not None and start_of(one.order.document, one.last) > now + SKEW_SECONDS:
                # Our clock was ahead when that began: what was begun by then in its time the store tells.
                one.last, one.is_set_back = n - 1, True
            if n is None or n <= one.last or now < one.again or self.is_draining:
                continue
            if one.is_unserved(n, self._fleet.could_wait):
                one.again = now + RETRY_SECONDS
                continue
            course = one.course = Course()
            course.task = asyncio.create_task(self._guarded(one, n, course), name=f"order {one.order.document.id} {n}")
            begun.append(course.task)
        return begun

    async def drain(self) -> None:
        """Begins nothing more and waits for what delegates have; cancelled, it ends that as unknown, and writes it down."""
        self.is_draining = True
        courses = [one.course for one in self._standing.values() if one.course is not None and not one.course.is_over]
        waiting = {one.task for one in courses if one.task is not None}
        for one in (course.assignment for course in courses):
            if one and one.seat and not one.life.attempt and not one.seat.done():
                one.seat.set_exception(NotReady(PUT_BACK, "the manager stops while nobody has the run"))
        try:
            if waiting:
                await asyncio.wait(waiting)
        except asyncio.CancelledError:
            for running in waiting:
                running.cancel()
            await asyncio.wait(waiting, timeout=END_SECONDS)
            raise

    def overdue(self, account: str, order: str) -> int:
        """Runs whose time has passed or begun, that were neither begun nor counted as skipped by a later one."""
        one = self._standing.get((account, order))
        if one is None:
            return 0
        n = due(one.order.document, self._clock.now())
        return 0 if n is None else max(0, n - one.last - 1)

    async def _guarded(self, one: Standing, n: int, course: Course) -> None:
        try:
            await self._run(one, n, course)
        except PrivySealError as why:
            one.again = self._clock.now() + RETRY_SECONDS
            _log.warning("order.failed", account=one.account, id=one.order.document.id, code=why.code)
        except Exception as bug:  # noqa: BLE001 (the other orders go on)
            one.again = self._clock.now() + RETRY_SECONDS
            _log.error("order.crashed", account=one.account, id=one.order.document.id, exc_info=bug)
        finally:
            course.assignment = None

    async def _run(self, one: Standing, n: int, course: Course) -> None:
        caller = Caller(one.account, one.order.kid)
        if one.is_set_back and await self._has_begun(one, n):
            one.last = n
            return
        async with self._places:
            try:
                allowed, assignment = await self._prepared(one, n)
            except PrivySealError as why:
                if why.retryable:
                    raise
                await self._refuse(one, n, why)
                return
        if not self._fleet.could_wait(one.account, assignment.wanted):
            one.unserved, one.again = (n, assignment.wanted), self._clock.now() + RETRY_SECONDS
            return
        if course.is_cancelled:
            return
        order, document = one.order.document, allowed.task.document
        about: dict[str, str | int] = {"kind": "order", "id": order.id, "rev": order.rev}
        now, skipped = self._clock.now(), n - one.last - 1
        row = RunRow(order.id, order.rev, n, assignment.id, RUNNING, started_at=now, skipped=skipped)
        entry = {**self._history.entry(caller, assignment, document), **about, "outcome": "submitted"}
        await self.ledger.put_run(one.account, row, self._history.row(caller, assignment, document), [entry])
        if skipped:
            _log.warning("order.skipped", account=one.account, id=order.id, count=skipped)
        one.last, one.refusal, course.assignment = n, None, assignment
        # Cancelled while it was written down, it is ended instead of sent.
        assignment.is_given_up = course.is_cancelled
        await self._performed(one, caller, allowed, assignment, row, about)

    async def _has_begun(self, one: Standing, n: int) -> bool:
        row = await self.ledger.run(one.account, one.order.document.id, run_id(one.order.digest, n))
        return row is not None and row.state in {RUNNING, State.DONE.value, State.UNKNOWN.value}

    async def _performed(
        self,
        one: Standing,
        caller: Caller,
        allowed: Warrant,
        assignment: Assignment,
        row: RunRow,
        about: dict[str, str | int],
    ) -> None:
        """Has a delegate do it, and writes down how it ended, whatever comes."""
        document, result = allowed.task.document, None
        try:
            result = await self._dispatched(one, assignment)
        except PrivySealError as why:
            if assignment.life.state not in FINAL:
                assignment.life = replace(assignment.life, state=State.UNKNOWN, code=why.code)
        finally:
            if assignment.life.state not in FINAL:
                # A fault of ours, or our end, and no reason to keep quiet about what may have happened.
                assignment.life = replace(assignment.life, state=State.UNKNOWN, code="interrupted")
            output = await kept_output(self._dispatcher.outputs, assignment) if document.seconds else b""
            over = ended(row, assignment, result, output, self._clock.now())
            entry = {**self._history.entry(caller, assignment, document), **about}
            written = self._write_down(one.account, over, self._history.row(caller, assignment, document), entry)
            if result is None:
                self._endings.failed(caller, assignment, document)
                await written
            else:
                with self._endings.settling(caller, assignment, document, result):
                    await written

    async def _dispatched(self, one: Standing, assignment: Assignment) -> Result:
        """What a delegate made of it. Where nobody can take it in this moment it has its time, in which somebody may."""
        while True:
            try:
                return (await self._dispatcher.run(assignment))[0]
            except (NotReady, Overloaded):
                if assignment.life.attempt:
                    raise
                if self.is_draining:
                    # The next manager begins it, if it is still due then.
                    assignment.life = Life(assignment.life.repeat).refused(PUT_BACK)
                if not self._goes_on(one):
                    raise
            assignment.life, assignment.trail = Life(assignment.life.repeat), Trail()
            is_left = True
            while is_left:
                await asyncio.sleep(RETRY_SECONDS)
                if self._clock.now() >= assignment.exp:
                    assignment.life = assignment.life.expired()
                    raise Expired("task_expired", "the run's time ran out while nobody could take it")
                is_left = self._goes_on(one) and not self._fleet.could_wait(one.account, assignment.wanted)

    def _goes_on(self, one: Standing) -> bool:
        return self._standing.get((one.account, one.order.document.id)) is one and not self.is_draining

    async def _write_down(self, account: str, over: RunRow, task: TaskRow, entry: Mapping[str, str | int]) -> None:
        """As soon as the store takes it: nobody but us would ever say how it ended."""
        while True:
            try:
                return await self.ledger.put_run(account, over, task, [entry])
            except Unavailable as why:
                if self.is_draining:
                    raise
                _log.warning("order.unwritten", account=account, id=over.order, code=why.code)
            await asyncio.sleep(RETRY_SECONDS)

    async def _prepared(self, one: Standing, n: int) -> tuple[Warrant, Assignment]:
        """What the run acts on, as a task's; nothing of it was ever signed but the order."""
        book = await self._books.book(one.account)
        order = one.order
        if book.find(order.digest) is None:
            book.recall(order.compact)
        document = task_of(order, n).document
        if stale := await self._books.complete(book, document.pins):
            raise Conflict("pin_stale", _STALE, stale=stale)
        allowed = standing(book, order, n, self._clock.now())
        kept = await self.ledger.order(one.account, order.document.id)
        inputs = (kept.input,) if kept is not None and kept.input is not None else ()
        check_inputs(allowed.task.document, inputs)
        run = allowed.task
        stored = await self._records.opened(one.account, run.digest, run.document)
        credentials = await self._records.credentials(one.account, run.document)
        assignment = assigned(
            allowed,
            book,
            self._clock.now(),
            inputs=inputs,
            stored=stored,
            credentials=credentials,
            priority="low",
            arrived=self._clock.monotonic(),
        )
        assignment.run = n + 1
        return allowed, assignment

    async def _refuse(self, one: Standing, n: int, why: PrivySealError) -> None:
        """The manager refuses a run before any delegate sees it; refusals of one kind in a row stand in one row."""
        now, order = self._clock.now(), one.order.document
        before = one.refusal if one.refusal is not None and one.refusal.code == why.code else None
        skipped = n - one.last - 1 + (before.skipped + 1 if before is not None else 0)
        id = run_id(one.order.digest, n)
        row = RunRow(order.id, order.rev, n, id, REFUSED, why.code, started_at=now, finished_at=now, skipped=skipped)
        what: dict[str, str | int] = {"kind": "order", "id": order.id, "rev": order.rev, "op": order.op, "task": id}
        entry = {**what, "at": now, "principal": one.order.kid, "outcome": REFUSED, "code": why.code}
        # The audit hears of the first: an order whose pins are stale would fill it once a minute for three months.
        audit = [] if before is not None else [entry]
        await self.ledger.put_run(one.account, row, None, audit, (before.rev, before.n) if before is not None else None)
        one.last, one.refusal = n, row
        if before is None:
            _log.warning("order.refused", account=one.account, id=order.id, code=why.code)
