"""What the manager shows, and to whom."""

from __future__ import annotations

import pytest

from manager.policy import may_see, must_administer, must_see
from shared.errors import Denied, NotFound
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
