"""Groups: what their documents may say, which of them count, and the tags that they give."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from shared.canonical import decode, encode
from shared.documents.account import Administrator
from shared.documents.group import MOST_TAGS, GroupDocument
from shared.documents.jws import Verified, parse
from shared.errors import Conflict, Denied, Malformed, NotReady, Tampered
from shared.trust.book import Book
from shared.trust.group import NO_GROUPS, check_group, owned, tags_of
from tests.fakes.refusal import refused
from tests.fakes.world import World

WORLD = World()


def group(world: World, name: str = "builders", *tags: str, **changes: Any) -> Verified[GroupDocument]:
    """A published group."""
    return world.publish(GroupDocument(v=1, acct=world.id, id=name, rev=1, iat=world.now, tags=tags, **changes))


def read(**changes: Any) -> GroupDocument:
    """A group document as it comes from outside."""
    payload: dict[str, Any] = {"v": 1, "acct": WORLD.id, "id": "builders", "rev": 1, "iat": WORLD.now, **changes}
    return decode(encode(payload), msgspec.json.Decoder(GroupDocument), "group document")


@pytest.mark.parametrize(
    "changes",
    [
        {"tags": ["b", "a"]},
        {"tags": ["a", "a"]},
        {"tags": ["A"]},
        {"tags": [""]},
        {"tags": sorted(f"t{number}" for number in range(MOST_TAGS + 1))},
        {"tags": ["a"], "deleted": True},
        {"tags": []},
        {"deleted": False},
        {"id": "Builders"},
        {"id": ""},
        {"id": "b" * 129},
        {"rev": 0},
        {"scope": "account"},
    ],
    ids=str,
)
def test_another_form_of_a_group_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(**changes)


def test_a_group_has_a_name_and_up_to_sixty_four_tags() -> None:
    tags = sorted(f"t{number}" for number in range(MOST_TAGS))
    assert read(tags=tags).tags == tuple(tags)
    assert read(id="eu-west.builders:1").tags == ()
    assert read(deleted=True).deleted


def test_a_delegate_owns_its_own_tags_its_groups_name_and_the_groups_tags() -> None:
    world = World()
    group(world, "builders", "disk:fast", "region=eu")
    group(world, "others", "gpu")
    groups = world.book().groups
    certificate = world.certificate(tags=("delegate",), group="builders").document
    assert tags_of(certificate, groups) == {"delegate", "builders", "disk:fast", "region=eu"}
    assert tags_of(certificate, NO_GROUPS) == {"delegate", "builders"}
    assert tags_of(world.certificate().document, groups) == {"delegate"}
    assert owned(["a"], "nobody", groups) == {"a", "nobody"}


def test_a_group_of_which_the_status_knows_more_lets_nothing_be_done() -> None:
    world = World()
    first = group(world, "builders", "a")
    world.revise_status(groups={"builders": 2, "others": 1})
    book = world.book()
    assert book.status is not None
    status = book.status.document
    for name in ("builders", "others"):
        with refused(NotReady, "group_stale"):
            check_group(name, book.groups, status)
    check_group(None, book.groups, status)
    check_group("third", book.groups, status)
    check_group("builders", book.groups, None)
    world.revise(first, tags=("b",))
    check_group("builders", world.book().groups, status)


def test_only_an_administrator_signs_a_group() -> None:
    world = World()
    holder = world.identity("holder")
    world.grant(holder)
    document = GroupDocument(v=1, acct=world.id, id="builders", rev=1, iat=world.now, tags=("a",))
    with refused(Denied, "group_unfounded"):
        world.book().admit(world.sign(document, holder).compact, world.now)


def test_a_group_follows_the_newest_revision_seen() -> None:
    world = World()
    first = group(world, "builders", "a")
    second = world.revise(first, tags=("b",))
    book = world.book()
    assert book.groups["builders"] == second
    stale = world.sign(structs.replace(first.document, tags=("c",)), world.administrator)
    with refused(Conflict, "revision_stale"):
        book.admit(stale.compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(world.next(first, tags=("c",)).compact, world.now)
    assert book.groups["builders"] == second


def test_a_deleted_group_gives_nothing_and_may_be_made_again() -> None:
    world = World()
    first = group(world, "builders", "a")
    gone = world.revise(first, tags=(), deleted=True)
    book = world.book()
    certificate = world.certificate(group="builders").document
    assert tags_of(certificate, book.groups) == {"delegate", "builders"}
    book.admit(world.next(gone, tags=("b",), deleted=False).compact, world.now)
    assert tags_of(certificate, book.groups) == {"delegate", "builders", "b"}


def test_an_administrator_who_is_removed_takes_the_groups_that_he_signed_with_him() -> None:
    world = World()
    other = world.identity("other")
    both = (*world.account_document.document.administrators, Administrator("other", other.key))
    world.revise(world.account_document, world.root, administrators=both)
    signed = world.publish(GroupDocument(v=1, acct=world.id, id="builders", rev=1, iat=world.now, tags=("a",)), other)
    book = world.book()
    assert book.groups == {"builders": signed}
    kept = book.draft()
    world.revise(world.account_document, world.root, administrators=both[:1])
    book.admit(world.account_document.compact, world.now)
    assert book.groups == {} and kept.groups == {"builders": signed}
    again = world.revise(signed, tags=("b",))
    book.admit(again.compact, world.now)
    assert book.groups == {"builders": again}


def test_groups_are_never_forgotten_for_want_of_room() -> None:
    world = World()
    first = group(world, "builders", "a")
    book = Book(world.id, capacity=1)
    for compact in world.documents:
        book.admit(compact, world.now)
    for number in range(3):
        book.admit(world.sign(world.scope_document(f"s{number}"), world.administrator).compact, world.now)
    assert book.groups == {"builders": first} and book.find(first.digest) == first
    assert book.newest(first.document) == (1, first.digest)


def test_a_renewal_may_not_lower_what_is_known_of_a_group() -> None:
    world = World()
    service = world.identity("service")
    world.grant(service, ["renew"])
    base = world.revise_status(groups={"builders": 2})
    book = world.book()
    for groups in ({}, {"builders": 1}, {"builders": 3}):
        with refused(Tampered, "status_changed"):
            book.admit(world.next(base, service, base=base.digest, groups=groups).compact, world.now)
    book.admit(world.next(base, service, base=base.digest).compact, world.now)


def test_a_group_document_goes_through_its_compact_form() -> None:
    signed = group(World(), "builders", "a", "b")
    parsed = parse(signed.compact)
    assert (parsed.kind, parsed.document) == ("group", signed.document)
