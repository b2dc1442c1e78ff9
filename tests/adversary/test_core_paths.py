"""Adversary against grants of paths: grown, moved to another thing, and spelt so that they mean two things."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.documents.jws import parse
from shared.errors import Denied, Malformed
from shared.names import RESOURCE, has_path_form
from tests.adversary.judging import ORG, judge
from tests.adversary.paths import NOWHERE, PERMISSIONS, fetching
from tests.fakes.refusal import refused


@pytest.mark.parametrize(
    ("held", "given"),
    [
        ("/team/db", ""),
        ("/team/db", "/team"),
        ("/team/db", "/team/db2"),
        ("/team/db", "/team/other"),
        ("/team/db", "/other/team/db"),
        ("/team/db", None),
        ("", None),
    ],
)
def test_a_grant_of_a_path_does_not_grow(held: str, given: str | None) -> None:
    world, vault, _ = fetching()
    deputy, friend = world.identity("deputy"), world.identity("friend")
    base = vault.document.resource
    parent = world.grant(deputy, ["admin", *PERMISSIONS], ORG, resource=base + held).document.id
    resource = None if given is None else base + given
    grown = world.grant_document(friend, PERMISSIONS, ORG, parent=parent, resource=resource)
    with refused(Denied, "grant_exceeds"):
        world.book().admit(world.sign(grown, deputy).compact, world.now)


@pytest.mark.parametrize(("held", "given"), [("", "/team"), ("/team", "/team"), ("/team", "/team/db/eu"), (None, "/x")])
def test_a_grant_of_a_path_may_shrink(held: str | None, given: str) -> None:
    world, vault, _ = fetching()
    deputy, friend = world.identity("deputy"), world.identity("friend")
    base = vault.document.resource
    above = None if held is None else base + held
    parent = world.grant(deputy, ["admin", *PERMISSIONS], ORG, resource=above).document.id
    world.grant(friend, PERMISSIONS, ORG, deputy, parent=parent, resource=base + given)
    judge(world, world.fetch(vault, f"{given[1:]}/deeper", friend))
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, "elsewhere", friend))


def test_a_grant_of_a_secret_does_not_become_one_of_a_path_or_back() -> None:
    world, vault, _ = fetching()
    deputy, friend = world.identity("deputy"), world.identity("friend")
    secret = vault.document.id
    for at, (above, below) in enumerate(
        [(secret, f"connector/{secret}"), (secret, f"connector/{secret}/a"), (f"connector/{secret}", secret)]
    ):
        parent = world.grant(deputy, ["admin", *PERMISSIONS], ORG, id=world.opaque(f"held {at}"), resource=above)
        grown = world.grant_document(friend, PERMISSIONS, ORG, parent=parent.document.id, resource=below)
        with refused(Denied, "grant_exceeds"):
            world.book().admit(world.sign(grown, deputy).compact, world.now)


@pytest.mark.parametrize("path", [one for one in NOWHERE if one != ""])
def test_no_grant_is_of_a_path_that_could_lead_elsewhere(path: str) -> None:
    world, vault, reader = fetching()
    grant = world.grant_document(reader, PERMISSIONS, resource=f"{vault.document.resource}/{path}")
    with pytest.raises(Malformed):
        parse(world.administrator.sign_document(grant))


@pytest.mark.parametrize(
    "resource",
    [
        "{id}/team",
        "connector/{id}#key",
        "connector/",
        "connector",
        "secret/{id}",
        "Connector/{id}",
        "connector//{id}",
        "connector/{id}/a#b",
        "connector/{id}/" + "a" * 2200,
    ],
)
def test_no_grant_is_of_anything_else(resource: str) -> None:
    world, vault, reader = fetching()
    grant = world.grant_document(reader, PERMISSIONS, resource=resource.format(id=vault.document.id))
    with pytest.raises(Malformed):
        parse(world.administrator.sign_document(grant))


_PARTS = st.lists(
    st.text(st.sampled_from(["a", ".", "/", "#", "\n", "\x00", "\x7f", "%", " ", "é", "\\"]), max_size=4), max_size=4
)


@given(_PARTS.map("/".join) | st.text(max_size=12))
@example("a\n")
@example("")
def test_a_path_can_be_granted_exactly_where_it_can_be_fetched(path: str) -> None:
    id = "a" * 26
    assert bool(re.search(RESOURCE, f"connector/{id}/{path}")) == has_path_form(path)
