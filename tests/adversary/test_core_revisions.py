"""Adversary against revisions: old documents for new ones, forks, moves, revivals, and revisions by who may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from shared.documents.jws import Verified
from shared.errors import Conflict, Denied, Malformed, Tampered
from tests.fakes.refusal import refused
from tests.fakes.world import World


def test_an_old_signed_document_does_not_replace_a_newer_one() -> None:
    world = World()
    first = world.secret("password")
    third = world.next(world.revise(first, name="second"), name="third")
    book = world.book()
    book.admit(third.compact, world.now)
    oldest = world.sign(structs.replace(first.document, name="older"), world.administrator)
    for stale in (oldest, world.next(first, name="older")):
        with refused(Conflict, "revision_stale"):
            book.admit(stale.compact, world.now)
    assert book.newest(first.document) == (3, third.digest)


def test_what_is_known_already_changes_nothing_when_it_is_shown_again() -> None:
    world = World()
    first = world.secret("password")
    second = world.revise(first, name="second")
    book = world.book()
    assert book.admit(first.compact, world.now) == first
    assert book.newest(first.document) == (2, second.digest)


def test_two_documents_with_one_revision_are_a_fork() -> None:
    world = World()
    first = world.secret("password")
    book = world.book()
    book.admit(world.next(first, name="one").compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(world.next(first, name="other").compact, world.now)


def test_a_revision_of_another_predecessor_is_a_fork() -> None:
    world = World()
    first = world.secret("password")
    with refused(Tampered, "revision_forked"):
        world.book().admit(world.next(first, prev="A" * 43).compact, world.now)


@pytest.mark.parametrize(("rev", "prev"), [(1, "A" * 43), (2, None)])
def test_exactly_the_first_revision_has_no_predecessor(rev: int, prev: str | None) -> None:
    world = World()
    document = world.secret_document("password", rev=rev, prev=prev)
    with refused(Malformed, "revision_malformed"):
        world.book().admit(world.sign(document, world.administrator).compact, world.now)


def test_a_secret_does_not_move_to_another_scope() -> None:
    world = World()
    mover = world.identity("mover")
    world.grant(mover, ["edit", "reveal"], "org/low")
    secret = world.secret("password", "org/high")
    book = world.book()
    for document in (
        structs.replace(secret.document, scope="org/low"),
        structs.replace(secret.document, scope="org/low", rev=2, prev=secret.digest),
    ):
        with refused(Conflict, "field_immutable"):
            book.admit(world.sign(document, mover).compact, world.now)
    with refused(Conflict, "field_immutable"):
        book.admit(world.next(secret, scope="org/low").compact, world.now)


@pytest.mark.parametrize(
    "changes", [{"identifier": "other"}, {"type": "SecretFile"}, {"connector": "c" * 26}], ids="".join
)
def test_what_makes_a_secret_does_not_change(changes: dict[str, Any]) -> None:
    world = World()
    secret = world.secret("password")
    with refused(Conflict, "field_immutable"):
        world.book().admit(world.next(secret, **changes).compact, world.now)


@pytest.mark.parametrize(
    "changes",
    [{"scope": "org/acme"}, {"keyring": "other"}, {"type": "Vault"}, {"identifier": "other"}],
    ids="".join,
)
def test_a_connector_is_not_redirected(changes: dict[str, Any]) -> None:
    world = World()
    with refused(Conflict, "field_immutable"):
        world.book().admit(world.next(world.connector, **changes).compact, world.now)


def test_a_connector_of_a_lower_scope_does_not_take_the_id_of_a_higher_one() -> None:
    """Its maker may edit the scope in between, and so would catch what is stored below it."""
    world = World()
    catcher = world.identity("catcher")
    world.grant(catcher, ["edit"], "org/acme")
    caught = structs.replace(world.connector.document, scope="org/acme", spec={"url": "https://evil"})
    with refused(Conflict, "field_immutable"):
        world.book().admit(world.sign(caught, catcher).compact, world.now)


def test_a_scope_keeps_its_place_and_name() -> None:
    world = World()
    scope = world.publish(world.scope_document("acme"))
    with refused(Conflict, "field_immutable"):
        world.book().admit(world.next(scope, identifier="other").compact, world.now)


def test_a_keyring_s_generation_does_not_go_back() -> None:
    world = World()
    world.rotate()
    with refused(Conflict, "field_immutable"):
        world.book().admit(world.next(world.keyring_document, gen=1).compact, world.now)


@pytest.mark.parametrize("kind", ["secret", "connector", "scope"])
def test_what_was_deleted_does_not_come_back(kind: str) -> None:
    world = World()
    made: dict[str, Verified[Any]] = {
        "secret": world.secret("password"),
        "connector": world.publish(world.connector_document("other")),
        "scope": world.publish(world.scope_document("acme")),
    }
    gone = world.revise(made[kind], deleted=True)
    with refused(Conflict, "document_deleted"):
        world.book().admit(world.next(gone, deleted=False).compact, world.now)


@pytest.mark.parametrize("kind", ["secret", "connector", "scope"])
def test_a_document_is_revised_by_nobody_without_the_permission_there(kind: str) -> None:
    world = World()
    reader = world.identity("reader")
    world.grant(reader, ["view", "use", "reveal", "exec", "renew", "delete"])
    world.grant(reader, scope="org/elsewhere")
    made: dict[str, Verified[Any]] = {
        "secret": world.secret("password"),
        "connector": world.connector,
        "scope": world.publish(world.scope_document("acme")),
    }
    with refused(Denied, "grant_missing"):
        world.book().admit(world.next(made[kind], reader, name="other").compact, world.now)


def test_who_may_only_delete_deletes_and_does_no_more() -> None:
    world = World()
    cleaner = world.identity("cleaner")
    world.grant(cleaner, ["delete"])
    secret = world.secret("password")
    book = world.book()
    with refused(Denied, "grant_missing"):
        book.admit(world.next(secret, cleaner, name="other").compact, world.now)
    book.admit(world.next(secret, cleaner, deleted=True).compact, world.now)


def test_only_the_manager_takes_documents_back_unverified() -> None:
    """`Book.recall` believes its caller. A delegate or client that called it would believe the manager."""
    root = Path(__file__).parents[2]
    callers = [path for tree in ("delegate", "client") for path in (root / tree).rglob("*.py")]
    assert callers
    assert [path for path in callers if ".recall(" in path.read_text()] == []
