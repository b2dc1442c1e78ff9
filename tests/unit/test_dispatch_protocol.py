"""The dispatch protocol as a state machine: the manager's and the delegate's own code, over a network of queues, with faults.

What may happen are the rules here, what must be true of it is `tests.fakes.dispatch_invariants`, in words docs/dispatch.md.
Nothing sleeps, and no clock but the steered one is read. A long run: see there.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.messages import Credit, Drain, Heartbeat, Output, Progress, Use
from shared.task import PRIORITIES
from shared.wire import delegate_pb2

# What is true there is told in full where it isn't.
pytest.register_assert_rewrite("tests.fakes.dispatch_invariants")

from tests.fakes import dispatch_invariants as invariants  # noqa: E402
from tests.fakes.dispatch_stage import Stage  # noqa: E402
from tests.fakes.machines import LONG, how_long  # noqa: E402
from tests.fakes.rogue import Rogue  # noqa: E402

# Twenty seconds of a processor; on a machine that has other things to do that may be long. A long run has no end of its own.
pytestmark = pytest.mark.timeout(0 if LONG else 900)

WHICH = st.integers(0, 5)
NAMES = st.sampled_from(["alpha", "beta"])
ROGUES = st.sampled_from(["mallory", "oscar"])
TAGS = st.sampled_from([(), ("eu",), ("eu", "us")])
SECONDS = st.sampled_from([0.01, 0.5, 1.0, 3.0, 6.0, 9.0, 15.0, 30.0])
TASKS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["check", "reveal", "reveal", "large", "store", "delete", "delete", "exec"]),
        "by_ben": st.booleans(),
        "selector": st.sampled_from(["", "", "eu", "us", "nowhere"]),
        "priority": st.sampled_from(PRIORITIES),
        "to": WHICH,
    }
)
CODES: st.SearchStrategy[Any] = st.sampled_from(["ok", "unavailable", "overloaded", "denied", "not_ready"])


class Protocol(RuleBasedStateMachine):
    """Everything that can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()

    # Processes.

    @initialize(
        capacity=st.integers(1, 2),
        second=st.booleans(),
        credits=st.integers(0, 3),
        tasks=st.lists(TASKS, min_size=2, max_size=5),
        shut=st.booleans(),
    )
    def begin(self, capacity: int, second: bool, credits: int, tasks: list[dict[str, Any]], shut: bool) -> None:
        """Most of what can go wrong comes when somebody is there and has something to do."""
        self.stage.start_delegate("alpha", capacity, ("eu",))
        if second:
            self.stage.start_delegate("beta", 1, ("us",))
        self.a_rogue_connects("mallory", ("eu",), credits)
        self.stage.gate.is_shut = shut
        self.tasks_are_submitted(tasks)

    @rule(name=NAMES, capacity=st.integers(1, 3), tags=TAGS)
    def a_delegate_starts(self, name: str, capacity: int, tags: tuple[str, ...]) -> None:
        if len(self.stage.delegates) < 3:
            self.stage.start_delegate(name, capacity, tags)

    @rule(at=WHICH, how=st.sampled_from(["drains", "dies", "vanishes"]))
    def a_delegate_ends(self, at: int, how: str) -> None:
        if how == "drains":
            self.stage.drain_delegate(at)
        else:
            self.stage.crash_delegate(at, heard=how == "dies")

    @rule(heard=st.booleans(), again=st.booleans())
    def the_manager_restarts(self, heard: bool, again: bool) -> None:
        """Some clients send again what they sent last, once delegates are back."""
        self.stage.restart_manager(heard)
        invariants.what_was_acknowledged_is_still_there(self.stage)
        invariants.no_never_task_is_left_open(self.stage)
        if again:
            self.stage.advance(6.0)
            self.stage.submit_again(-1)
            self.stage.submit_again(-2)

    @rule(task=TASKS, mended=st.booleans())
    def the_disk_is_full(self, task: dict[str, Any], mended: bool) -> None:
        self.stage.manager.store.commit.fails = True
        self.stage.submit(**task)
        self.stage.manager.store.commit.fails = not mended

    # Clients.

    @rule(tasks=st.lists(TASKS, min_size=1, max_size=6))
    def tasks_are_submitted(self, tasks: list[dict[str, Any]]) -> None:
        for one in tasks:
            self.stage.submit(**one)

    @rule(tasks=st.lists(TASKS, min_size=2, max_size=6))
    def tasks_are_submitted_and_operations_wait(self, tasks: list[dict[str, Any]]) -> None:
        """So that places become rare."""
        self.stage.gate.is_shut = True
        self.tasks_are_submitted(tasks)

    @rule(at=WHICH)
    def a_task_is_submitted_again(self, at: int) -> None:
        self.stage.submit_again(at)

    @rule(at=WHICH)
    def a_task_is_cancelled(self, at: int) -> None:
        self.stage.cancel(at)

    @rule(shut=st.booleans())
    def operations_wait(self, shut: bool) -> None:
        if shut:
            self.stage.gate.is_shut = True
        else:
            self.stage.gate.open()
            self.stage.loop.settle()

    # Time and load.

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.stage.advance(seconds)

    @rule(at=WHICH, seconds=st.sampled_from([-3_600, -100, -10, 10, 100, 3_600]))
    def a_clock_jumps(self, at: int, seconds: int) -> None:
        self.stage.set_clock(at, seconds)

    @rule(at=WHICH, percent=st.sampled_from([10, 99]))
    def a_delegates_load_changes(self, at: int, percent: int) -> None:
        self.stage.set_load(at, percent)
        self.stage.advance(8.0)

    @rule(at=WHICH, tasks=st.lists(TASKS, min_size=1, max_size=3))
    def tasks_come_to_one_that_is_overloaded(self, at: int, tasks: list[dict[str, Any]]) -> None:
        """And that isn't any more a little later."""
        self.a_delegates_load_changes(at, 99)
        self.tasks_are_submitted(tasks)
        self.all_that_holds_always()
        self.a_delegates_load_changes(at, 10)

    # The network.

    @rule(at=WHICH, down=st.booleans(), count=st.integers(0, 3))
    def messages_are_held_up(self, at: int, down: bool, count: int) -> None:
        """All but the next few."""
        line = self.stage.line(at)
        if line is not None:
            pipe = line.down if down else line.up
            pipe.is_held, pipe.let_through = True, count
            pipe.changed()
            self.stage.loop.settle()

    @rule(at=WHICH, down=st.booleans())
    def messages_arrive(self, at: int, down: bool) -> None:
        line = self.stage.line(at)
        if line is not None:
            pipe = line.down if down else line.up
            pipe.is_held, pipe.let_through = False, 0
            pipe.changed()
            self.stage.loop.settle()

    @rule(at=WHICH, manager_hears=st.booleans(), delegate_hears=st.booleans())
    def a_line_breaks(self, at: int, manager_hears: bool, delegate_hears: bool) -> None:
        line = self.stage.line(at)
        if line is not None:
            line.sever(manager_hears, delegate_hears)
            self.stage.loop.settle()

    @rule(at=WHICH, down=st.booleans(), fault=st.sampled_from(["twice", "late", "swapped"]), which=st.integers(0, 63))
    def a_transport_does_what_none_does(self, at: int, down: bool, fault: Any, which: int) -> None:
        line = self.stage.line(at)
        if line is not None:
            line.meddle(down, fault, which)
            self.stage.loop.settle()

    # What no honest delegate does.

    @rule(name=ROGUES, tags=TAGS, credits=st.integers(0, 3))
    def a_rogue_connects(self, name: str, tags: tuple[str, ...], credits: int) -> None:
        """Or comes by one more stream, beside its old one."""
        self.stage.start_rogue(name, tags)
        rogue = next(one for one in self.stage.rogues if one.name == name)
        if credits:
            rogue.say(Credit(credits))
        self.stage.loop.settle()

    @rule(at=WHICH, which=WHICH)
    def an_old_task_arrives_again(self, at: int, which: int) -> None:
        """At the same delegate, perhaps by another stream than before."""
        if self.stage.delegates:
            one = self.stage.delegates[at % len(self.stage.delegates)]
            line = self.stage.network.of(one.name)
            never = {each.task.digest for each in self.stage.submissions if each.is_never}
            old = [wire for each in one.lines for wire in each.down.arrived if wire.task.id in never]
            if old and line is not None:
                line.deliver_again(old[which % len(old)])
                self.stage.loop.settle()

    @rule(at=WHICH)
    def a_rogue_leaves(self, at: int) -> None:
        if self.stage.rogues:
            self.stage.rogues[at % len(self.stage.rogues)].leave()

    @rule(at=WHICH, which=WHICH, code=CODES, again=st.booleans())
    def a_rogue_answers(self, at: int, which: int, code: Any, again: bool) -> None:
        rogue = self._rogue(at)
        if rogue is not None and rogue.tasks:
            task = rogue.tasks[which % len(rogue.tasks)]
            rogue.answer(task, code)
            if again:
                rogue.say(rogue.result(task, task.attempt, "ok"))
            rogue.say(Credit(1))
            self.stage.loop.settle()

    @rule(at=WHICH, which=WHICH, attempt=st.sampled_from([-1, 0, 1]))
    def a_rogue_answers_what_it_may_not(self, at: int, which: int, attempt: int) -> None:
        """For another attempt; or for what it had once, or what another has."""
        rogue = self._rogue(at)
        if rogue is None:
            return
        if not rogue.tasks:
            rogue.say(Credit(1))
            self.stage.loop.settle()
            self.stage.submit("check", by_ben=False, selector="", priority="high", to=0)
        theirs = [one.task() for one in self.stage.manager.dispatcher.given[-3:]]
        ids = {task.id for task in rogue.tasks}
        asked = rogue.tasks if attempt else [one for one in (*rogue.past, *theirs) if one.id not in ids]
        if asked:
            task = asked[which % len(asked)]
            rogue.say(rogue.result(task, max(0, task.attempt + attempt)))
            self.stage.loop.settle()

    @rule(at=WHICH, which=WHICH, count=st.integers(1, 4))
    def a_rogue_asks_for_documents(self, at: int, which: int, count: int) -> None:
        rogue = self._rogue(at)
        for _ in range(count):
            if rogue is not None and rogue.tasks:
                rogue.need(rogue.tasks[which % len(rogue.tasks)], ("A" * 43,))
                rogue.say(Credit(1))
                self.stage.loop.settle()

    @rule(at=WHICH, tags=TAGS)
    def a_rogue_is_certified_anew(self, at: int, tags: tuple[str, ...]) -> None:
        """With other tags."""
        rogue = self._rogue(at)
        if rogue is not None:
            rogue.renew(tags)
            self.stage.loop.settle()

    @rule(
        at=WHICH,
        what=st.sampled_from(["floods", "over", "under", "drains", "nothing", "chunk", 0, 1, 2, 10_000, 2**31 - 1]),
    )
    def a_rogue_says_anything(self, at: int, what: str | int) -> None:
        """A number is so much credit."""
        rogue = self._rogue(at)
        if rogue is None:
            return
        match what:
            case int():
                rogue.say(Credit(what))
            case "floods":
                for number in range(300 if rogue.tasks else 0):
                    task = rogue.tasks[0]
                    rogue.say(Progress(task.id, task.attempt, number, 300))
                    rogue.say(Output(task.id, task.attempt, number, b"x" * 100))
            case "over" | "under":
                rogue.say(Heartbeat(2**31 - 1, None, Use(2**31 - 1, 1, what == "over")))
            case "drains":
                rogue.say(Drain())
            case "nothing":
                rogue.say_wire(delegate_pb2.FromDelegate())
            case "chunk":
                rogue.say_wire(
                    delegate_pb2.FromDelegate(chunk=delegate_pb2.Chunk(stream=1, index=7, last=True, data=b"x"))
                )
        self.stage.loop.settle()

    def _rogue(self, at: int) -> Rogue | None:
        alive = [one for one in self.stage.rogues if one.is_open]
        return alive[at % len(alive)] if alive else None

    # What must be true.

    @invariant()
    def all_that_holds_always(self) -> None:
        """Each one of them, and then the picture for the next thing that happens."""
        for one in invariants.ALWAYS:
            one(self.stage)
        self.stage.waited = [(one, one.seat) for one in invariants.waiting(self.stage) if one.seat is not None]

    def teardown(self) -> None:
        """Everything becomes well, and has its time; then everybody goes."""
        stage = self.stage
        if sys.exc_info()[0] is not None:
            stage.close()
            return
        try:
            stage.heal()
            self.all_that_holds_always()
            for _ in range(30):
                stage.advance(10.0)
                self.all_that_holds_always()
                if all(run.is_over for run in stage.runs):
                    break
            stage.advance(35.0)
            invariants.every_request_was_answered(stage)
            invariants.everybody_is_back_with_all_his_places(stage)
            while stage.delegates:
                stage.crash_delegate(0, heard=True)
            stage.advance(10.0)
            invariants.nothing_is_left_when_all_has_ended(stage)
            stage.restart_manager(heard=True)
            invariants.what_was_acknowledged_is_still_there(stage)
            invariants.no_never_task_is_left_open(stage)
        finally:
            stage.close()


Protocol.TestCase.settings = how_long(examples=60, steps=40, long_steps=50)
TestProtocol = Protocol.TestCase
