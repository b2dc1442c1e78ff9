"""Which run of an order is due, what it is called, and what has to be true before it may be acted on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared.canonical import b64u, lp, sha256
from shared.documents.jws import Verified
from shared.documents.order import LONGEST_ORDER_SECONDS, MOST_RUNS, OrderDocument
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, Expired, Malformed, NotReady, PrivySealError, Tampered
from shared.orders import check_run, due, end_of, next_start, planned, run_id, start_of, task_of
from shared.trust.authority import SKEW_SECONDS
from shared.trust.book import Book
from shared.trust.warrant import Warrant, standing
from tests.fakes.refusal import refused
from tests.fakes.standing import HOUR, checking, crafted, order_document, order_of, owned
from tests.fakes.world import World

DAY = 24 * HOUR


def judged(world: World, order: Verified[OrderDocument], n: int | None = 0, now: int | None = None) -> Warrant:
    """What a party says that knows all that the world has published, and has been shown the order."""
    book, moment = world.book(), world.now if now is None else now
    book.admit(order.compact, moment)
    return standing(book, order, n, moment)


def test_a_run_is_named_by_its_order_and_its_number() -> None:
    order = "A" * 43
    assert run_id(order, 0) == b64u(sha256(lp(b"privyseal/v1/run", order.encode(), bytes(8))))
    assert len({run_id(one, n) for one in (order, "B" * 42 + "A") for n in range(3)}) == 6


def test_runs_follow_each_other_until_the_order_ends() -> None:
    world = World()
    order = checking(world, exp=world.now + 10_000).document
    assert [(start_of(order, n) - world.now, end_of(order, n) - world.now) for n in range(3)] == [
        (0, 3_600),
        (3_600, 7_200),
        (7_200, 10_000),
    ]
    assert planned(order) == 3
    moments = {-1: None, 0: 0, 3_599: 0, 3_600: 1, 7_200: 2, 9_999: 2, 10_000: None}
    assert {at: due(order, world.now + at) for at in moments} == moments
    later = {-5: 0, 0: 3_600, 3_600: 7_200, 7_200: None, 10_000: None}
    assert {at: next_start(order, world.now + at) for at in later} == {
        at: None if start is None else world.now + start for at, start in later.items()
    }


def test_an_order_without_an_interval_is_due_once_until_its_end() -> None:
    world = World()
    order = checking(world, interval=0, runs=1).document
    assert end_of(order, 0) == order.exp and planned(order) == 1
    assert due(order, world.now) == due(order, order.exp - 1) == 0
    assert next_start(order, world.now - 1) == world.now
    assert next_start(order, world.now) is None


def test_no_more_runs_are_due_than_the_budget_has() -> None:
    world = World()
    order = checking(world, runs=2).document
    assert planned(order) == 2
    assert [due(order, world.now + at * HOUR) for at in range(3)] == [0, 1, None]
    assert next_start(order, world.now + HOUR) is None


def test_a_cancelled_order_has_no_run() -> None:
    world = World()
    order = structs.replace(checking(world).document, deleted=True)
    assert due(order, world.now) is None and next_start(order, world.now) is None


@given(st.integers(60, 10_000), st.integers(1, 200_000), st.integers(1, 50), st.integers(-10, 200_010))
def test_a_run_that_is_due_may_begin_and_the_next_one_starts_after_it(
    interval: int, lasting: int, runs: int, at: int
) -> None:
    order = structs.replace(
        PATTERN, interval=interval, exp=PATTERN.iat + lasting, runs=min(runs, MOST_RUNS)
    )  # fmt: skip
    now = order.iat + at
    n = due(order, now)
    if n is not None:
        assert start_of(order, n) <= now < end_of(order, n)
        check_run(order, n, now)
    after = next_start(order, now)
    if after is not None:
        assert after > now and due(order, after) == (0 if n is None else n + 1)


PATTERN = order_document(World(), World().check(World().connector), World().administrator)


@pytest.mark.parametrize(
    ("changes", "n", "at", "error", "code"),
    [
        ({}, 1, 0, Denied, "run_early"),
        ({}, 1, HOUR - SKEW_SECONDS - 1, Denied, "run_early"),
        ({}, 0, -SKEW_SECONDS - 1, Denied, "run_early"),
        ({}, 0, HOUR + SKEW_SECONDS, Expired, "run_late"),
        ({"runs": 1}, 1, HOUR, Denied, "run_beyond_budget"),
        ({}, 24, DAY - 1, Denied, "run_beyond_budget"),
        ({}, 2**64 - 2, 0, Denied, "run_beyond_budget"),
        ({}, 23, DAY, Expired, "order_expired"),
        ({"deleted": True}, 0, 0, Conflict, "order_deleted"),
    ],
    ids=str,
)
def test_a_run_begins_in_its_own_time_within_the_window_and_the_budget(
    changes: dict[str, Any], n: int, at: int, error: type[PrivySealError], code: str
) -> None:
    with refused(error, code):
        check_run(structs.replace(PATTERN, **changes), n, PATTERN.iat + at)


@pytest.mark.parametrize(("n", "at"), [(0, -SKEW_SECONDS), (0, HOUR + SKEW_SECONDS - 1), (1, HOUR - SKEW_SECONDS)])
def test_clocks_may_be_two_minutes_apart(n: int, at: int) -> None:
    check_run(PATTERN, n, PATTERN.iat + at)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": PATTERN.iat + LONGEST_ORDER_SECONDS + 1},
        {"exp": PATTERN.iat},
        {"exp": PATTERN.iat - 1},
        {"interval": 59},
        {"interval": 1},
        {"interval": LONGEST_ORDER_SECONDS + 1},
        {"interval": 0, "runs": 2},
        {"runs": 0},
        {"runs": MOST_RUNS + 1},
        {"input": ("A" * 43, "A" * 43)},
        {"op": "reveal"},
        {"op": "store"},
        {"op": "delete"},
        {"where": "a  and b"},
    ],
    ids="-".join,
)
def test_an_order_of_another_form_is_malformed(changes: dict[str, Any]) -> None:
    world = World()
    world.book().admit(crafted(world.administrator, PATTERN), world.now)
    with refused(Malformed, "order_document_malformed"):
        world.book().admit(crafted(world.administrator, PATTERN, **changes), world.now)


@pytest.mark.parametrize(
    "changes", [{"exp": PATTERN.iat + LONGEST_ORDER_SECONDS}, {"interval": 60}, {"where": "a and b"}], ids=str
)
def test_the_limits_themselves_are_allowed(changes: dict[str, Any]) -> None:
    world = World()
    book = world.book()
    document = structs.replace(PATTERN, **changes)
    assert book.admit(world.administrator.sign_document(document), world.now).document == document


def test_a_run_is_judged_as_a_task_is() -> None:
    world = World()
    order = checking(world)
    allowed = judged(world, order)
    assert allowed.task.digest == run_id(order.digest, 0)
    assert allowed.task.kid == world.administrator.kid
    assert [use.connector.digest for use in allowed.uses] == [world.connector.digest]
    assert allowed.task.document.repeat == "any" and allowed.task.document.to is None


def test_a_run_says_of_what_is_done_what_the_order_says() -> None:
    world = World()
    command = world.exec([world.store(world.secret("token"), b"x")])
    order = order_of(world, command.task)
    run = task_of(order, 2).document
    same = set(TaskDocument.__struct_fields__) & set(OrderDocument.__struct_fields__) - {"iat", "exp"}
    assert {name: getattr(run, name) for name in same} == {name: getattr(order.document, name) for name in same}
    assert (run.iat, run.exp) == (world.now + 2 * HOUR, world.now + 3 * HOUR)
    assert judged(world, order).task.document.seconds == 60


def test_a_command_needs_its_input_and_its_time_limit_as_in_a_task() -> None:
    world = World()
    command = world.exec([world.store(world.secret("token"), b"x")])
    for changes in ({"seconds": None}, {"input": ()}):
        with refused(Malformed, "task_malformed"):
            judged(world, order_of(world, command.task, **changes))


def test_an_order_is_its_owners() -> None:
    world = World()
    other = world.identity("other")
    world.grant(other, ["use"])
    with refused(Denied, "order_of_another"):
        judged(world, order_of(world, world.check(world.connector), other, owner=world.administrator.kid))


def test_an_administrator_ends_anybodys_order_and_changes_none() -> None:
    world = World()
    owner, _, order = owned(world)
    book = world.book()
    book.admit(order.compact, world.now)
    with refused(Denied, "order_of_another"):
        book.admit(world.next(order).compact, world.now)
    end = world.next(order, deleted=True)
    book.admit(end.compact, world.now)
    with refused(Conflict, "order_superseded"):
        standing(book, order, 0, world.now)
    with refused(Conflict, "order_deleted"):
        standing(book, end, 0, world.now)
    with refused(Conflict, "document_deleted"):
        book.admit(world.next(end, owner, deleted=False).compact, world.now)


def test_a_deletion_by_an_administrator_is_never_taken_for_the_owners_order() -> None:
    world = World()
    order = owned(world)[-1]
    book = world.book()
    book.admit(order.compact, world.now)
    forged = Verified("order", world.administrator.kid, order.document, order.compact, order.digest)
    with refused(Denied, "order_of_another"):
        standing(book, forged, 0, world.now)


def test_an_id_stays_its_owners() -> None:
    world = World()
    other = world.identity("other")
    world.grant(other, ["use"])
    order = checking(world)
    book = world.book()
    book.admit(order.compact, world.now)
    stolen = world.next(order, other, owner=other.kid)
    with refused(Conflict, "field_immutable"):
        book.admit(stolen.compact, world.now)


def test_an_older_revision_and_a_fork_are_refused() -> None:
    world = World()
    first = checking(world)
    second, third = world.next(first, runs=5), world.next(first, runs=6)
    book = world.book()
    book.admit(first.compact, world.now)
    book.admit(second.compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(third.compact, world.now)
    with refused(Conflict, "order_superseded"):
        standing(book, first, 0, world.now)
    late = world.book()
    late.admit(second.compact, world.now)
    with refused(Conflict, "revision_stale"):
        late.admit(first.compact, world.now)


def test_an_order_that_was_not_taken_in_counts_for_nothing() -> None:
    world = World()
    with refused(Conflict, "order_superseded"):
        standing(world.book(), checking(world), 0, world.now)


def test_an_order_whose_signers_grant_fell_runs_no_more() -> None:
    world = World()
    _, grant, order = owned(world)
    assert judged(world, order).uses
    world.revise_status(grants=(grant.document.id,))
    with refused(Denied, "grant_revoked"):
        judged(world, order)


def test_an_order_that_pins_what_was_revised_waits_for_its_owner() -> None:
    world = World()
    order = checking(world)
    world.revise(world.connector, name="another")
    with refused(Conflict, "pin_stale"):
        judged(world, order)


def test_an_order_ends_with_the_status() -> None:
    world = World()
    order = checking(world, iat=world.now + 80 * DAY, exp=world.now + 100 * DAY, runs=1_000)
    judged(world, order, now=world.now + 80 * DAY)
    with refused(NotReady, "status_expired"):
        judged(world, order, 240, now=world.now + 90 * DAY)


def test_whether_it_may_be_done_at_all_is_asked_without_a_run() -> None:
    world = World()
    order = checking(world, runs=30)
    assert judged(world, order, None, world.now + 5 * HOUR).task.digest == run_id(order.digest, 0)
    with refused(Expired, "order_expired"):
        judged(world, order, None, world.now + DAY)
    with refused(Denied, "run_early"):
        judged(world, order, None, world.now - SKEW_SECONDS - 1)
    ended: Book = world.book()
    short = checking(world, name="short", runs=1)
    ended.admit(short.compact, world.now)
    with refused(Expired, "run_late"):
        standing(ended, short, None, world.now + 2 * HOUR)


def test_many_orders_of_one_owner_crowd_out_nobody_elses_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.trust.book.MOST_ORDERS", 2)
    world = World()
    other = world.identity("other")
    world.grant(other, ["view"])
    order = checking(world)
    book = world.book()
    book.admit(order.compact, world.now)
    end = world.next(order, deleted=True)
    book.admit(end.compact, world.now)
    flood = [order_of(world, world.check(world.connector, other), other, name=f"flood {n}") for n in range(5)]
    for one in flood:
        book.admit(one.compact, world.now)
    with refused(Conflict, "revision_stale"):
        book.admit(order.compact, world.now)
    assert [book.find(one.digest) is not None for one in flood] == [False, False, False, True, True]
    assert book.find(world.connector.digest) is not None
    # In a draft as well, and without reaching the book that it is of.
    draft = book.draft()
    draft.admit(world.next(flood[4], other, runs=3).compact, world.now)
    draft.admit(flood[0].compact, world.now)
    assert draft.newest(flood[4].document) != book.newest(flood[4].document) == (1, flood[4].digest)
    assert book.find(flood[0].digest) is None


def test_a_revision_is_forgotten_when_the_next_one_comes_and_stays_refused() -> None:
    world = World()
    first = checking(world)
    second = world.next(first, runs=5)
    book = world.book()
    book.admit(first.compact, world.now)
    book.admit(second.compact, world.now)
    assert book.find(first.digest) is None and book.find(second.digest) is not None
    with refused(Conflict, "revision_stale"):
        book.admit(first.compact, world.now)
