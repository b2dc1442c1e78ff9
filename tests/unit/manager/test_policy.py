"""What the manager shows, and to whom."""

from __future__ import annotations

import pytest

import manager.policy
from manager.books import row_of
from manager.policy import connector_sight, may_see, may_see_row, may_use, must_administer, must_see, must_stand, sight
from manager.rows import Sight
from shared.errors import Denied, Malformed, NotFound
from shared.names import Scope
from tests.fakes.standing import checking
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


def test_whoever_may_do_anything_with_a_thing_may_see_it(world: World) -> None:
    for permission in ("view", "use", "reveal", "edit", "delete", "exec", "admin"):
        somebody = world.identity(permission)
        world.grant(somebody, [permission], "org/acme")  # type: ignore[list-item]
        authority = world.book().authority
        assert may_see(authority, somebody.kid, "org/acme/project/web", None, world.now)
        assert not may_see(authority, somebody.kid, "org/other", None, world.now)
        assert not may_see(authority, somebody.kid, "account", None, world.now)


def test_the_right_to_renew_the_status_shows_nothing(world: World) -> None:
    clock = world.identity("clock")
    world.grant(clock, ["renew"])
    assert not may_see(world.book().authority, clock.kid, "account", None, world.now)


def test_what_lies_outside_of_the_callers_scope_answers_as_if_it_were_not_there(world: World) -> None:
    stranger = world.identity("stranger")
    with pytest.raises(NotFound) as why:
        must_see(world.book().authority, stranger.kid, "account", None, "secret", world.now)
    assert why.value.code == "secret_not_found"
    must_see(world.book().authority, world.administrator.kid, "account", None, "secret", world.now)


def test_a_grant_of_one_resource_shows_that_one_alone(world: World) -> None:
    reader = world.identity("reader")
    mine, other = world.secret("mine").document.id, world.secret("other").document.id
    world.grant(reader, ["reveal"], resource=mine)
    authority = world.book().authority
    assert may_see(authority, reader.kid, "account", mine, world.now)
    assert not may_see(authority, reader.kid, "account", other, world.now)


def test_the_audit_is_for_who_administers_the_whole_account(world: World) -> None:
    local = world.identity("local")
    world.grant(local, ["admin"], "org/acme")
    authority = world.book().authority
    must_administer(authority, world.administrator.kid, world.now)
    with pytest.raises(Denied):
        must_administer(authority, local.kid, world.now)


def test_a_sight_is_what_the_grants_cover_of_the_place_that_is_looked_at(world: World) -> None:
    reader, clock = world.identity("reader"), world.identity("clock")
    thing = world.secret("x", "org/acme").document.id
    world.grant(reader, ["view"], "org/zoo/project/web")
    world.grant(reader, ["view"], "org/acme", resource=thing)
    world.grant(clock, ["renew"])
    authority = world.book().authority

    def seen(who: str, within: str) -> Sight:
        return sight(authority, world.identity(who).kid, Scope.parse(within), world.now)

    assert seen("administrator", "org/zoo") == Sight(("org/zoo",))
    assert seen("reader", "account") == Sight(("org/zoo/project/web",), (), (("org/acme", thing),))
    assert seen("reader", "org/zoo") == Sight(("org/zoo/project/web",))
    assert seen("reader", "org/acme/project/web") == Sight((), (), (("org/acme/project/web", thing),))
    assert seen("reader", "org/other") == seen("clock", "account") == Sight()


def test_a_sight_of_too_many_pieces_is_asked_for_in_smaller_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.policy, "MOST_PLACES", 2)
    reader, piecemeal = world.identity("reader"), world.identity("piecemeal")
    for n in range(3):
        world.grant(reader, ["view"], f"org/o{n}")
        world.grant(piecemeal, ["view"], f"org/o{n}", resource=world.opaque(str(n)))
    authority = world.book().authority
    for who in (reader, piecemeal):
        with pytest.raises(Malformed):
            sight(authority, who.kid, Scope(), world.now)
        sight(authority, who.kid, Scope("o1"), world.now)


def test_connectors_above_may_be_used_and_those_beside_not(world: World) -> None:
    reader, clock = world.identity("reader"), world.identity("clock")
    world.grant(reader, ["use"], "org/acme/project/web")
    world.grant(clock, ["renew"], "account")
    authority = world.book().authority
    id = world.connector.document.id
    for scope, expected in (
        ("account", True),
        ("org/acme", True),
        ("org/acme/project/web", True),
        ("org/acme/project/other", False),
        ("org/other", False),
    ):
        assert may_use(authority, reader.kid, scope, id, world.now) is expected
        assert may_use(authority, world.administrator.kid, scope, id, world.now)
        assert not may_use(authority, clock.kid, scope, id, world.now)
    found = connector_sight(authority, reader.kid, Scope(), world.now)
    assert found == Sight(("org/acme/project/web",), ("account", "org/acme", "org/acme/project/web"))
    assert connector_sight(authority, world.administrator.kid, Scope("acme"), world.now).below == ("org/acme",)


def test_what_is_granted_singly_is_seen_among_its_own_kind(world: World) -> None:
    reader = world.identity("reader")
    secret, connector = world.secret("one"), world.publish(world.connector_document("other"))
    world.grant(reader, ["view"], resource=secret.document.id, id=world.opaque("a"))
    world.grant(reader, ["view"], resource=connector.document.resource, id=world.opaque("b"))
    authority = world.book().authority
    assert sight(authority, reader.kid, Scope(), world.now).things == (("account", secret.document.id),)
    assert connector_sight(authority, reader.kid, Scope(), world.now).things == (("account", connector.document.id),)
    assert may_see(authority, reader.kid, "account", connector.document.resource, world.now)
    assert not may_see(authority, reader.kid, "account", connector.document.id, world.now)


def test_a_key_stands_while_one_of_its_grants_lives(world: World) -> None:
    reader, revoked, late = world.identity("reader"), world.identity("revoked"), world.identity("late")
    first = world.grant(reader, ["view"], "org/acme")
    world.grant(reader, ["renew"])
    world.grant(revoked, ["view"])
    world.grant(late, ["view"], exp=world.now + 10)
    world.revise_status(grants=(first.document.id,), keys=(revoked.kid,))
    authority = world.book().authority
    must_stand(authority, reader.kid, world.now)
    must_stand(authority, world.administrator.kid, world.now)
    for kid, at, code in (
        (revoked.kid, world.now, "key_revoked"),
        (late.kid, world.now + 10, "grant_expired"),
        (world.identity("stranger").kid, world.now, "grant_missing"),
    ):
        with pytest.raises(Denied) as why:
            must_stand(authority, kid, at)
        assert why.value.code == code


def test_a_document_is_shown_to_whom_its_scope_is_for(world: World) -> None:
    reader, elsewhere = world.identity("reader"), world.identity("elsewhere")
    grant = world.grant(reader, ["view"], "org/acme")
    world.grant(elsewhere, ["view"], "org/other")
    secret = world.secret("mine", "org/acme")
    lent, own = (world.publish(world.connector_document("one", scope)) for scope in ("account", "org/acme"))
    order, authority = checking(world), world.book().authority
    for document, to_reader, to_others in (
        (secret, True, False),
        (own, True, False),
        (lent, True, True),
        (grant, True, True),
        (order, False, False),
    ):
        row = row_of(document)
        assert may_see_row(authority, reader.kid, row, world.now) is to_reader
        assert may_see_row(authority, elsewhere.kid, row, world.now) is to_others
