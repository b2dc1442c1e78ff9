"""Adversary against grants: forged, stretched, passed on wider than they are held, and used after their end."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.crypto.identity import Identity
from shared.documents.fields import Permission
from shared.documents.grant import DAY, GrantDocument, Principal
from shared.documents.jws import Verified
from shared.errors import Conflict, Denied, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.names import Scope
from shared.trust.authority import SKEW_SECONDS
from tests.fakes.refusal import refused
from tests.fakes.world import World

ORG = "org/acme"


def may(
    world: World, who: Identity, permission: Permission = "reveal", scope: str = ORG, resource: str | None = None
) -> None:
    """Raises unless `who` may, by everything that the world published."""
    world.book().authority.chain(who.kid, permission, Scope.parse(scope), resource, world.now)


def chain(world: World, *changes: dict[str, Any]) -> list[Identity]:
    """Principals p0, p1, ... who each stand on the one before, the first on the administrator; and what is odd of each."""
    people = [world.identity(f"p{n}") for n in range(len(changes))]
    parent: Verified[GrantDocument] | None = None
    for n, (person, odd) in enumerate(zip(people, changes, strict=True)):
        fields = {"permissions": ("admin", "reveal"), "scope": ORG, "parent": parent.document.id if parent else None}
        parent = world.grant(person, signer=people[n - 1] if n else None, **{**fields, **odd})
    return people


def refuses_child(world: World, error: type[PrivySealError], code: str, child: dict[str, Any], **parent: Any) -> None:
    """A book refuses the second link of a chain."""
    people = [world.identity(f"p{n}") for n in range(2)]
    above = world.grant(people[0], ["admin", "reveal"], ORG, **parent)
    fields = {"permissions": ("reveal",), "scope": ORG, "parent": above.document.id, **child}
    book = world.book()
    below = world.sign(world.grant_document(people[1], **fields), people[0])
    with refused(error, code):
        book.admit(below.compact, world.now)
    assert below.document.id not in book.grants


def test_four_links_carry_and_five_do_not() -> None:
    world = World()
    may(world, chain(world, {}, {}, {}, {})[-1])
    world = World()
    people = chain(world, {}, {}, {}, {})
    fifth = world.identity("fifth")
    parent = world.grant_document(people[-1], scope=ORG).id
    document = world.grant_document(fifth, ["reveal"], ORG, parent=parent)
    with refused(Denied, "grant_chain_long"):
        world.book().admit(world.sign(document, people[-1]).compact, world.now)


def test_a_grant_signed_by_a_stranger_is_refused() -> None:
    world = World()
    attacker = world.identity("attacker")
    with refused(Unauthenticated, "signer_unknown"):
        world.book().admit(world.sign(world.grant_document(attacker), attacker).compact, world.now)


def test_a_delegate_grants_nothing() -> None:
    world = World()
    for signer in (world.delegate, world.keyring.newest.certifying):
        with refused(Unauthenticated, "signer_unknown"):
            world.book().admit(world.sign(world.grant_document(signer), signer).compact, world.now)


def test_who_holds_a_grant_does_not_give_himself_another_as_an_administrator() -> None:
    world = World()
    holder = world.identity("holder")
    world.grant(holder, ["admin"], ORG)
    with refused(Denied, "grant_unfounded"):
        world.book().admit(world.sign(world.grant_document(holder), holder).compact, world.now)


def test_a_changed_grant_does_not_verify() -> None:
    world = World()
    grant = world.grant(world.identity("reader"), ["reveal"], ORG)
    wider = world.sign(structs.replace(grant.document, scope="account"), world.identity("x"))
    header, _, signature = grant.compact.split(".")
    with refused(Tampered, "signature_invalid"):
        world.book().admit(f"{header}.{wider.compact.split('.')[1]}.{signature}", world.now)


@pytest.mark.parametrize(
    "child",
    [
        {"scope": "account"},
        {"scope": "org/other"},
        {"permissions": ("admin", "edit")},
        {"permissions": ("reveal", "view")},
        {"exp": World().now + 31 * DAY},
    ],
    ids=["above its scope", "beside its scope", "edit", "view", "outliving its parent"],
)
def test_nobody_gives_more_than_he_holds(child: dict[str, Any]) -> None:
    refuses_child(World(), Denied, "grant_exceeds", child)


def test_a_grant_of_one_resource_is_not_widened_to_all_or_to_another() -> None:
    for resource in (None, "s" * 26):
        refuses_child(World(), Denied, "grant_exceeds", {"resource": resource}, resource="r" * 26)


def test_who_may_not_administer_gives_nothing() -> None:
    world = World()
    holder, other = world.identity("holder"), world.identity("other")
    own = world.grant(holder, ["reveal", "edit", "delete"], ORG)
    below = world.sign(world.grant_document(other, ["reveal"], ORG, parent=own.document.id), holder)
    with refused(Denied, "grant_exceeds"):
        world.book().admit(below.compact, world.now)


def test_a_grant_does_not_stand_on_somebody_else_s() -> None:
    world = World()
    holder, thief = world.identity("holder"), world.identity("thief")
    rich = world.grant(holder, ["admin", "reveal"], ORG)
    world.grant(thief, ["view"], ORG)
    stolen = world.sign(
        world.grant_document(thief, ["reveal"], ORG, parent=rich.document.id, id=world.opaque("stolen")), thief
    )
    with refused(Denied, "grant_exceeds"):
        world.book().admit(stolen.compact, world.now)


def test_a_grant_whose_parent_is_unknown_waits() -> None:
    world = World()
    holder = world.identity("holder")
    world.grant(holder, ["admin"], ORG)
    orphan = world.sign(world.grant_document(holder, ["admin"], ORG, parent="z" * 26, id="y" * 26), holder)
    with refused(NotReady, "grant_parent_missing"):
        world.book().admit(orphan.compact, world.now)


@pytest.mark.parametrize("type", ["person", "service"])
def test_a_grant_does_not_last_longer_than_its_principal_may_hold_one(type: Any) -> None:
    world = World()
    reader = world.identity("reader")
    longest = {"person": 90 * DAY, "service": 400 * DAY}[type]
    principal = Principal("reader", reader.key, type)
    world.grant(reader, ["reveal"], ORG, principal=principal, exp=world.now + longest)
    may(world, reader)
    long = world.grant_document(reader, ["reveal"], ORG, principal=principal, exp=world.now + longest + 1, id="z" * 26)
    with refused(Denied, "grant_too_long"):
        world.book().admit(world.sign(long, world.administrator).compact, world.now)


def test_an_expired_grant_carries_nothing() -> None:
    world = World()
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"], ORG)
    world.now = grant.document.exp
    with refused(Denied, "grant_expired"):
        may(world, reader)


def test_a_chain_ends_with_its_first_grant() -> None:
    world = World()
    people = chain(world, {"exp": world.now + DAY}, {"exp": world.now + DAY}, {"exp": world.now + 10})
    world.now += 10
    may(world, people[1])
    with refused(Denied, "grant_expired"):
        may(world, people[2])


def test_a_grant_that_has_not_begun_carries_nothing() -> None:
    world = World()
    reader = world.identity("reader")
    early = world.grant_document(reader, ["reveal"], ORG, iat=world.now + SKEW_SECONDS + 1)
    with refused(Denied, "grant_early"):
        world.book().admit(world.sign(early, world.administrator).compact, world.now)


@pytest.mark.parametrize("link", [0, 1, 2])
def test_a_revoked_grant_takes_all_that_stands_on_it(link: int) -> None:
    world = World()
    people = chain(world, {}, {}, {})
    world.revise_status(grants=(world.grant_document(people[link], scope=ORG).id,))
    for person in people[:link]:
        may(world, person)
    for person in people[link:]:
        with refused(Denied, "grant_revoked"):
            may(world, person)


@pytest.mark.parametrize("link", [0, 1, 2])
def test_a_revoked_key_takes_all_that_it_gave(link: int) -> None:
    world = World()
    people = chain(world, {}, {}, {})
    world.revise_status(keys=(people[link].kid,))
    with refused(Denied, "key_revoked"):
        may(world, people[link])
    for person in people[link + 1 :]:
        with refused(Denied, "grant_revoked"):
            may(world, person)


def test_what_was_decided_before_a_revocation_is_not_remembered_after_it() -> None:
    world = World()
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"], ORG)
    book = world.book()
    ask = (reader.kid, "reveal", Scope("acme"), None, world.now)
    book.authority.chain(*ask)  # type: ignore[arg-type]
    narrow = book.authority_of([grant])
    narrow.chain(*ask)  # type: ignore[arg-type]
    book.admit(world.revise_status(grants=(grant.document.id,)).compact, world.now)
    for authority in (book.authority, book.authority_of([grant])):
        with refused(Denied, "grant_revoked"):
            authority.chain(*ask)  # type: ignore[arg-type]


def test_what_was_decided_before_an_administrator_left_is_not_remembered_after_it() -> None:
    world = World()
    reader = world.identity("reader")
    world.grant(reader, ["reveal"], ORG)
    book = world.book()
    ask = (reader.kid, "reveal", Scope("acme"), None, world.now)
    book.authority.chain(*ask)  # type: ignore[arg-type]
    others = (structs.replace(world.account_document.document.administrators[0], key=world.identity("b").key),)
    book.admit(world.revise(world.account_document, world.root, administrators=others).compact, world.now)
    with refused(Denied, "grant_unfounded"):
        book.authority.chain(*ask)  # type: ignore[arg-type]


def test_a_draft_decides_by_its_own_status_and_leaves_the_book_as_it_is() -> None:
    world = World()
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"], ORG)
    book = world.book()
    ask = (reader.kid, "reveal", Scope("acme"), None, world.now)
    book.authority.chain(*ask)  # type: ignore[arg-type]
    draft = book.draft()
    draft.admit(world.revise_status(grants=(grant.document.id,)).compact, world.now)
    with refused(Denied, "grant_revoked"):
        draft.authority.chain(*ask)  # type: ignore[arg-type]
    book.authority.chain(*ask)  # type: ignore[arg-type]


def test_a_narrowed_grant_is_for_its_resource_alone() -> None:
    world = World()
    reader = world.identity("reader")
    world.grant(reader, ["reveal"], ORG, resource="r" * 26)
    may(world, reader, resource="r" * 26)
    for resource in (None, "s" * 26):
        with refused(Denied, "grant_missing"):
            may(world, reader, resource=resource)


@pytest.mark.parametrize("scope", ["account", "org/other", "org/acme2", "org/other/project/acme"])
def test_a_grant_is_for_its_scope_and_below(scope: str) -> None:
    world = World()
    reader = world.identity("reader")
    world.grant(reader, ["reveal"], ORG)
    may(world, reader, scope="org/acme/project/web")
    with refused(Denied, "grant_missing"):
        may(world, reader, scope=scope)


def test_a_narrowed_parent_takes_its_wider_children_with_it() -> None:
    world = World()
    people = chain(world, {}, {})
    may(world, people[1])
    parent = next(one for one in world.chain(people[0].kid))
    world.revise(parent, permissions=("admin",))
    with refused(Denied, "grant_exceeds"):
        may(world, people[1])


def test_a_grant_is_revised_by_its_grantor_or_an_administrator_and_never_handed_on() -> None:
    world = World()
    people = chain(world, {}, {})
    grant = next(one for one in world.chain(people[1].kid) if one.kid == people[0].kid)
    book = world.book()
    other = world.identity("other")
    with refused(Conflict, "field_immutable"):
        moved = world.next(grant, people[0], principal=Principal("other", other.key, "person"))
        book.admit(moved.compact, world.now)
    with refused(Conflict, "field_immutable"):
        book.admit(world.next(grant, people[0], parent="z" * 26).compact, world.now)
    with refused(Denied, "grant_unfounded"):
        book.admit(world.next(grant, people[0], parent=None).compact, world.now)
    with refused(Denied, "grant_exceeds"):
        book.admit(world.next(grant, people[1]).compact, world.now)
    # Who adopts it stands behind it himself.
    adopted = world.next(grant, parent=None)
    book.admit(adopted.compact, world.now)
    assert book.grants[grant.document.id] == adopted


def test_a_grant_with_the_id_of_another_s_replaces_nothing() -> None:
    world = World()
    victim, thief = world.identity("victim"), world.identity("thief")
    own = world.grant(thief, ["admin", "reveal"], ORG)
    grant = world.grant(victim, ["admin"], ORG)
    book = world.book()
    for rev, prev, error, code in (
        (1, None, Tampered, "revision_forked"),
        (2, grant.digest, Conflict, "field_immutable"),
        (9, grant.digest, Conflict, "field_immutable"),
    ):
        document = world.grant_document(
            thief, ["admin"], ORG, id=grant.document.id, parent=own.document.id, rev=rev, prev=prev
        )
        with refused(error, code):
            book.admit(world.sign(document, thief).compact, world.now)
    assert book.grants[grant.document.id] == grant


def test_a_role_of_delegates_is_no_principal() -> None:
    """A delegate's identity signs answers; without a grant it may ask for nothing."""
    world = World()
    with refused(Denied, "grant_missing"):
        may(world, world.delegate)
