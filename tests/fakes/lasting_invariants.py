"""What must be true of what lasts on a `LastingStage`: each invariant of docs/dispatch.md's last tables is the function of its name here.

As in `tests.fakes.dispatch_invariants`, whose own hold here too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

from manager.outcomes import Finished
from manager.probes import WAIT_SECONDS
from manager.prospects import LOOK_SECONDS as PROSPECT_SECONDS
from manager.routing import reasons
from manager.rows import RunRow
from manager.standby import LONGEST_PAUSE_SECONDS, LOOK_SECONDS, STIR_SECONDS
from shared.documents.order import OrderDocument
from shared.orders import due, end_of, run_id, start_of
from shared.task import FINAL, State
from shared.trust.authority import SKEW_SECONDS
from tests.fakes.dispatch_invariants import REMEMBERED, _audit, _left, waiting
from tests.fakes.lasting_stage import MOST_QUEUED, UNDECIDED, Kept, LastingStage

MOMENT = 1.5
"""Between two looks at the stage, and a little."""

ENDS = frozenset(one.value for one in FINAL)

# Always.


def what_was_kept_waits_runs_or_has_ended(stage: LastingStage) -> None:
    """Whoever was told that his task is kept finds it so, whatever restarts came; and it ends in its time."""
    tasks = stage.manager.tasks
    standby = tasks.deferred._standby
    for one in _acknowledged(stage):
        entry = stage.entry(one)
        if entry is None:
            ended = [
                each for each in tasks.deferred.queue._accounts[stage.world.id].values() if each.ended_at is not None
            ]
            assert len(ended) == MOST_QUEUED, "acknowledged, and forgotten"
            one.is_forgotten = True
            continue
        if entry.ended_at is not None:
            assert entry.state in ENDS and entry.code
            continue
        line = standby._lines.get(stage.world.id, ())
        under_way = (stage.world.id, one.caller.kid, one.task.digest) in tasks._running
        assert entry in line or under_way, "it waits for nothing"
        assert stage.manager.store.commit.fails or stage.loop.moment <= one.until + max(0, -stage.manager.clock.ahead)
        assert not one.is_cancelled, "cancelled, and not ended"


def an_end_is_the_last_word(stage: LastingStage) -> None:
    """How it ended never changes, nobody is told another thing, and no delegate is sent it after that."""
    sent = stage.sent()
    for one in _acknowledged(stage):
        entry = stage.entry(one)
        if entry is not None and entry.ended_at is not None:
            if one.end is None:
                one.end, one.given = (entry.state, entry.code), sent[one.task.digest]
            assert (entry.state, entry.code) == one.end
        if one.end is not None:
            assert entry is not None and entry.ended_at is not None, "it had ended, and waits again"
            assert sent[one.task.digest] == one.given, "it had ended, and was sent again"
        # Before that it may have ended without having been kept, and nobody knew of it after a restart.
        first = next(at for at, told in enumerate(one.told) if told.state in UNDECIDED)
        since = one.told[first:]
        ends = {(told.state, told.code) for told in since if told.state not in UNDECIDED}
        assert one.end is None or ends <= {one.end}
        at = [told.state in UNDECIDED for told in since]
        assert at == sorted(at, reverse=True), "told its end, and then that it waits"


def the_queue_keeps_within_its_bounds(stage: LastingStage) -> None:
    """In what waits, of which one principal has half at most, and in the outcomes that are kept."""
    queue = stage.manager.tasks.deferred.queue
    entries = list(queue._accounts.get(stage.world.id, {}).values())
    waits = Counter(one.principal for one in entries if one.ended_at is None)
    assert sum(waits.values()) <= MOST_QUEUED and all(count <= MOST_QUEUED // 2 for count in waits.values())
    assert sum(one.ended_at is not None for one in entries) <= MOST_QUEUED


def one_delegate_has_it_at_a_time(stage: LastingStage) -> None:
    """Of each task, and each run, at most one attempt is under way in a manager."""
    under_way = Counter(
        one.id for one in stage.manager.dispatcher.given if one.reply is not None and not one.reply.done()
    )
    assert all(count == 1 for count in under_way.values())


def what_may_wait_is_tried_when_somebody_could_have_it(stage: LastingStage) -> None:
    """While a delegate that fits has a free place, nothing stays in the queue longer than a pause after the last time."""
    standby, now = stage.manager.tasks.deferred._standby, stage.manager.clock.now()
    found = set()
    for entry in standby._lines.get(stage.world.id, ()):
        if entry.exp <= now:
            continue
        # Of one from before a restart it isn't known what it wants until it was tried.
        wanted = entry.wanted
        if wanted is None or any(not reasons(row.candidate(now), wanted) for row in stage.manager.fleet):
            found.add(("queue", f"{entry.task} {entry.not_before}"))
    _bound(stage, "queue", found, LONGEST_PAUSE_SECONDS + LOOK_SECONDS + STIR_SECONDS)


def a_run_begins_once_in_a_process_and_in_its_time(stage: LastingStage) -> None:
    """Counted where it happens, at the secret manager, by the clock of the delegate; none of what nobody ordered."""
    known = {
        run_id(revision.digest, n): (revision.document, n)
        for one in stage.ordered
        for revision in one.revisions
        for n in range(revision.document.runs)
    }
    begun: Counter[tuple[str, str]] = Counter()
    tasks = {one.task.digest for one in stage.kept} | {one.task.digest for one in stage.submissions}
    for call in stage.gate.calls:
        if call.task in tasks:
            continue
        order, n = known[call.task]
        begun[call.process, call.task] += 1
        assert begun[call.process, call.task] == 1, "it has begun before in that process"
        assert start_of(order, n) - SKEW_SECONDS <= call.at < end_of(order, n) + SKEW_SECONDS


def a_run_is_written_down_before_it_is_sent(stage: LastingStage) -> None:
    """So that the next manager doesn't send it once more."""
    rows = {row.run for _, _, page in _runs(stage) for row in page}
    for one in stage.manager.dispatcher.given:
        assert not one.run or one.id in rows


def runs_come_in_their_order_and_none_is_made_up_for(stage: LastingStage) -> None:
    """Each begun while it was due, one at a time, once; what was passed over is counted and stays so."""
    for order, published, page in _runs(stage):
        previous = (due(order, max(published, order.iat)) or 0) - 1 if published else None
        for row in sorted(page, key=lambda one: one.n):
            assert start_of(order, row.n) <= row.started_at < end_of(order, row.n), "not in its time"
            assert previous is None or row.n - row.skipped - 1 == previous, "passed over, and not counted"
            assert row.finished_at is None or row.code
            previous = row.n
    sent: Counter[str] = Counter(one.id for one in (*stage.past, *stage.manager.dispatcher.given) if one.run)
    assert all(count == 1 for count in sent.values()), "a run was dispatched twice"
    open_: Counter[str] = Counter(row.order for _, _, page in _runs(stage) for row in page if row.finished_at is None)
    assert all(count == 1 for count in open_.values()), "two runs of an order side by side"


def a_cancelled_order_begins_nothing(stage: LastingStage) -> None:
    """From the moment in which its owner was told so, after restarts too."""
    for one in stage.ordered:
        if one.sent_at_end is not None:
            assert stage.sent_of(one) == one.sent_at_end
            assert (stage.world.id, one.order.document.id) not in stage.manager.orders._standing


def failed_tests_alone_keep_nobody_waiting(stage: LastingStage) -> None:
    """Who could be served by a delegate but for its failed test is, when it was asked to test again and has had its time."""
    now, found = stage.manager.clock.now(), set()
    for one in waiting(stage):
        wanted = stage.manager.dispatcher._wanted(one)
        told = [{reason.code for reason in reasons(row.candidate(now, one.id), wanted)} for row in stage.manager.fleet]
        sound = [codes for codes in told if not codes & {"probe_failed"} and codes <= {"no_credit"}]
        if {"probe_failed"} in told and not sound:
            found.add(("test", one.id))
    _bound(stage, "test", found, WAIT_SECONDS + PROSPECT_SECONDS)


def a_test_counts_for_its_time_and_no_longer(stage: LastingStage) -> None:
    """What is remembered is what delegates are known by, and nothing of it is older than it may be."""
    probes, moment = stage.manager.probes, stage.loop.moment
    assert probes._lapses.next() > moment
    remembered = {(kid, digest): one.probed for (_, kid, digest), one in probes._results.items()}
    for row in stage.manager.fleet:
        assert dict(row.probed) == {digest: one for (kid, digest), one in remembered.items() if kid == row.kid}
    assert set(probes._rounds) <= probes._asked | {
        name for one in probes._rounds.values() for each in one for name in each.awaited
    }


# Afterwards.


def each_end_is_audited_once_and_told(stage: LastingStage) -> None:
    """Of what was acknowledged: one entry that says how it ended, and an outcome for who asks after a restart."""
    ends: Counter[str] = Counter()
    for text in _audit(stage):
        entry = json.loads(text)
        if entry.get("outcome") in ENDS:
            ends[entry.get("task", "")] += 1
    for one in _acknowledged(stage):
        if one.end is not None and stage.entry(one) is not None:
            assert ends[one.task.digest] == 1
            finished = _outcome(stage, one)
            assert (finished.state, finished.code) == one.end
            assert finished.answer or finished.state != State.DONE.value


def no_run_is_left_open(stage: LastingStage) -> None:
    """After a restart each run that was begun has an end; what was under way is unknown."""
    assert [row for _, _, page in _runs(stage) for row in page if row.finished_at is None] == []


def everything_kept_has_ended(stage: LastingStage) -> None:
    """Nothing waits for ever."""
    assert [one for one in _acknowledged(stage) if one.end is None] == []
    assert len(list(stage.manager.tasks.deferred.queue)) == 0


def orders_go_on(stage: LastingStage) -> None:
    """With a delegate that fits, each order's run that is due was begun, and is done."""
    now = stage.manager.clock.now()
    tags = {tag for row in stage.manager.fleet if row.session.takes_tasks for tag in row.tags}
    for one in stage.ordered:
        order = one.order.document
        n = due(order, now)
        standing = stage.manager.orders._standing.get((stage.world.id, order.id))
        if n is None or one.is_uncertain or standing is None or now - start_of(order, n) < 20:
            continue
        if all(wanted.selector in tags for wanted in order.selectors) and list(stage.manager.fleet):
            assert standing.last == n, "due, and not begun"


def nothing_that_lasted_is_left(stage: LastingStage) -> None:
    """No order stands, no test is remembered, nothing waits; the queue knows how things ended, for a day."""
    for thing in (stage.manager.orders, stage.manager.probes, stage.manager.tasks):
        left = dict(_left(thing))
        assert left == {}, sorted(left)
    probes = stage.manager.probes
    assert not probes._results and not probes._revisions and not probes._rounds and not probes._asked
    assert probes._lapses.next() == float("inf")


ALWAYS: tuple[Callable[[LastingStage], None], ...] = (
    what_was_kept_waits_runs_or_has_ended,
    an_end_is_the_last_word,
    the_queue_keeps_within_its_bounds,
    one_delegate_has_it_at_a_time,
    what_may_wait_is_tried_when_somebody_could_have_it,
    a_run_begins_once_in_a_process_and_in_its_time,
    a_run_is_written_down_before_it_is_sent,
    runs_come_in_their_order_and_none_is_made_up_for,
    a_cancelled_order_begins_nothing,
    failed_tests_alone_keep_nobody_waiting,
    a_test_counts_for_its_time_and_no_longer,
)
AFTERWARDS: tuple[Callable[[LastingStage], None], ...] = (
    everything_kept_has_ended,
    each_end_is_audited_once_and_told,
    no_run_is_left_open,
    orders_go_on,
    nothing_that_lasted_is_left,
)

REMEMBERED.setdefault("Queue._accounts", "how what was kept has ended, for a day")


def sample(stage: LastingStage) -> None:
    """Those of the invariants that say for how long something may be, between other things that happen."""
    what_may_wait_is_tried_when_somebody_could_have_it(stage)
    failed_tests_alone_keep_nobody_waiting(stage)


def _bound(stage: LastingStage, kind: str, found: set[tuple[str, str]], seconds: float) -> None:
    """What is so by now may be so for that long."""
    for name in [one for one in stage.idle if one[0] == kind and one not in found]:
        del stage.idle[name]
    for name in found:
        since = stage.idle.setdefault(name, stage.loop.moment)
        assert stage.loop.moment - since <= seconds + MOMENT, f"{kind}: for {stage.loop.moment - since} s"


def _acknowledged(stage: LastingStage) -> list[Kept]:
    return [one for one in stage.kept if one.is_acknowledged and not one.is_forgotten]


def _outcome(stage: LastingStage, one: Kept) -> Finished:
    entry = stage.entry(one)
    assert entry is not None
    return stage.loop.complete(stage.manager.tasks.deferred.told(entry, 0))


def _runs(stage: LastingStage) -> Iterator[tuple[OrderDocument, int, list[RunRow]]]:
    """Of each revision of each order: when it was published (0 where a later one has taken its place), and its runs."""
    ledger = stage.manager.orders.ledger
    for one in stage.ordered:
        row = stage.loop.complete(ledger.order(stage.world.id, one.order.document.id))
        rows = stage.loop.complete(ledger.runs(stage.world.id, one.order.document.id))
        for revision in one.revisions:
            document = revision.document
            published = row.published_at if row is not None and row.compact == revision.compact else 0
            yield document, published, [each for each in rows if each.run == run_id(revision.digest, each.n)]
