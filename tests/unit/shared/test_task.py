"""A task's life: what may happen once happens once, final is final, and nothing is tried for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.task import FINAL, MOST_ATTEMPTS, RETRYABLE_CODES, Life, State, WrongTransition

CODES = st.sampled_from(["ok", "partial", "denied", "internal", *sorted(RETRYABLE_CODES)])
EVENTS = st.one_of(
    st.tuples(st.just("dispatched"), st.sampled_from(["d1", "d2", "d3"])),
    st.tuples(st.just("answered"), CODES, st.booleans()),
    st.tuples(st.sampled_from(["lost", "needed", "cancelled", "expired"])),
    st.tuples(st.just("refused"), st.just("no_delegate")),
)


def after(life: Life, event: tuple[object, ...]) -> Life:
    """The life after an event; as it was where the event can't happen."""
    name, *arguments = event
    if name == "answered":
        return life.answered(str(arguments[0]), others=bool(arguments[1]))
    method = getattr(life, str(name))
    new: Life = method(*arguments)
    return new


@given(st.sampled_from(["any", "never"]), st.lists(EVENTS, max_size=30))
@settings(max_examples=400)
def test_a_life_keeps_its_promises_whatever_happens(repeat: str, events: list[tuple[object, ...]]) -> None:
    life, begun = Life(repeat), 0  # type: ignore[arg-type]
    for event in events:
        try:
            new = after(life, event)
        except WrongTransition:
            continue
        # Final is final.
        if life.state in FINAL:
            assert new == life and event[0] == "cancelled"
        # What isn't repeatable is back in the queue only when its own delegate says that it didn't begin.
        if repeat == "never" and life.state is State.LEASED and new.state is State.QUEUED:
            assert event[0] == "needed"
        # A lost or cancelled one that may have happened is never said not to have.
        if repeat == "never" and life.state is State.LEASED and event[0] in {"lost", "cancelled"}:
            assert new.state is State.UNKNOWN
        if event[0] == "dispatched":
            assert new.delegate in new.tried
        if event[0] == "needed":
            begun -= 1
        elif event[0] == "dispatched":
            begun += 1
        # Nobody has it exactly while it waits.
        assert (new.delegate == "") == (new.state is State.QUEUED or not new.tried) or new.state in FINAL
        assert new.repeat == life.repeat
        assert new.attempt == begun <= MOST_ATTEMPTS
        assert new.tried >= life.tried
        life = new
    if repeat == "never":
        assert begun <= 1


def test_a_repeatable_task_is_tried_three_times_and_then_failed() -> None:
    life = Life("any")
    for n in range(MOST_ATTEMPTS):
        assert life.state is State.QUEUED
        life = life.dispatched(f"d{n}").lost()
    assert (life.state, life.code) == (State.FAILED, "delegate_lost")


@pytest.mark.parametrize("code", sorted(RETRYABLE_CODES))
def test_another_delegate_may_do_better_where_there_is_one(code: str) -> None:
    leased = Life("any").dispatched("d")
    assert leased.answered(code, others=True).state is State.QUEUED
    assert leased.answered(code, others=False).state is State.FAILED
    assert Life("never").dispatched("d").answered(code, others=True).state is State.FAILED


def test_an_answer_ends_a_task() -> None:
    leased = Life("any").dispatched("d")
    for code, state in (("ok", State.DONE), ("partial", State.DONE), ("denied", State.FAILED)):
        done = leased.answered(code, others=True)
        assert (done.state, done.code, done.delegate) == (state, code, "d")


def test_a_task_that_lacked_documents_was_not_an_attempt() -> None:
    life = Life("never").dispatched("d").needed()
    assert (life.state, life.attempt, life.delegate) == (State.QUEUED, 0, "")


def test_waiting_tasks_are_cancelled_expire_or_are_refused() -> None:
    life = Life("any")
    assert life.cancelled().state is State.CANCELLED
    assert life.expired().state is State.EXPIRED
    assert (life.refused("no_delegate").state, life.refused("no_delegate").code) == (State.FAILED, "no_delegate")
    assert Life("any").dispatched("d").cancelled().state is State.CANCELLED


@pytest.mark.parametrize("event", [("lost",), ("needed",), ("answered", "ok", True)])
def test_what_nobody_has_is_not_answered_or_lost(event: tuple[object, ...]) -> None:
    with pytest.raises(WrongTransition, match="queued, not leased"):
        after(Life("any"), event)


@pytest.mark.parametrize("event", [("dispatched", "d"), ("expired",), ("refused", "no_delegate")])
def test_what_somebody_has_does_not_wait(event: tuple[object, ...]) -> None:
    with pytest.raises(WrongTransition, match="leased, not queued"):
        after(Life("any").dispatched("d"), event)


def test_what_has_ended_can_not_be_cancelled() -> None:
    done = Life("any").dispatched("a").answered("ok", others=False)
    assert done.cancelled() is done
    running = Life("never").dispatched("a").cancelled()
    assert (running.state, running.code) == (State.UNKNOWN, "cancelled")
