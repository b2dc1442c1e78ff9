"""What lasts in the dispatch protocol, as a state machine: tasks in the queue, orders' runs, and delegates whose tests fail.

The stage is that of `test_dispatch_protocol`, with fewer faults and longer times. Its invariants, and those that are its own,
are told in docs/dispatch.md.
"""

from __future__ import annotations

import sys

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.task import PRIORITIES, Priority

# What is true there is told in full where it isn't.
pytest.register_assert_rewrite("tests.fakes.dispatch_invariants", "tests.fakes.lasting_invariants")

from tests.fakes import dispatch_invariants as general  # noqa: E402
from tests.fakes import lasting_invariants as lasting  # noqa: E402
from tests.fakes.lasting_stage import ORDER_SECONDS, LastingStage  # noqa: E402
from tests.fakes.machines import LONG, how_long  # noqa: E402

# Some fifteen seconds of a processor; on a machine that has other things to do that may be long. A long run has no end of its own.
pytestmark = pytest.mark.timeout(0 if LONG else 900)

WHICH = st.integers(0, 3)
NAMES = st.sampled_from(["alpha", "beta"])
TAGS = st.sampled_from([("eu",), ("eu", "us")])
SELECTORS = st.sampled_from(["", "eu", "us"])
SECONDS = st.sampled_from([0.01, 0.5, 1.0, 3.0, 9.0, 15.0, 45.0, 61.0, 130.0])
# Who goes first is asked of single moments, and here much happens in a step.
GENERAL = [one for one in general.ALWAYS if one is not general.who_comes_first_is_served_first]
WAITS = st.sampled_from([0.0, 0.5, 20.0])


class Lasting(RuleBasedStateMachine):
    """Everything that can happen to what lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = LastingStage()
        self.stage.sample = lambda: lasting.sample(self.stage)

    @initialize(
        is_there=st.booleans(), shut=st.booleans(), waits=st.lists(SELECTORS, max_size=3), runs=st.integers(1, 4)
    )
    def begin(self, is_there: bool, shut: bool, waits: list[str], runs: int) -> None:
        """Somebody is there or not, and there is something to do."""
        if is_there:
            self.stage.start_delegate("alpha", 1, ("eu",))
        self.stage.gate.is_shut = shut
        for selector in waits:
            self.stage.submit_lasting(False, False, selector, "normal", 0.0)
        self.stage.order(runs, True, "")

    # Processes and the network.

    @rule(name=NAMES, capacity=st.integers(1, 2), tags=TAGS)
    def a_delegate_starts(self, name: str, capacity: int, tags: tuple[str, ...]) -> None:
        if len(self.stage.delegates) < 2:
            self.stage.start_delegate(name, capacity, tags)

    @rule(at=WHICH, how=st.sampled_from(["drains", "dies", "vanishes"]))
    def a_delegate_ends(self, at: int, how: str) -> None:
        if how == "drains":
            self.stage.drain_delegate(at)
        else:
            self.stage.crash_delegate(at, heard=how == "dies")

    @rule(heard=st.booleans())
    def the_manager_restarts(self, heard: bool) -> None:
        self.stage.restart_manager(heard)
        lasting.no_run_is_left_open(self.stage)
        lasting.each_end_is_audited_once_and_told(self.stage)

    @rule(heard=st.booleans(), seconds=SECONDS)
    def the_manager_restarts_beside_what_is_due(self, heard: bool, seconds: float) -> None:
        """Between the writing of a run and its answer, or while its time passes."""
        self.stage.gate.is_shut = True
        self.stage.advance(seconds)
        self.the_manager_restarts(heard)

    @rule(fails=st.booleans())
    def the_disk_is_full(self, fails: bool) -> None:
        if fails:
            self.stage.manager.store.commit.fails = True
        else:
            self.stage.mend_disk()

    @rule(at=WHICH, manager_hears=st.booleans(), delegate_hears=st.booleans())
    def a_line_breaks(self, at: int, manager_hears: bool, delegate_hears: bool) -> None:
        line = self.stage.line(at)
        if line is not None:
            line.sever(manager_hears, delegate_hears)
            self.stage.loop.settle()

    @rule(at=WHICH, which=WHICH)
    def an_old_run_arrives_again(self, at: int, which: int) -> None:
        """At a delegate that has forgotten what came of it."""
        if self.stage.delegates:
            one = self.stage.delegates[at % len(self.stage.delegates)]
            line = self.stage.network.of(one.name)
            old = [wire for each in one.lines for wire in each.down.arrived if wire.task.run]
            if old and line is not None:
                one.runner._results.clear()
                line.deliver_again(old[-1 - which % len(old)])
                self.stage.loop.settle()

    @rule(at=WHICH)
    def a_run_has_just_begun_and_arrives_again(self, at: int) -> None:
        self.operations_wait(False)
        self.stage.start_delegate("alpha", 2, ("eu", "us"))
        self.stage.order(1, False, "")
        self.stage.advance(3.0)
        self.an_old_run_arrives_again(-1, at)
        self.all_that_holds_always()
        self.stage.crash_delegate(-1, heard=True)

    @rule(heard=st.booleans(), seconds=st.sampled_from([61.0, 130.0]))
    def nobody_is_there_for_a_while(self, heard: bool, seconds: float) -> None:
        """And runs are passed over."""
        self.stage.order(4, True, "")
        self.stage.start_delegate("alpha", 1, ("eu", "us"))
        self.stage.advance(2.0)
        while self.stage.delegates:
            self.stage.crash_delegate(0, heard)
        self.stage.advance(seconds)
        self.all_that_holds_always()
        self.stage.start_delegate("alpha", 1, ("eu", "us"))
        self.stage.advance(9.0)

    @rule(shut=st.booleans())
    def operations_wait(self, shut: bool) -> None:
        if shut:
            self.stage.gate.is_shut = True
        else:
            self.stage.gate.open()
            self.stage.loop.settle()

    # Time.

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.stage.advance(seconds)

    @rule(at=WHICH, seconds=st.sampled_from([-100, -10, 10, 100]))
    def a_delegates_clock_jumps(self, at: int, seconds: int) -> None:
        if self.stage.delegates:
            self.stage.delegates[at % len(self.stage.delegates)].clock.ahead += seconds

    # The queue.

    @rule(
        is_tested=st.booleans(),
        by_ben=st.booleans(),
        selector=SELECTORS,
        priority=st.sampled_from(PRIORITIES),
        wait=WAITS,
    )
    def a_task_is_submitted_that_may_wait(
        self, is_tested: bool, by_ben: bool, selector: str, priority: Priority, wait: float
    ) -> None:
        self.stage.submit_lasting(is_tested, by_ben, selector, priority, wait)

    @rule(at=WHICH, wait=WAITS)
    def it_is_submitted_again(self, at: int, wait: float) -> None:
        self.stage.send_lasting(at, wait)

    @rule(at=WHICH)
    def somebody_asks_how_it_ended(self, at: int) -> None:
        self.stage.ask(at)

    @rule(at=WHICH)
    def a_task_that_waits_is_cancelled(self, at: int) -> None:
        self.stage.cancel_lasting(at)

    # Orders.

    @rule(runs=st.integers(1, 4), interval=st.booleans(), selector=SELECTORS)
    def an_order_is_published(self, runs: int, interval: bool, selector: str) -> None:
        if len(self.stage.ordered) < 3:
            self.stage.order(runs, interval, selector)

    @rule(at=WHICH, runs=st.integers(1, 4), again=st.booleans())
    def an_order_is_renewed(self, at: int, runs: int, again: bool) -> None:
        if again:
            self.stage.publish_again(at)
        else:
            self.stage.renew(at, runs)

    @rule(ends=st.booleans())
    def an_order_is_renewed_while_it_runs(self, ends: bool) -> None:
        """Or cancelled."""
        self.operations_wait(True)
        self.stage.start_delegate("alpha", 2, ("eu", "us"))
        self.stage.order(2, True, "")
        self.stage.advance(1.0)
        if ends:
            self.stage.cancel_order(-1)
        else:
            self.stage.renew(-1, 2)
        self.stage.advance(1.0)
        self.all_that_holds_always()
        self.stage.crash_delegate(-1, heard=True)

    @rule(at=WHICH)
    def an_order_is_cancelled(self, at: int) -> None:
        self.stage.cancel_order(at)

    # Tests of connectors.

    @rule(at=WHICH, fails=st.booleans())
    def a_delegates_tests_fail(self, at: int, fails: bool) -> None:
        self.stage.fail_tests(at, fails)

    @rule(at=WHICH, seconds=SECONDS)
    def a_delegates_test_has_failed_and_tasks_come(self, at: int, seconds: float) -> None:
        self.stage.fail_tests(at, True)
        self.stage.submit("check", by_ben=False, selector="", priority="normal", to=0)
        self.stage.advance(seconds)
        self.stage.submit("check", by_ben=False, selector="", priority="normal", to=0)
        self.stage.submit_lasting(True, False, "", "high", 0.0)

    # What must be true.

    @invariant()
    def all_that_holds_always(self) -> None:
        """That of every stage, and of this one."""
        for one in GENERAL:
            one(self.stage)
        for other in lasting.ALWAYS:
            other(self.stage)

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
                lasting.orders_go_on(stage)
                if all(run.is_over for run in stage.runs) and not list(stage.manager.tasks.deferred.queue):
                    break
            lasting.everything_kept_has_ended(stage)
            general.every_request_was_answered(stage)
            while stage.delegates:
                stage.crash_delegate(0, heard=True)
            stage.advance(10.0)
            stage.loop.advance(ORDER_SECONDS)
            general.nothing_is_left_when_all_has_ended(stage)
            lasting.nothing_that_lasted_is_left(stage)
            stage.restart_manager(heard=True)
            lasting.no_run_is_left_open(stage)
            lasting.each_end_is_audited_once_and_told(stage)
        finally:
            stage.close()


Lasting.TestCase.settings = how_long(examples=20, steps=30, long_steps=40)
TestLasting = Lasting.TestCase


def test_a_run_that_loses_its_delegate_and_is_renewed_meanwhile_has_its_time_and_an_end() -> None:
    story = Lasting()
    story.begin(is_there=False, shut=False, waits=["", ""], runs=1)
    story.a_line_breaks(at=0, delegate_hears=False, manager_hears=False)
    story.all_that_holds_always()
    story.an_order_is_renewed_while_it_runs(ends=False)
    story.all_that_holds_always()
    story.teardown()
