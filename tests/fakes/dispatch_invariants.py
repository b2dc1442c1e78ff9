"""What must be true of a `Stage`: each invariant of docs/dispatch.md is the function of its name here.

Those of `ALWAYS` hold whenever nothing more can happen at a moment, whatever has happened before. Those of `AFTERWARDS` hold
once everything is well again and has had its time. Each raises AssertionError and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from delegate.clock import Clock as DelegateClock
from manager.assignment import Assignment
from manager.books import Books
from manager.clock import Clock
from manager.fleet import Delegate
from manager.line import OLDEST_EVERY
from manager.metrics import ManagerMetrics
from manager.orders import RETRY_SECONDS
from manager.outcomes import Finished
from manager.routing import PASSING, Wanted, reasons
from manager.store import Store
from shared.documents.answer import AnswerDocument
from shared.documents.jws import parse_as
from shared.errors import PrivySealError
from shared.session import Phase
from shared.task import FINAL, PRIORITIES, State
from tests.fakes.dispatch_stage import Stage
from tests.fakes.lines import ROOM

TELL_SECONDS = 31.0
"""What a delegate that doesn't read may cost who gives a task up: as long as `Delegate.tell` waits, and a moment."""


# Always.


def a_never_task_begins_at_most_once(stage: Stage) -> None:
    """Counted where it would happen: at the secret manager, and at a rogue's reading it."""
    for one in stage.submissions:
        if one.is_never:
            id = one.task.digest
            honest = stage.gate.begun["delete", one.identifier] if one.task.document.op == "delete" else 0
            rogues = sum(
                rogue.begun.count(id) for rogue in stage.rogues if not any(line.is_tampered for line in rogue.lines)
            )
            assert honest + rogues <= 1, f"{one.task.document.op} begun {honest} and {rogues} times"


def a_never_task_is_written_down_before_it_begins(stage: Stage) -> None:
    """So that the next manager knows of it."""
    for one in stage.submissions:
        id = one.task.digest
        honest = one.task.document.op == "delete" and stage.gate.begun["delete", one.identifier]
        if one.is_never and (honest or any(id in rogue.begun for rogue in stage.rogues)):
            assert stage.loop.complete(stage.manager.store.task(stage.world.id, id)) is not None


def what_may_have_happened_is_called_unknown(stage: Stage) -> None:
    """A never task that ended without an answer and isn't unknown has begun nowhere, and never will."""
    lives = {one.id: one.life for one in stage.manager.dispatcher.given}
    for run in stage.runs:
        one = run.submission
        life = lives.get(one.task.digest)
        if not one.is_never or life is None or run.manager is not stage.manager or one.task.document.op != "delete":
            continue
        if any(isinstance(outcome, PrivySealError) for outcome in run.outcomes):
            begun = stage.gate.begun["delete", one.identifier]
            assert not begun or life.state in {State.UNKNOWN, State.DONE, State.QUEUED, State.LEASED}, life


def every_end_has_a_state_and_a_reason(stage: Stage) -> None:
    """One outcome a request, with a final state; the task's life in the manager says the same."""
    for run in stage.runs:
        assert len(run.outcomes) <= 1
        if run.is_over and run.manager is stage.manager:
            assert run.asked is not None
            assert not run.asked.cancelled() and run.asked.exception() is None
            assert len(run.outcomes) == 1
        for outcome in run.outcomes:
            assert outcome.code
            if isinstance(outcome, Finished):
                assert State(outcome.state) in {State.DONE, State.FAILED}
    running = stage.manager.dispatcher.running(stage.world.id)
    for one in stage.manager.dispatcher.given:
        if running.get(one.id) is not one:
            # One that is kept goes back to where it waits; an order's run, which nobody can take in this moment, has its time.
            goes_on = one.is_kept or (one.run and stage.manager.clock.now() <= one.exp + RETRY_SECONDS)
            assert (one.life.state in FINAL and one.life.code) or (goes_on and one.life.state is State.QUEUED)


def every_task_ends_in_its_time(stage: Stage) -> None:
    """Its time to start, three attempts, and the grace between them; whatever delegates do or don't."""
    for run in stage.runs:
        if run.manager is stage.manager and not run.is_over:
            assert stage.loop.moment <= run.until


def who_gives_up_waits_no_longer(stage: Stage) -> None:
    """A task that was cancelled ends at once; where its delegate doesn't read, once it is cut for that."""
    for run in stage.runs:
        if run.manager is stage.manager and run.cancelled_at is not None and not run.is_over:
            unread = any(len(line.down.under_way) >= ROOM for line in stage.network.lines)
            assert unread and stage.loop.moment - run.cancelled_at <= TELL_SECONDS


def nobody_holds_more_than_its_credits(stage: Stage) -> None:
    """Told by the delegates themselves: an honest one by its places, a rogue by counting."""
    for one in stage.delegates:
        assert one.runner.executing <= one.runner.capacity
    for rogue in stage.rogues:
        assert not rogue.excess or any(line.is_tampered for line in rogue.lines)
    for row in stage.manager.fleet:
        assert row.session.credits >= 0


def an_answer_counts_only_from_who_has_the_task(stage: Stage) -> None:
    """It is signed by the delegate of the last attempt, and was given for that attempt."""
    lives = {one.id: one for one in stage.manager.dispatcher.given}
    for run in stage.runs:
        for outcome in run.outcomes:
            life = lives.get(run.submission.task.digest)
            if run.manager is not stage.manager or not isinstance(outcome, Finished) or life is None:
                continue
            if outcome.state != life.life.state.value:
                continue  # submitted again since
            assert parse_as(AnswerDocument, outcome.answer).kid == life.life.delegate
            for rogue in stage.rogues:
                if rogue.identity.kid == life.life.delegate:
                    assert rogue.answered.get(outcome.answer) == life.life.attempt


def nobody_waits_who_could_be_served(stage: Stage) -> None:
    """While a delegate has a free place and fits, no task waits for one."""
    now = stage.manager.clock.now()
    for one in waiting(stage):
        for row in stage.manager.fleet:
            assert reasons(row.candidate(now, one.id), _wanted(stage, one)), f"{one.op} waits beside {row.name}"


def who_comes_first_is_served_first(stage: Stage) -> None:
    """A higher priority before a lower, and one principal's tasks as they came; but each eighth place is the oldest's."""
    still = {one for one, seat in stage.waited if one.seat is seat and not seat.done()}
    now = stage.manager.clock.now()
    rows = {row.kid: row for row in stage.manager.fleet}
    order = {one: at for at, (one, _) in enumerate(stage.waited)}
    for one, seat in stage.waited:
        row = rows.get(one.life.delegate)
        if one in still or not seat.done() or seat.cancelled() or seat.exception() or row is None:
            continue
        stage.served += 1
        for other, _ in stage.waited:
            if other not in still or not _might_have(stage, row, other, now):
                continue
            before = order[other] < order[one]
            better = PRIORITIES.index(other.priority) < PRIORITIES.index(one.priority)
            assert not (before and better)
            assert not (before and (other.priority, other.principal) == (one.priority, one.principal))
            stage.out_of_turn += better
    assert stage.out_of_turn == 0 or stage.served >= OLDEST_EVERY


def the_choice_is_that_of_the_rules(stage: Stage) -> None:
    """The fleet's picture of who is free and how loaded is that of the sessions, for whatever might be asked."""
    fleet, now = stage.manager.fleet, stage.manager.clock.now()
    asked = {one.wanted for one in stage.manager.dispatcher.given[-4:]}
    for one in asked:
        able = [row for row in fleet if not reasons(row.candidate(now), one)]
        best = min(able, key=lambda row: (row.load, row.order), default=None)
        assert fleet.choose(stage.world.id, one, "") is best
        could = any({reason.code for reason in reasons(row.candidate(now), one)} <= PASSING for row in fleet)
        assert fleet.could_wait(stage.world.id, one) == could


def the_books_are_right(stage: Stage) -> None:
    """A delegate's load is the tasks that it has; what runs has a delegate or waits; the figures say so."""
    running = stage.manager.dispatcher.running(stage.world.id).values()
    for one in running:
        if one.delegate is not None:
            assert one.life.state in {State.LEASED, *FINAL}
            assert one.life.delegate == one.delegate.kid
            if one.reply is not None and not one.reply.done():
                assert stage.manager.fleet.find(stage.world.id, one.delegate.kid) is one.delegate
    figures = stage.manager.gauges()
    assert figures.get("privyseal_manager_tasks_executing", 0) == sum(one.delegate is not None for one in running)
    assert figures.get("privyseal_manager_tasks_waiting", 0) == len(waiting(stage))
    assert figures.get("privyseal_manager_delegates_connected", 0) == len(list(stage.manager.fleet))
    over = sum(
        row.session.heartbeat.memory is not None and row.session.heartbeat.memory.over for row in stage.manager.fleet
    )
    assert figures.get('privyseal_manager_delegates_over_limit{resource="memory"}', 0) == over


def nothing_crashes(stage: Stage) -> None:
    """No exception that nobody expected, in either program; and neither breaks the protocol while nobody meddles."""
    assert stage.loop.crashes == []
    for run in stage.runs:
        assert all(outcome.code != "internal" for outcome in run.outcomes if isinstance(outcome, PrivySealError))
    for one in stage.delegates:
        assert one.link.state != "crashed"
        if not one.has_tampered_line:
            assert not {"protocol_violation", "message_malformed", "internal"} & set(one.refused)


# Afterwards.


def everybody_is_back_with_all_his_places(stage: Stage) -> None:
    """Each honest delegate is connected, owes nothing, and both sides know of as much credit as it has places."""
    rows = {row.kid: row for row in stage.manager.fleet}
    for one in stage.delegates:
        line = stage.network.of(one.name)
        if one.life.done() or one.daemon.ready()[1].get("draining") or (line is not None and line.is_tampered):
            continue
        row = rows[one.identity.kid]
        stream = one.link._stream
        assert stream is not None
        for session in (row.session, stream._session):
            assert session.phase is Phase.OPEN
            assert session.outstanding == {}
            assert session.credits == one.runner.capacity
        assert one.runner.executing == 0 and not one.runner._running


def every_request_was_answered(stage: Stage) -> None:
    """None is left under way."""
    assert [run for run in stage.runs if not run.is_over] == []


def what_was_acknowledged_is_still_there(stage: Stage) -> None:
    """Asked of the manager that runs now: the audit has it, and so has whatever it changed."""
    store, account, loop = stage.manager.store, stage.world.id, stage.loop
    audited = list(_audit(stage))
    for run in stage.runs:
        submission = run.submission
        for outcome in run.outcomes:
            if not isinstance(outcome, Finished):
                continue
            id, op = submission.task.digest, submission.task.document.op
            assert any(id in text for text in audited), "answered, and not audited"
            if outcome.state != State.DONE.value:
                continue
            target = submission.task.document.targets[0]
            if op == "store":
                version = loop.complete(store.version(account, target.secret or "", target.n))
                assert version is not None and version.digest == id
            if op == "delete":
                version = loop.complete(store.version(account, target.secret or "", target.n))
                assert version is None or version.deleted_at is not None
            if submission.is_never:
                row = loop.complete(store.task(account, id))
                assert row is not None and row.state == outcome.state


def no_never_task_is_left_open(stage: Stage) -> None:
    """After a restart each one that was written down has an end, and its row the state that its submitter was told."""
    page = stage.loop.complete(stage.manager.store.tasks(stage.world.id, state=State.QUEUED.value))
    assert page.items == []


def nothing_is_left_when_all_has_ended(stage: Stage) -> None:
    """No task, timer, map entry or figure of what was; only what is remembered on purpose."""
    manager = stage.manager
    assert list(manager.fleet) == []
    left = dict(_left(manager.dispatcher)) | dict(_left(manager.fleet)) | dict(_left(manager.streams))
    left |= dict(_left(manager.tasks))
    assert left == {}, sorted(left)
    assert stage.loop.tasks(manager.name) == manager.lasting
    # The looks at all streams, at what waits, at what is due; and that which lets what a delegate's test came to lapse.
    assert not Counter(stage.loop.timers(manager.name)) - Counter([SLEEP, SLEEP, SLEEP, "Probes.tidy"])
    figures = manager.gauges()
    assert {name for name in figures if name.startswith(GAUGES)} == set()


ALWAYS: tuple[Callable[[Stage], None], ...] = (
    a_never_task_begins_at_most_once,
    a_never_task_is_written_down_before_it_begins,
    what_may_have_happened_is_called_unknown,
    every_end_has_a_state_and_a_reason,
    every_task_ends_in_its_time,
    who_gives_up_waits_no_longer,
    nobody_holds_more_than_its_credits,
    an_answer_counts_only_from_who_has_the_task,
    nobody_waits_who_could_be_served,
    who_comes_first_is_served_first,
    the_choice_is_that_of_the_rules,
    the_books_are_right,
    nothing_crashes,
)
AFTERWARDS: tuple[Callable[[Stage], None], ...] = (
    everybody_is_back_with_all_his_places,
    every_request_was_answered,
    what_was_acknowledged_is_still_there,
    no_never_task_is_left_open,
    nothing_is_left_when_all_has_ended,
)

SLEEP = "_set_result_unless_cancelled"
"""What ends `asyncio.sleep`."""

GAUGES = tuple(
    f"privyseal_manager_{name}"
    for name in (
        "tasks_executing",
        "tasks_waiting",
        "delegates_connected",
        "delegates_draining",
        "delegates_over_limit",
        "store_waiting_writes",
        "store_waiting_bytes",
    )
)

REMEMBERED = {
    "Fleet._gone": "for explanations",
    "Dispatcher._paces": "how fast tasks ended, for advice",
    "Outputs._buffers": "for who reads on after the end",
    "Outcomes._kept": "outcomes, for who asks again",
    "Probes._ends": "what delegates' tests came to, for hours",
    "Probes._results": "the same",
    "Probes._revisions": "the same",
    "Probes._seconds": "settings",
    "Named._references": "which secrets the connectors of those tests name",
    "Lapses._accounts": "when what is remembered of tests lapses",
    "Streams._origins": "settings",
    "Selection._queue": "gaps, closed as delegates come",
    "Selection._last": "what was last chosen among, for the sentence why",
    "Selection._owned": "looked through when it is used",
}
"""What may hold something when all has ended, and why."""

_ELSEWHERE = (Books, Store, Clock, DelegateClock, ManagerMetrics)


def waiting(stage: Stage) -> list[Assignment]:
    """Who waits for a place, as they came."""
    line = stage.manager.dispatcher._waiting._lines.get(stage.world.id)
    places = [] if line is None else list(line._places)
    given = [one for one in stage.manager.dispatcher.given if one.seat is not None and not one.seat.done()]
    assert set(places) == set(given), "who waits stands in the line, and nobody else"
    return places


def _wanted(stage: Stage, one: Assignment) -> Wanted:
    """What it asks for now, after what it has been through."""
    return stage.manager.dispatcher._wanted(one)


def _might_have(stage: Stage, row: Delegate, one: Assignment, now: int) -> bool:
    return {reason.code for reason in reasons(row.candidate(now, one.id), _wanted(stage, one))} <= PASSING


def _audit(stage: Stage) -> Iterator[str]:
    after = 0
    while rows := stage.loop.complete(stage.manager.store.audit_page(stage.world.id, after, 500)):
        for row in rows:
            after = row.seq
            yield row.entry


def _left(thing: Any, seen: set[int] | None = None) -> Iterator[tuple[str, str]]:
    """What the manager's objects, from `thing` on, still hold."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, _ELSEWHERE):
        return
    seen.add(id(thing))
    for name, value in _attributes(thing):
        full = f"{type(thing).__name__.lstrip('_')}.{name}"
        if full in REMEMBERED:
            continue
        if isinstance(value, Mapping | list | set | tuple) or hasattr(value, "popleft"):
            if _holds(value):
                yield full, repr(value)[:200]
            children = value.values() if isinstance(value, Mapping) else ()
            for child in children:
                yield from _left(child, seen)
        elif type(value).__module__.startswith("manager."):
            yield from _left(value, seen)


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    names = [*getattr(thing, "__dict__", ())]
    for cls in type(thing).__mro__:
        slots = getattr(cls, "__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
    for name in names:
        if hasattr(thing, name) and name != "given":
            yield name, getattr(thing, name)


def _holds(value: Any) -> bool:
    """Whether there is anything in it but empty things and zeros."""
    if isinstance(value, Mapping):
        return any(_holds(one) for one in value.values())
    if isinstance(value, list | set | tuple | frozenset) or hasattr(value, "popleft"):
        return len(value) > 0
    if hasattr(value, "__len__"):
        return len(value) > 0
    return bool(value)
