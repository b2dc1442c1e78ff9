"""A manager, delegates honest and otherwise, their clients and the network between them: everything that can happen to them.

Each method is one thing that happens, and ends when nothing more can happen at that moment. What is here only happens and
is noted; what must be true of it is `tests.fakes.dispatch_invariants`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from manager.assignment import Assignment
from manager.authentication import Caller
from manager.execution import Submitted
from manager.fleet import Delegate
from manager.outcomes import Finished
from manager.probes import FAILURE_SECONDS, SUCCESS_SECONDS
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument, WantedSelector
from shared.errors import PrivySealError
from shared.task import Priority
from tests.fakes.dispatch_ground import Ground, ground
from tests.fakes.lines import Line, Network
from tests.fakes.processes import (
    EXECUTION_SECONDS,
    GRACE_SECONDS,
    URL,
    DelegateProcess,
    Gate,
    ManagerProcess,
)
from tests.fakes.rogue import Rogue
from tests.fakes.steered import SteeredLoop
from tests.fakes.world import NOW

Op = Literal["check", "delete", "exec", "large", "reveal", "store"]

LIFETIME_SECONDS = 60
"""Of a task: until when it may start."""


@dataclass(eq=False)
class Submission:
    """A signed task in its client's hands; `identifier` is the secret's that it is about."""

    task: Verified[TaskDocument]
    caller: Caller
    identifier: str
    inputs: tuple[bytes, ...]
    priority: Priority

    @property
    def is_never(self) -> bool:
        """Whether it may not run twice."""
        return self.task.document.repeat == "never"


@dataclass(eq=False)
class Run:
    """One request that submits it; `outcome` is None until it is answered, and stays so when the manager was killed before."""

    submission: Submission
    manager: ManagerProcess
    began: float
    until: float
    """When it has to be over at the latest."""
    asked: asyncio.Task[None] | None = None
    outcomes: list[Finished | PrivySealError] = field(default_factory=list)
    cancelled_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.asked is None or self.asked.done()


class Stage:
    """`delegates` are honest and alive; `runs` all requests that there were; `acknowledged` those that were answered as done."""

    check_seconds = 0.0
    """How often delegates test connectors by themselves."""

    probe_seconds = SUCCESS_SECONDS, FAILURE_SECONDS
    """How long such a test counts, one that passed and one that failed."""

    def __init__(self) -> None:
        self.ground: Ground = ground()
        self.world = self.ground.world
        self.loop = SteeredLoop()
        asyncio.set_event_loop(None)
        self.network = Network()
        self.gate = Gate()
        self._file = self.ground.file()
        self._lives: Counter[str] = Counter()
        self.delegates: list[DelegateProcess] = []
        self.rogues: list[Rogue] = []
        self.submissions: list[Submission] = []
        self.runs: list[Run] = []
        self.lines: list[Line] = []
        self._values, self._empty = iter(self.ground.versions[2:]), iter(self.ground.empty)
        self.shifted = 0
        """Seconds by which the manager's wall clock was set back."""
        self.waited: list[tuple[Assignment, asyncio.Future[Delegate]]] = []
        """Who waited for a place when the last thing began to happen."""
        self.served = self.out_of_turn = 0
        self.manager = self._start_manager(NOW, 1)

    # Processes.

    def start_delegate(self, name: str, capacity: int, tags: tuple[str, ...]) -> None:
        """A new process, with an identity of its own."""
        self._lives[name] += 1
        process = f"{name}-{self._lives[name]}"
        self.world.now = self.now()
        one = DelegateProcess(
            self.loop, self.network, self.world, process, capacity, tags, self.gate, self.check_seconds
        )
        self.delegates.append(one)

    def crash_delegate(self, at: int, heard: bool) -> None:
        """SIGKILL, or its machine is gone."""
        if self.delegates:
            self.delegates.pop(at % len(self.delegates)).kill(heard)
            self.loop.settle()

    def drain_delegate(self, at: int) -> None:
        """It is told to end, once its tasks have."""
        if self.delegates:
            self.delegates[at % len(self.delegates)].daemon.end()
            self.loop.settle()

    def start_rogue(self, name: str, tags: tuple[str, ...]) -> None:
        """One more, or the same again by a new stream beside the old one."""
        known = next((one for one in self.rogues if one.name == name), None)
        self.world.now = self.now()
        if known is not None:
            known.dial()
        else:
            self.rogues.append(Rogue(self.loop, self.network, self.world, name, URL, tags))

    def restart_manager(self, heard: bool) -> None:
        """SIGKILL; the next one begins with what was committed."""
        self.manager.kill(heard)
        self.waited = []
        number = int(self.manager.name.split()[1]) + 1
        ahead = self.manager.clock.ahead
        self.manager = self._start_manager(self.now(), number, ahead)
        self.loop.settle()

    def _start_manager(self, began: int, number: int, ahead: int = 0) -> ManagerProcess:
        return ManagerProcess(self.loop, self.network, self._file, began, number, ahead, self.probe_seconds)

    # Clients.

    def now(self) -> int:
        """The clients' wall clock, which is right."""
        return NOW + int(self.loop.moment - 1_000)

    def submit(self, op: Op, by_ben: bool, selector: str, priority: Priority, to: int) -> None:
        """A client signs a task and submits it; `to` says which delegate a task names that may not run twice."""
        world = self.world
        world.now = self.now()
        signer = self.ground.ben if by_ben else world.administrator
        fields: dict[str, Any] = {"selectors": (WantedSelector(selector, "step"),)} if selector else {}
        inputs: tuple[bytes, ...] = ()
        version = self.ground.versions[to % 2]
        identifier = version.secret.document.identifier
        kids = [one.identity.kid for one in self._peers()]
        if op in {"delete", "exec"}:
            if not kids:
                return
            fields["to"] = kids[to % len(kids)]
        match op:
            case "check":
                task = world.check(world.connector, signer, **fields)
            case "reveal":
                task = world.reveal([version], signer, **fields)
            case "large":
                task = world.reveal([self.ground.large], signer, **fields)
            case "exec":
                execution = world.exec([version], signer, **fields)
                task, inputs = execution.task, (execution.input.raw,)
            case "store":
                secret = next(self._empty, None)
                if secret is None:
                    return
                made = world.store(secret, b"value", signer, **fields)
                task, inputs, identifier = made.task, (made.input.raw,), secret.document.identifier
            case "delete":
                doomed = next(self._values, None)
                if doomed is None:
                    return
                task, identifier = (
                    world.delete(doomed.secret, doomed, signer, **fields),
                    doomed.secret.document.identifier,
                )
        one = Submission(task, Caller(world.id, signer.kid), identifier, inputs, priority)
        self.submissions.append(one)
        self.send(one)

    def submit_again(self, at: int) -> None:
        """A client sends the same signed task once more."""
        if self.submissions:
            self.send(self.submissions[at % len(self.submissions)])

    def send(self, submission: Submission) -> None:
        """One request."""
        manager, loop = self.manager, self.loop
        seconds = submission.task.document.seconds or 0
        left = max(0, submission.task.document.exp - manager.clock.now())
        # Three attempts, each with its waiting for a place, its time, and being told that it is over.
        until = loop.moment + left + 3 * (EXECUTION_SECONDS + seconds + 30 + GRACE_SECONDS) + 5
        run = Run(submission, manager, loop.moment, until)
        self.runs.append(run)
        with loop.process(manager.name):
            run.asked = loop.create_task(_ask(run))
        loop.settle()

    def cancel(self, at: int) -> None:
        """A client gives up a task that runs."""
        running = list(self.manager.dispatcher.running(self.world.id).values())
        if running:
            one = running[at % len(running)]
            self.loop.complete_later(self.manager.dispatcher.cancel(one), self.manager.name)
            for run in self.runs:
                if run.submission.task.digest == one.id and not run.is_over:
                    run.cancelled_at = run.cancelled_at or self.loop.moment

    # Time, load, the network.

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.loop.advance(seconds)

    def set_clock(self, at: int, seconds: int) -> None:
        """Somebody's wall clock jumps: the manager's for 0, else a delegate's."""
        clocks = [self.manager.clock, *(one.clock for one in self.delegates)]
        clock = clocks[at % len(clocks)]
        clock.ahead += seconds
        if clock is self.manager.clock and seconds < 0:
            self.shifted -= seconds
            for run in self.runs:
                run.until -= seconds

    def set_load(self, at: int, percent: int) -> None:
        """What a delegate uses of its memory, from now on."""
        if self.delegates:
            self.delegates[at % len(self.delegates)].meter.percent = percent

    def line(self, at: int) -> Line | None:
        """One of the lines that live."""
        names = [*(one.name for one in self.delegates), *(one.name for one in self.rogues)]
        lines = [line for name in names if (line := self.network.of(name)) is not None]
        return lines[at % len(lines)] if lines else None

    def _peers(self) -> list[DelegateProcess | Rogue]:
        return [*self.delegates, *self.rogues]

    def heal(self) -> None:
        """The network, the disk and the machines are well again, the gate is open, and the rogues have gone."""
        self.manager.store.commit.fails = False
        self.network.is_cut_off.clear()
        self.gate.open()
        for one in self.delegates:
            one.meter.percent = 0
            one.clock.ahead = 0
        self.manager.clock.ahead = 0
        for line in self.network.lines:
            for pipe in (line.up, line.down):
                pipe.is_held = False
                pipe.changed()
        for rogue in self.rogues:
            rogue.leave()
        self.loop.settle()

    def close(self) -> None:
        """Everything ends."""
        for one in self._peers():
            self.network.is_cut_off.add(one.name)
            self.loop.kill(one.name)
        self.manager.kill()
        self.loop.kill("test")
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


async def _ask(run: Run) -> None:
    """What the HTTP handler does: the task goes on when the client leaves."""
    submission = run.submission
    submitted = Submitted(submission.task.compact, submission.inputs, priority=submission.priority)
    try:
        running = await run.manager.tasks.submit(submission.caller, submitted)
        run.outcomes.append(await asyncio.shield(running))
    except PrivySealError as why:
        run.outcomes.append(why)
