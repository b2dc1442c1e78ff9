"""Selectors: one spelling each, and only the highest filled level counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.selectors import MAXIMUM, ORIGINS, effective, missing, normalise, normalise_all

WORDS = st.sampled_from(["linux", "eu", "gpu", "prod"])
PAIRS = st.lists(st.tuples(WORDS, st.sampled_from(ORIGINS)), max_size=6)


def reference(of_task: list[tuple[str, str]], of_connectors: list[str]) -> set[str]:
    """By the rule's words: step, step group, stage, pipeline override those of the connector."""
    if any(origin == "step" for _, origin in of_task):
        return {selector for selector, origin in of_task if origin == "step"}
    if any(origin == "stepGroup" for _, origin in of_task):
        return {selector for selector, origin in of_task if origin == "stepGroup"}
    if any(origin == "stage" for _, origin in of_task):
        return {selector for selector, origin in of_task if origin == "stage"}
    if any(origin == "pipeline" for _, origin in of_task):
        return {selector for selector, origin in of_task if origin == "pipeline"}
    return {*of_connectors, *(selector for selector, origin in of_task if origin == "connector")}


@given(PAIRS, st.lists(WORDS, max_size=3))
def test_only_the_highest_filled_level_counts(of_task: list[tuple[str, str]], of_connectors: list[str]) -> None:
    assert effective(of_task, of_connectors) == reference(of_task, of_connectors)


def test_no_selectors_mean_any_delegate() -> None:
    assert effective([], []) == frozenset()
    assert missing([], []) == ()


@given(st.sets(WORDS), st.sets(WORDS))
def test_a_delegate_must_own_every_one(wanted: set[str], owned: set[str]) -> None:
    assert missing(wanted, owned) == tuple(sorted(wanted - owned))


@given(st.text(max_size=20))
def test_any_text_is_a_selector_in_one_form_or_malformed(text: str) -> None:
    try:
        selector = normalise(text)
    except Malformed as why:
        assert why.code == "selector_malformed"
        return
    assert normalise(selector) == normalise(f"  {selector.upper()} ") == selector
    assert selector.isascii()


@pytest.mark.parametrize("text", ["", " ", "a b", "a\nb", "é", "a" * 129, "\u212aelvin", "a,b"])
def test_another_form_of_a_selector_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        normalise(text)


def test_selectors_are_sorted_without_doubles_and_bounded() -> None:
    assert normalise_all([" B", "a", "b "]) == ("a", "b")
    assert len(normalise_all(str(n) for n in range(MAXIMUM))) == MAXIMUM
    with pytest.raises(Malformed) as caught:
        normalise_all(str(n) for n in range(MAXIMUM + 1))
    assert caught.value.code == "selectors_too_many"
