"""Errors: one class a reaction, and problems from the other side that can't do more than be shown."""

from __future__ import annotations

import json

import grpc
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import CLASSES, Conflict, Denied, PrivySealError, Unavailable, from_problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(["type", "title", "status", "code", "detail", "hint", "instance", "self", "facts", "args"])


def test_the_base_class_is_never_raised() -> None:
    with pytest.raises(TypeError, match="subclasses"):
        PrivySealError("code", "detail")


def test_a_problem_is_an_rfc_9457_object_with_a_stable_code() -> None:
    assert Denied("grant_missing", "no grant", "ask for one", asked="reveal").problem() == {
        "type": "urn:privyseal:problem:grant_missing",
        "title": "Denied",
        "status": 403,
        "code": "grant_missing",
        "detail": "no grant",
        "hint": "ask for one",
        "asked": "reveal",
    }


def test_a_problem_without_a_hint_has_none_and_facts_never_replace_its_own_members() -> None:
    problem = Conflict("stale", "it is stale", status=200, type="other").problem()
    assert "hint" not in problem
    assert (problem["status"], problem["type"]) == (409, "urn:privyseal:problem:stale")


@pytest.mark.parametrize("error", CLASSES.values())
def test_every_class_has_its_own_title_a_client_or_server_status_and_a_grpc_status(error: type[PrivySealError]) -> None:
    assert 400 <= error.http_status < 600
    assert error.exit_status > 1
    assert grpc.StatusCode[error.grpc_status] is not grpc.StatusCode.OK
    assert error.__doc__
    assert error.retryable == (error.__name__ in {"Unavailable", "Overloaded", "Expired"})


@pytest.mark.parametrize("error", CLASSES.values())
def test_an_error_survives_the_way_through_its_problem(error: type[PrivySealError]) -> None:
    one = error("some_code", "some detail", "some hint", stale=[["secret", "x"]])
    again = from_problem(json.loads(json.dumps(one.problem())))
    assert type(again) is error
    assert (again.code, again.detail, again.hint, again.facts) == (one.code, one.detail, one.hint, one.facts)


def test_an_unknown_title_is_unavailable_and_says_that_the_other_side_said_nothing() -> None:
    error = from_problem({})
    assert type(error) is Unavailable
    assert (error.code, error.detail, error.hint) == (
        "internal",
        "the other side failed without saying why",
        "",
    )


def test_the_base_class_is_no_title() -> None:
    assert type(from_problem({"title": "PrivySealError"})) is Unavailable


@given(st.dictionaries(MEMBERS | st.text(max_size=8), JSON))
def test_any_object_is_some_error(problem: dict[str, object]) -> None:
    error = from_problem(problem)
    assert isinstance(error.code, str) and isinstance(error.detail, str) and isinstance(error.hint, str)
    assert all(key.isidentifier() for key in error.facts)


def test_a_problem_that_is_deep_is_some_error() -> None:
    deep = msgspec.json.decode(b"[" * 500 + b"]" * 500)
    assert from_problem({"title": deep, "code": deep, "detail": deep}).code == "internal"
