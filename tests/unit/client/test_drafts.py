"""Drafts: next revisions that everybody else believes, carrying over what they aren't told to change."""

from __future__ import annotations

from typing import Any

import pytest

from client.drafts import first_status, new_grant, next_revision, next_status, parent_of, renewed_status
from shared.documents.grant import DAY, Principal
from shared.errors import Denied, Malformed
from shared.names import Scope
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


def test_a_status_carries_over_what_was_revoked_and_only_raises_floors(world: World) -> None:
    grant, key = world.opaque("grant"), world.identity("lost").kid
    old = world.revise_status(
        grants=(grant,), keys=(key,), secrets={world.opaque("s"): 4}, keyrings={"main": 1}, groups={"eu": 3}
    )
    new = next_status(
        old,
        world.now + 5,
        grants=[world.opaque("another")],
        secrets={world.opaque("s"): 2, world.opaque("t"): 3},
        keyrings={"main": 1},
        groups={"eu": 2, "builders": 1},
    )
    assert set(new.grants) == {grant, world.opaque("another")}
    assert new.keys == (key,)
    assert new.secrets == {world.opaque("s"): 4, world.opaque("t"): 3}
    assert new.groups == {"eu": 3, "builders": 1}
    assert new.exp - new.iat == old.document.exp - old.document.iat
    book = world.book()
    book.admit(world.sign(new, world.administrator).compact, world.now + 5)
    assert book.status is not None
    assert book.status.document == new


def test_the_first_status_begins_a_chain(world: World) -> None:
    status = first_status(world.id, world.now)
    assert (status.rev, status.prev, status.exp - status.iat) == (1, None, 90 * DAY)


def test_a_service_renews_without_changing_anything(world: World) -> None:
    service = world.identity("cron")
    world.grant(service, ["renew"])
    base = world.revise_status(keys=(world.identity("lost").kid,))
    book = world.book()
    for now in (world.now + 100, world.now + 200):
        assert book.status is not None
        renewed = renewed_status(book.status, now)
        book.admit(world.sign(renewed, service).compact, now)
        assert book.status.document.base == base.digest
        assert book.status.document.keys == base.document.keys


def grant_for(world: World, kid: str, permissions: Any, scope: str, days: int | None = None) -> Any:
    book = world.book()
    where = Scope.parse(scope)
    parent, until = parent_of(book.authority, kid, permissions, where, None, world.now)
    principal = Principal("bob", world.identity("bob").key, "person")
    return new_grant(world.id, principal, permissions, where, None, parent, days, world.now, until)


def test_an_administrators_grant_stands_on_nothing_and_lasts_as_long_as_it_may(world: World) -> None:
    grant = grant_for(world, world.administrator.kid, ["reveal", "edit"], "org/acme")
    assert grant.parent is None
    assert grant.permissions == ("edit", "reveal")
    assert grant.exp - grant.iat == 90 * DAY
    world.book().admit(world.sign(grant, world.administrator).compact, world.now)


def test_a_grantors_grant_names_its_own_and_ends_with_it(world: World) -> None:
    ann = world.identity("ann")
    own = world.grant(ann, ["admin", "reveal"], "org/acme")
    grant = grant_for(world, ann.kid, ["reveal"], "org/acme/project/pay")
    assert grant.parent == own.document.id
    assert grant.exp == own.document.exp
    world.book().admit(world.sign(grant, ann).compact, world.now)
    with pytest.raises(Denied, match="edit"):
        grant_for(world, ann.kid, ["edit", "reveal"], "org/acme")
    with pytest.raises(Denied):
        grant_for(world, ann.kid, ["reveal"], "account")


@pytest.mark.parametrize("days", [0, -1, 91])
def test_a_grant_lasts_a_day_at_least_and_its_types_limit_at_most(world: World, days: int) -> None:
    with pytest.raises(Malformed):
        grant_for(world, world.administrator.kid, ["reveal"], "account", days)


def test_a_next_revision_changes_only_what_it_is_told(world: World) -> None:
    old = world.secret("token", description="before", tags={"a": "b"})
    new = next_revision(old, world.now + 7, description="after")
    assert (new.rev, new.prev, new.iat, new.description, new.tags) == (
        2,
        old.digest,
        world.now + 7,
        "after",
        {"a": "b"},
    )
    book = world.book()
    book.admit(world.sign(new, world.administrator).compact, world.now + 7)
