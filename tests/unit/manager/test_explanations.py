"""Every rule told, passed or failed; why one was chosen; and a task's trail, which stays small."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.fleet import Fleet
from manager.probed import Probed
from manager.routing import (
    MOST_TOLD,
    RULES,
    Candidate,
    Explanation,
    Rule,
    Standing,
    Wanted,
    explain,
    reasons,
    remedy,
    rules,
    why,
)
from manager.selection import Selection
from manager.trail import MOST_STEPS, MOST_TEXT, PassedOver, Trail, passed_over
from shared.condition import parsed
from shared.documents.task import EXEC
from shared.messages import Use
from tests.architecture.source import ROOT
from tests.unit.manager.test_routing import IDLE, TASK, candidates, wanteds

FAILING = {
    "offline": (replace(IDLE, online=False), TASK),
    "not_chosen": (IDLE, replace(TASK, to="b")),
    "wrong_keyring": (replace(IDLE, keyring="other"), TASK),
    "generation_missing": (replace(IDLE, generations=frozenset({1})), TASK),
    "selectors_missing": (replace(IDLE, tags=frozenset()), TASK),
    "condition_unmet": (IDLE, replace(TASK, conditions=(parsed("not alpha"),))),
    "out_of_scope": (replace(IDLE, scopes=("org/a",)), replace(TASK, scopes=frozenset({"org/b"}))),
    "exec_off": (IDLE, replace(TASK, kinds=frozenset({"Local", EXEC}))),
    "kind_unknown": (replace(IDLE, kinds=frozenset()), TASK),
    "tried": (IDLE, replace(TASK, tried=frozenset({"a"}))),
    "probe_failed": (
        replace(IDLE, probed={"revision": Probed("vault", "denied", 100, 400)}, now=112),
        replace(TASK, connectors=frozenset({"revision"})),
    ),
    "clock_wrong": (replace(IDLE, clock=-3_600), TASK),
    "draining": (replace(IDLE, draining=True), TASK),
    "over_cpu": (replace(IDLE, free=False, cpu=Use(93, 80, True)), TASK),
    "over_memory": (replace(IDLE, free=False, memory=Use(93, 80, True)), TASK),
    "busy": (replace(IDLE, free=False), TASK),
}


def failed(candidate: Candidate, wanted: Wanted) -> list[Rule]:
    return [one for one in rules(candidate, wanted) if one.verdict == "fail"]


@pytest.mark.parametrize("code", FAILING)
def test_a_rule_that_says_no_tells_what_would_change_it(code: str) -> None:
    (rule,) = failed(*FAILING[code])
    assert (rule.code, code in RULES[rule.rule]) == (code, True)
    assert rule.detail and rule.remedy


def test_every_code_of_a_rule_is_tried_here() -> None:
    assert sorted(FAILING) == sorted(code for codes in RULES.values() for code in codes)


def test_remedies_name_the_option_the_tag_the_key_or_the_delegate() -> None:
    words = {
        "selectors_missing": "--tags zone:a",
        "out_of_scope": "add org/b to scopes",
        "exec_off": "exec = true",
        "kind_unknown": "add Local to kinds",
        "not_chosen": "--delegate alpha",
        "over_cpu": "--cpu-limit-percent",
        "over_memory": "--memory-limit-percent",
        "busy": "--capacity",
        "generation_missing": "keyring_file",
    }
    for code, text in words.items():
        assert text in remedy(code, *FAILING[code]), code
    assert remedy("of the future", IDLE, TASK) == ""


def test_passing_rules_have_their_figures() -> None:
    one = replace(IDLE, cpu=Use(12, 80, False), memory=Use(30, 0, False), executing=2, capacity=10)
    wanted = replace(
        TASK, kinds=frozenset({"Local"}), conditions=(parsed("alpha"),), scopes=frozenset({"org/b"}), to="a"
    )
    told = {rule.rule: rule for rule in rules(one, wanted)}
    assert list(told) == list(RULES)
    assert {(rule.verdict, rule.code, rule.remedy) for rule in told.values()} == {("pass", "ok", "")}
    assert "2 of 10 tasks" in told["room"].detail
    assert "12 % of its CPU; its limit is 80 %" in told["cpu"].detail
    assert "30 % of its memory; it has no limit" in told["memory"].detail
    assert "generation 2" in told["generation"].detail
    assert "org/b" in told["scope"].detail


def test_what_another_rules_no_leaves_open_is_not_asked() -> None:
    told = {rule.rule: rule.verdict for rule in rules(replace(IDLE, online=False, keyring="other"), TASK)}
    assert {rule for rule, verdict in told.items() if verdict == "not_asked"} == {"generation", "cpu", "memory", "room"}
    told = {rule.rule: rule.verdict for rule in rules(*FAILING["over_cpu"])}
    assert (told["cpu"], told["room"]) == ("fail", "not_asked")


@given(candidates, wanteds)
def test_rules_fail_exactly_where_there_are_reasons(one: Candidate, wanted: Wanted) -> None:
    told = rules(one, wanted)
    assert sorted((rule.code, rule.detail) for rule in told if rule.verdict == "fail") == sorted(reasons(one, wanted))
    assert [rule.rule for rule in told] == [
        rule for rule in RULES for _ in range(sum(rule == one.rule for one in told))
    ]
    assert {rule.rule for rule in told} == set(RULES)


def test_an_explanation_has_the_nearest_first_and_counts_the_rest() -> None:
    fleet = [
        *(replace(IDLE, delegate=f"n{n}", name=f"n{n}", keyring="other", tags=frozenset()) for n in range(40)),
        replace(IDLE, delegate="late", name="late", load=0.5),
        replace(IDLE, delegate="busy", name="busy", free=False),
        IDLE,
    ]
    rows, others = explain(fleet, TASK, winner="a")
    assert [(row["name"], row["verdict"]) for row in rows[:4]] == [
        ("alpha", "winner"),
        ("late", "able"),
        ("busy", "waits"),
        ("n0", "refused"),
    ]
    assert (len(rows), others) == (MOST_TOLD, {"selectors_missing": 11, "wrong_keyring": 11})
    assert explain([], TASK) == Explanation([], {})


def test_why_one_was_chosen_has_the_figures() -> None:
    assert why(Standing(1, 1, False), 2, 10) == "the only one that can take it now (2 of 10 tasks)"
    assert why(Standing(3, 1, False), 0, 4) == "the least loaded of 3 that can take it now (0 of 4 tasks)"
    assert "2 of 3" in why(Standing(3, 2, True), 0, 4) and "none since it connected" in why(Standing(3, 2, True), 0, 4)
    assert "waited longest" in why(Standing(3, 2, False), 0, 4)


@given(st.lists(candidates, max_size=8, unique_by=lambda one: one.delegate), wanteds)
def test_a_selection_counts_as_the_rules_do(fleet: list[Candidate], wanted: Wanted) -> None:
    connected = [replace(one, online=True) for one in fleet]
    selection = Selection(few=2)
    for one in connected:
        selection.put(one)
    counted: dict[str, int] = {}
    for one in connected:
        for reason in reasons(one, wanted):
            counted[reason.code] = counted.get(reason.code, 0) + 1
    assert selection.tally(wanted) == counted
    able = [one for one in connected if not reasons(one, wanted)]
    if selection.choose(wanted) is not None:
        least = min(one.load for one in able)
        assert selection.standing() == Standing(len(able), sum(one.load == least for one in able), True)


def test_those_of_the_same_reasons_are_told_together_and_the_chosen_one_is_not() -> None:
    others = [replace(IDLE, delegate=f"n{n}", name=f"n{n}", tags=frozenset()) for n in range(3)]
    told = passed_over([IDLE, *others], TASK, {}, chosen="a")
    (group,) = told.refused
    assert (group.delegates, [one.code for one in group.reasons]) == (("n0", "n1", "n2"), ["selectors_missing"])
    assert passed_over([replace(IDLE, free=False)], TASK, {}, chosen="a") == PassedOver()


def test_of_a_large_fleet_some_are_told_and_the_others_counted() -> None:
    some = [replace(IDLE, delegate=f"n{n}", name=f"n{n}", tags=frozenset()) for n in range(MOST_TOLD)]
    told = passed_over(some, TASK, {"selectors_missing": 1000, "offline": 7}, chosen="a")
    assert sum(len(group.delegates) for group in told.refused) == MOST_TOLD
    assert told.others == {"offline": 7, "selectors_missing": 1000 - MOST_TOLD}
    told = passed_over([*some, replace(IDLE, delegate="z", online=False)], TASK, {})
    assert told.others == {"offline": 1}


def test_a_trail_stays_small_whatever_happens() -> None:
    trail, wanted = Trail(), replace(TASK, selectors=frozenset(f"{n}{'x' * 120}" for n in range(60)))
    fleet = [
        replace(IDLE, delegate=f"n{n}", name=f"n{n}" * 30, tags=frozenset({f"t{n}"}), idle_seconds=n, online=False)
        for n in range(MOST_TOLD)
    ]
    for n in range(100):
        trail.note(n, "waits")
        trail.tell(passed_over(fleet, wanted, {}))
    assert len(trail.steps) == MOST_STEPS
    assert len(msgspec.json.encode(trail.told())) < 3 * MOST_TEXT
    assert trail.steps[-1].passed_over.others == {"offline": MOST_TOLD, "selectors_missing": MOST_TOLD}


def test_nothing_is_told_of_a_step_that_there_was_not() -> None:
    trail = Trail()
    trail.tell(PassedOver())
    assert trail.told() == []


def test_an_account_without_delegates_passes_nobody_over() -> None:
    assert Fleet().passed_over("nobody", TASK, 0, "") == PassedOver()


def test_the_page_has_a_row_for_each_rule_and_code() -> None:
    page = (ROOT / "docs" / "operations.md").read_text().partition("## Why did it go there?")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (`[^|]+`) \|", page, re.MULTILINE)
    assert {rule: tuple(re.findall(r"`(\w+)`", codes)) for rule, codes in rows} == RULES
