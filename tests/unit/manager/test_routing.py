"""Routing: who gets a task, and what every other delegate is told to lack."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.routing import BUSY, Candidate, Wanted, explain, reasons
from shared.condition import parsed
from shared.messages import Use
from tests.fakes.scanning import choose, could_wait

IDLE = Candidate(
    delegate="a",
    name="alpha",
    tags=frozenset({"alpha", "zone:a"}),
    keyring="main",
    generations=frozenset({1, 2}),
    kinds=frozenset({"Local"}),
    online=True,
    draining=False,
    free=True,
    load=0.0,
    order=0,
)
TASK = Wanted("main", 2, frozenset({"Local"}), frozenset({"zone:a"}))


def codes(candidate: Candidate, wanted: Wanted = TASK) -> list[str]:
    return [reason.code for reason in reasons(candidate, wanted)]


def test_a_delegate_that_fits_has_no_reason_against_it() -> None:
    assert codes(IDLE) == []


def test_each_rule_says_no_by_its_own_code() -> None:
    assert codes(replace(IDLE, online=False, idle_seconds=43)) == ["offline"]
    assert codes(IDLE, replace(TASK, to="b")) == ["not_chosen"]
    assert codes(replace(IDLE, keyring="other")) == ["wrong_keyring"]
    assert codes(replace(IDLE, generations=frozenset({1}))) == ["generation_missing"]
    assert codes(replace(IDLE, tags=frozenset({"zone:b"}))) == ["selectors_missing"]
    assert codes(replace(IDLE, kinds=frozenset())) == ["kind_unknown"]
    assert codes(IDLE, replace(TASK, tried=frozenset({"a"}))) == ["tried"]
    assert codes(replace(IDLE, draining=True, free=False)) == ["draining"]
    assert codes(replace(IDLE, free=False)) == [BUSY]


def test_one_over_its_limit_is_told_with_the_figures_and_not_as_busy() -> None:
    over, below = Use(93, 80, True), Use(41, 70, False)
    (reason,) = reasons(replace(IDLE, free=False, cpu=over, memory=below), TASK)
    assert reason.code == "over_cpu"
    assert "93 % of its CPU" in reason.detail
    assert "limit of 80 %" in reason.detail
    assert codes(replace(IDLE, free=False, cpu=below, memory=over)) == ["over_memory"]
    assert codes(replace(IDLE, free=False, cpu=over, memory=over)) == ["over_cpu", "over_memory"]
    assert codes(replace(IDLE, free=False, cpu=below, memory=below)) == [BUSY]
    assert codes(replace(IDLE, free=False, draining=True, cpu=over)) == ["draining"]
    assert could_wait([replace(IDLE, free=False, cpu=over, memory=over)], TASK)


def test_a_reason_names_what_would_change_it() -> None:
    (reason,) = reasons(replace(IDLE, tags=frozenset()), TASK)
    assert "zone:a" in reason.detail
    (reason,) = reasons(replace(IDLE, generations=frozenset()), TASK)
    assert "generation none" in reason.detail and "needs 2" in reason.detail


def test_every_selector_is_needed() -> None:
    wanted = replace(TASK, selectors=frozenset({"zone:a", "disk:fast"}))
    assert codes(IDLE, wanted) == ["selectors_missing"]
    assert codes(replace(IDLE, tags=frozenset({"zone:a", "disk:fast", "more"})), wanted) == []


def test_the_least_loaded_is_chosen_and_among_equals_the_one_that_waited_longest() -> None:
    busy = replace(IDLE, delegate="b", load=0.5)
    recent = replace(IDLE, delegate="c", order=9)
    assert choose([busy, recent, IDLE], TASK) is IDLE
    assert choose([busy, recent], TASK) is recent
    assert choose([], TASK) is None


def test_a_task_waits_for_a_busy_delegate_and_for_no_other() -> None:
    assert could_wait([replace(IDLE, free=False)], TASK)
    assert not could_wait([replace(IDLE, free=False, tags=frozenset())], TASK)
    assert not could_wait([replace(IDLE, online=False)], TASK)
    assert not could_wait([], TASK)


def test_an_explanation_covers_every_known_delegate() -> None:
    rows = explain([IDLE, replace(IDLE, delegate="b", name="beta", tags=frozenset())], TASK).rows
    assert [row["name"] for row in rows] == ["alpha", "beta"]
    assert [len(row["reasons"]) for row in rows] == [0, 1]  # type: ignore[arg-type]


tags = st.frozensets(st.sampled_from(["zone:a", "zone:b", "disk:fast", "alpha"]))
candidates = st.builds(
    Candidate,
    delegate=st.sampled_from("abcdef"),
    name=st.just("x"),
    tags=tags,
    keyring=st.sampled_from(["main", "other"]),
    generations=st.frozensets(st.integers(1, 3)),
    kinds=st.frozensets(st.sampled_from(["Local", "AwsKms"])),
    online=st.booleans(),
    draining=st.booleans(),
    free=st.booleans(),
    load=st.floats(0, 1),
    order=st.integers(0, 5),
)
wanteds = st.builds(
    Wanted,
    keyring=st.sampled_from(["main", "other"]),
    generation=st.integers(1, 3),
    kinds=st.frozensets(st.sampled_from(["Local", "AwsKms"])),
    selectors=tags,
    to=st.none() | st.sampled_from("abcdef"),
    tried=st.frozensets(st.sampled_from("abcdef"), max_size=2),
)


def obviously_able(one: Candidate, task: Wanted) -> bool:
    """The rules in one sentence, written apart from the code under test."""
    return (
        one.online
        and one.free
        and not one.draining
        and one.keyring == task.keyring
        and task.generation in one.generations
        and all(tag in one.tags for tag in task.selectors)
        and all(kind in one.kinds for kind in task.kinds)
        and one.delegate not in task.tried
        and (task.to is None or task.to == one.delegate)
    )


@given(st.lists(candidates, max_size=6), wanteds)
def test_the_choice_is_that_of_the_obvious_rules(fleet: list[Candidate], task: Wanted) -> None:
    able = [one for one in fleet if obviously_able(one, task)]
    chosen = choose(fleet, task)
    assert (chosen is not None) == bool(able)
    if chosen is not None:
        assert chosen in able
        assert all((chosen.load, chosen.order) <= (one.load, one.order) for one in able)


def test_a_condition_that_isnt_met_is_told_as_it_is_written() -> None:
    wanted = replace(TASK, conditions=(parsed("zone:a and not disk:slow"), parsed("zone:b or zone:c")))
    (reason,) = reasons(IDLE, wanted)
    assert reason == ("condition_unmet", "its tags don't meet zone:b or zone:c")


@pytest.mark.parametrize(
    ("owned", "scopes", "fits"),
    [
        ((), {"account"}, True),
        (("account",), {"org/a"}, True),
        (("org/a",), {"org/a/project/x"}, True),
        (("org/a",), {"account"}, False),
        (("org/a",), {"org/a", "org/b"}, False),
        (("org/a", "org/b"), {"org/a", "org/b/project/y"}, True),
        (("org/a/project/x",), {"org/a"}, False),
    ],
)
def test_a_delegate_is_asked_for_what_its_owner_lets_it_take(
    owned: tuple[str, ...], scopes: set[str], fits: bool
) -> None:
    found = reasons(replace(IDLE, scopes=owned), replace(TASK, scopes=frozenset(scopes)))
    assert [reason.code for reason in found] == ([] if fits else ["out_of_scope"])
