"""What lasts on the dispatch protocol's stage: tasks that may wait in the queue, orders and their runs, tests that fail.

Each method is one thing that happens, as in `tests.fakes.dispatch_stage`; what must be true of it is `tests.fakes.lasting_invariants`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.execution import Submitted
from manager.outcomes import Finished
from manager.queue import Entry
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from shared.documents.task import TaskDocument, WantedSelector
from shared.errors import PrivySealError
from shared.orders import run_id
from shared.task import Priority, State
from tests.fakes.dispatch_stage import Stage
from tests.fakes.processes import EXECUTION_SECONDS, GRACE_SECONDS, ManagerProcess
from tests.fakes.standing import order_of

UNDECIDED = frozenset({"running", State.QUEUED.value})

INTERVAL_SECONDS = 60
ORDER_SECONDS = 240

QUEUE_SECONDS = 40
"""How long a task that may wait does so."""

MOST_QUEUED = 8
"""Tasks that wait, and outcomes that are kept."""

ATTEMPTS_SECONDS = 3 * (EXECUTION_SECONDS + 30 + GRACE_SECONDS)
"""Three attempts after the last moment in which it may start, each with being told that it is over."""


@dataclass(eq=False)
class Kept:
    """A task that may wait, in its client's hands; `end` is how it was first seen to have ended, and `given` how often it was by then."""

    task: Verified[TaskDocument]
    caller: Caller
    priority: Priority
    until: float
    """When it has to have ended (the loop's time)."""
    is_acknowledged: bool = False
    is_cancelled: bool = False
    """And its client was told so."""
    is_forgotten: bool = False
    """It has ended, and others' outcomes took its room."""
    told: list[Finished] = field(default_factory=list)
    end: tuple[str, str] | None = None
    given: int = 0


@dataclass(eq=False)
class Ordered:
    """An order: its newest revision that is kept, all of those that are, and how many runs had been sent when it was cancelled."""

    order: Verified[OrderDocument]
    revisions: list[Verified[OrderDocument]] = field(default_factory=list)
    sent_at_end: int | None = None
    is_kept: bool = False
    is_uncertain: bool = False
    """The manager died, or its disk was full, while it was published or cancelled."""


class LastingStage(Stage):
    """`kept` are the tasks that may wait, `ordered` the orders; `sample` is called at least each second that passes."""

    check_seconds = 20.0
    probe_seconds = 60.0, 30.0

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Kept] = []
        self.ordered: list[Ordered] = []
        self.past: list[Assignment] = []
        """What earlier managers gave to their dispatchers."""
        self.idle: dict[tuple[str, str], float] = {}
        """Since when something that could go on doesn't."""
        self.sample: Callable[[], None] = lambda: None
        self._orders = 0

    # Processes.

    def restart_manager(self, heard: bool) -> None:
        """SIGKILL; the next one begins with what was committed."""
        self.past += self.manager.dispatcher.given
        self.idle.clear()
        was_full = self.manager.store.commit.fails
        super().restart_manager(heard)
        if was_full:
            self.mend_disk()

    def _start_manager(self, began: int, number: int, ahead: int = 0) -> ManagerProcess:
        manager = super()._start_manager(began, number, ahead)
        manager.tasks.deferred.queue._most = MOST_QUEUED
        return manager

    def advance(self, seconds: float) -> None:
        """Time passes, and is looked at each second."""
        while seconds > 0:
            self.loop.advance(min(1.0, seconds))
            seconds -= 1.0
            self.sample()

    def mend_disk(self) -> None:
        """There is room again; what couldn't be written is soon."""
        self.manager.store.commit.fails = False
        for one in self.kept:
            one.until = max(one.until, self.loop.moment + ATTEMPTS_SECONDS + 15)

    def fail_tests(self, at: int, fails: bool) -> None:
        """From now on a delegate's tests of connectors fail, or pass again."""
        if self.delegates:
            name = self.delegates[at % len(self.delegates)].name
            if fails:
                self.gate.failing.add(name)
            else:
                self.gate.failing.discard(name)

    # The queue.

    def submit_lasting(self, is_tested: bool, by_ben: bool, selector: str, priority: Priority, wait: float) -> None:
        """A client submits a task that may wait, and asks to be told its end within so many seconds."""
        world = self.world
        world.now = self.now()
        signer = self.ground.ben if by_ben else world.administrator
        fields: dict[str, Any] = {"selectors": (WantedSelector(selector, "step"),)} if selector else {}
        task = world.check(
            world.connector if is_tested else self.ground.quiet, signer, exp=world.now + QUEUE_SECONDS, **fields
        )
        until = self.loop.moment + QUEUE_SECONDS + ATTEMPTS_SECONDS + 10
        self.kept.append(Kept(task, Caller(world.id, signer.kid), priority, until))
        self.send_lasting(-1, wait)

    def send_lasting(self, at: int, wait: float) -> None:
        """It is submitted once more."""
        if self.kept:
            one = self.kept[at % len(self.kept)]
            self._have(_submit(self.manager, one, wait))

    def ask(self, at: int) -> None:
        """A client asks how one that was kept for it has ended."""
        known = [one for one in self.kept if one.is_acknowledged and self.entry(one) is not None]
        if known:
            one = known[at % len(known)]
            entry = self.entry(one)
            assert entry is not None
            self._have(_asked(self.manager, one, entry))

    def cancel_lasting(self, at: int) -> None:
        """A client gives one up, and is told when that is durable."""
        known = [one for one in self.kept if one.is_acknowledged and self.entry(one) is not None]
        if known:
            one = known[at % len(known)]
            self._have(_cancelled(self.manager, one))

    def entry(self, one: Kept) -> Entry | None:
        """What the manager that runs now has of it."""
        return self.manager.tasks.deferred.find(one.caller, one.task.digest)

    def sent(self) -> Counter[str]:
        """How often each task or run was sent to a delegate, by all managers."""
        count: Counter[str] = Counter()
        for one in (*self.past, *self.manager.dispatcher.given):
            count[one.id] += sum(step.what == "chosen" for step in one.trail.steps)
        return count

    # Orders.

    def order(self, runs: int, interval: bool, selector: str) -> None:
        """A client signs an order and publishes it."""
        world = self.world
        world.now = self.now()
        fields: dict[str, Any] = {"selectors": (WantedSelector(selector, "step"),)} if selector else {}
        self._orders += 1
        order = order_of(
            world, world.check(self.ground.quiet, **fields), name=f"order {self._orders}",
            iat=world.now, exp=world.now + ORDER_SECONDS,
            runs=runs if interval else 1, interval=INTERVAL_SECONDS if interval else 0,
        )  # fmt: skip
        self._publish(Ordered(order), order)

    def renew(self, at: int, runs: int) -> None:
        """Its owner signs a further revision, which begins now."""
        live = [one for one in self.ordered if one.is_kept and one.sent_at_end is None]
        if live:
            one, self.world.now = live[at % len(live)], self.now()
            interval = one.order.document.interval
            changes: dict[str, Any] = {
                "iat": self.now(),
                "exp": self.now() + ORDER_SECONDS,
                "runs": runs if interval else 1,
            }
            self._publish(one, self.world.next(one.order, **changes))

    def publish_again(self, at: int) -> None:
        """Its owner didn't hear that it is kept."""
        if self.ordered:
            one = self.ordered[at % len(self.ordered)]
            if one.sent_at_end is None:
                self._publish(one, one.order)

    def cancel_order(self, at: int) -> None:
        """Its owner takes it back."""
        live = [one for one in self.ordered if one.is_kept and one.sent_at_end is None]
        if live:
            one, self.world.now = live[at % len(live)], self.now()
            self._publish(one, self.world.next(one.order, deleted=True, exp=self.now() + ORDER_SECONDS))

    def _publish(self, one: Ordered, revision: Verified[OrderDocument]) -> None:
        if one.is_uncertain:
            return
        if revision not in one.revisions:
            one.revisions.append(revision)
        if one not in self.ordered:
            self.ordered.append(one)
        self._have(_published(self, one, revision))

    def _have(self, done: Awaitable[None]) -> None:
        """A request to the manager that runs now."""

        async def noted() -> None:
            try:
                await done
            except Exception as bug:
                self.loop.crashes.append(repr(bug))
                raise

        self.loop.complete_later(noted(), self.manager.name)

    def sent_of(self, one: Ordered) -> int:
        """How often runs of it were sent to delegates."""
        sent = self.sent()
        most = ORDER_SECONDS // INTERVAL_SECONDS
        return sum(sent[run_id(revision.digest, n)] for revision in one.revisions for n in range(most))

    def heal(self) -> None:
        """And tests pass again."""
        self.gate.failing.clear()
        self.mend_disk()
        super().heal()


async def _submit(manager: ManagerProcess, one: Kept, wait: float) -> None:
    """What the HTTP handler does with `queue=1`."""
    submitted = Submitted(one.task.compact, priority=one.priority, may_wait=True)
    try:
        _hear(one, await manager.tasks.submit_lasting(one.caller, submitted, wait))
    except PrivySealError:
        return


async def _asked(manager: ManagerProcess, one: Kept, entry: Entry) -> None:
    try:
        _hear(one, await manager.tasks.deferred.told(entry, 0))
    except PrivySealError as why:
        assert why.retryable, why.code


async def _cancelled(manager: ManagerProcess, one: Kept) -> None:
    try:
        one.is_cancelled |= await manager.tasks.cancel(one.caller, one.task.digest)
    except PrivySealError as why:
        assert why.retryable, why.code


def _hear(one: Kept, finished: Finished) -> None:
    if finished.state in UNDECIDED:
        one.is_acknowledged = True
    one.told.append(finished)


async def _published(stage: LastingStage, one: Ordered, revision: Verified[OrderDocument]) -> None:
    one.is_uncertain = True
    try:
        await stage.manager.orders.publish(Caller(stage.world.id, revision.kid), revision.compact, ())
    except PrivySealError as why:
        # Nothing of it is kept; who signs the next revision stands on the one before.
        one.is_uncertain = False
        assert why.retryable or why.code in {"document_stale", "order_expired"}, why.code
        return
    one.is_uncertain, one.is_kept = False, True
    one.order = revision
    if revision.document.deleted:
        one.sent_at_end = stage.sent_of(one)
