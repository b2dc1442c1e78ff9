"""Usage: labels only narrow, and what isn't stated isn't covered."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from shared.canonical import encode
from shared.documents.usage import TaskUsage, Usage, check_usage, covers, lies_within
from shared.errors import Denied
from shared.names import Scope
from tests.fakes.world import World

SOME = [(), ("a",), ("b",), ("a", "b")]
EVERY = [Usage(applications=x, environments=y) for x, y in itertools.product(SOME, SOME) if x or y]
STATED = [TaskUsage(application=x, environment=y) for x, y in itertools.product((None, "a", "b"), repeat=2) if x or y]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"applications": ["b", "a"]},
        {"environments": ["a", "a"]},
        {"environments": [".a"]},
        {"applications": ["a\n"]},
    ],
)
def test_labels_have_one_form(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Usage)


def test_a_task_states_something_or_has_no_usage() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, TaskUsage)
    assert encode(TaskUsage(environment="live")) == b'{"environment":"live"}'


def allowed(usage: Usage | None) -> set[tuple[str | None, str | None]]:
    """What may be stated, written out."""
    every = {(x, y) for x, y in itertools.product((None, "a", "b"), repeat=2)}
    return {
        (x, y)
        for x, y in every
        if (not usage or not usage.applications or x in usage.applications)
        and (not usage or not usage.environments or y in usage.environments)
    }


def test_what_is_stated_is_allowed_exactly_where_it_is_among_the_labels() -> None:
    for usage, stated in itertools.product([None, *EVERY], [None, *STATED]):
        said = (stated.application, stated.environment) if stated else (None, None)
        assert covers(usage, stated) == (said in allowed(usage))
        if said in allowed(usage):
            check_usage(usage, stated, "it")
        else:
            with pytest.raises(Denied):
                check_usage(usage, stated, "it")


def test_one_usage_lies_within_another_exactly_where_it_allows_no_more() -> None:
    for inner, outer in itertools.product([None, *EVERY], repeat=2):
        assert lies_within(inner, outer) == (allowed(inner) <= allowed(outer)), (inner, outer)


def test_a_refusal_names_what_is_allowed() -> None:
    usage = Usage(applications=("orders", "stock"), environments=("live",))
    with pytest.raises(
        Denied, match="the secret x is for the application orders or stock, and the task states no app"
    ) as why:
        check_usage(usage, None, "the secret x")
    assert (why.value.code, why.value.facts) == ("usage_missing", {"allowed": ["orders", "stock"]})
    with pytest.raises(Denied, match="another environment") as why:
        check_usage(usage, TaskUsage(application="stock", environment="test"), "the secret x")
    assert (why.value.code, why.value.facts) == ("usage_other", {"allowed": ["live"]})
    assert "--environment" in why.value.hint


def test_a_grant_for_some_shows_what_is_there_and_carries_only_what_states_them() -> None:
    world = World()
    reader = world.identity("reader")
    world.grant(reader, ["reveal"], "account", usage=Usage(applications=("orders",), environments=("live",)))
    authority, place = world.book().authority, Scope("acme")
    assert authority.chain(reader.kid, "reveal", place, None, world.now, "any").grants
    stated = TaskUsage(application="orders", environment="live")
    assert authority.chain(reader.kid, "reveal", place, None, world.now, stated).grants
    # What is remembered of one statement isn't the answer to another.
    for other in (None, TaskUsage(application="orders"), TaskUsage(application="orders", environment="test")):
        with pytest.raises(Denied) as why:
            authority.chain(reader.kid, "reveal", place, None, world.now, other)
        assert why.value.code == "usage_not_granted"
        assert why.value.facts == {"allowed": ["application orders", "environment live"]}


def test_of_two_grants_the_one_that_covers_it_carries() -> None:
    world = World()
    reader = world.identity("reader")
    for name in ("live", "test"):
        world.grant(reader, ["reveal"], "account", id=world.opaque(name), usage=Usage(environments=(name,)))
    authority = world.book().authority
    for name in ("live", "test"):
        stated = TaskUsage(environment=name)
        (grant,) = authority.chain(reader.kid, "reveal", Scope(), None, world.now, stated).grants
        assert grant.document.id == world.opaque(name)
