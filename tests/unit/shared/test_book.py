"""The book: documents in any order, nothing lost and nothing half done, and what a full book forgets."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from shared.crypto.identity import Identity
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.errors import Conflict, Denied, Malformed, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.names import Scope
from shared.trust.book import Book
from shared.trust.revision import name_of
from shared.trust.warrant import warrant
from tests.fakes.refusal import refused
from tests.fakes.world import World


def busy_world() -> World:
    """A world with a chain of grants, a renewed status and things at each level."""
    world = World()
    people = [world.identity(f"p{n}") for n in range(4)]
    parent = None
    for n, person in enumerate(people):
        signer = people[n - 1] if n else None
        parent = world.grant(person, scope="org/acme", signer=signer, parent=parent.document.id if parent else None)
    service = world.identity("service")
    world.grant(service, ["renew"])
    world.revise(world.status, service, base=world.status.digest)
    world.publish(world.scope_document("acme"))
    world.secret("password", "org/acme", people[3])
    return world


def known(book: Book) -> tuple[Any, ...]:
    """All that a book believes."""
    return (
        book.account,
        book.status,
        dict(book.grants),
        dict(book.keyrings),
        dict(book._firm_newest),
        dict(book._newest),
        dict(book._documents),
        dict(book._firm_documents),
        sorted(book._keys),
    )


BUSY = busy_world()


@given(st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_documents_come_in_any_order(order: random.Random) -> None:
    shuffled = list(BUSY.documents)
    order.shuffle(shuffled)
    book = Book(BUSY.id)
    assert book.admit_all(shuffled, BUSY.now) == {}
    assert (book.status, book.account) == (BUSY.status, BUSY.account_document)
    assert known(book)[2:4] == known(BUSY.book())[2:4]


def test_a_refusal_is_told_whatever_else_is_taken_in() -> None:
    world = busy_world()
    forged = world.sign(world.secret_document("forged"), world.identity("stranger"))
    stale = world.sign(structs.replace(world.connector.document, name="stale"), world.administrator)
    refusals = Book(world.id).admit_all(
        ["é", "garbage", *reversed(world.documents), forged.compact, stale.compact], world.now
    )
    told = {name: (type(why), why.code) for name, why in refusals.items()}
    assert told.pop("") == (Malformed, "document_malformed")
    assert told.pop(forged.digest) == (Unauthenticated, "signer_unknown")
    # One of the two came second.
    assert (Tampered, "revision_forked") in told.values()
    assert len(refusals) == 4


def test_the_worst_order_is_tried_a_few_rounds_and_no_more() -> None:
    """Else whoever sends documents backwards would have each of them tried as often as there are documents."""
    world = World()
    first = world.documents[0]
    chain = [world.revise(world.account_document, world.root).compact for _ in range(12)]
    book = Book(world.id)
    refusals = book.admit_all([*reversed(chain), first], world.now)
    assert {why.code for why in refusals.values()} == {"account_documents_missing"}
    assert len(refusals) == 5
    assert book.admit_all(chain, world.now) == {}


def test_an_empty_book_knows_nobody() -> None:
    book = Book(BUSY.id)
    with refused(NotReady, "account_documents_missing"):
        assert book.authority
    with refused(Unauthenticated, "signer_unknown"):
        book.admit(BUSY.status.compact, BUSY.now)
    assert book.key(BUSY.administrator.kid) is None
    assert book.find(BUSY.status.digest) is None
    assert book.newest(BUSY.status.document) is None


@given(st.sampled_from(BUSY.documents), st.integers(0, 400), st.sampled_from("AQgwB.="))
@settings(deadline=None)
def test_a_document_that_is_refused_leaves_the_book_as_it_was(compact: str, at: int, letter: str) -> None:
    book = BUSY.book()
    before = known(book)
    mutated = compact[: at % len(compact)] + letter + compact[at % len(compact) + 1 :]
    if mutated != compact:
        with pytest.raises((Malformed, Tampered, Unauthenticated)):
            book.admit(mutated, BUSY.now)
    assert known(book) == before


def test_a_weak_key_in_a_document_leaves_the_book_as_it_was() -> None:
    world = World()
    book = world.book()
    before = known(book)
    weak = "A" * 43
    grant = world.grant_document(world.identity("x"))
    first = world.account_document.document.administrators[0]
    for forged in (
        world.sign(structs.replace(grant, principal=structs.replace(grant.principal, key=weak)), world.administrator),
        world.next(world.account_document, world.root, administrators=(structs.replace(first, key=weak),)),
    ):
        with refused(Malformed, "key_weak"):
            book.admit(forged.compact, world.now)
        assert known(book) == before


def test_a_draft_sees_the_book_and_leaves_it_as_it_is() -> None:
    world = World()
    secret = world.secret("password")
    book = world.book()
    before, draft = known(book), book.draft()
    second = draft.admit(world.next(secret, name="new").compact, world.now)
    draft.admit(world.next(world.keyring_document).compact, world.now)
    reader = world.identity("reader")
    draft.admit(world.sign(world.grant_document(reader), world.administrator).compact, world.now)
    assert draft.key(reader.kid) and not book.key(reader.kid)
    assert draft.find(secret.digest) == secret and draft.newest(secret.document) == (2, second.digest)
    assert draft.draft().newest(secret.document) == (2, second.digest)
    assert known(book) == before
    with refused(Conflict, "field_immutable"):
        draft.admit(world.next(second, connector="c" * 26).compact, world.now)
    # What the book learns meanwhile, the draft knows too.
    late = book.admit(world.secret("late").compact, world.now)
    assert draft.find(late.digest) == late
    # The newest of each, by kind and id.
    for one, newest in ((draft, second), (book, secret)):
        assert one.head("secret", secret.document.id) == newest
    assert draft.head("secret", late.document.id) == late  # type: ignore[attr-defined]
    assert book.head("connector", secret.document.id) is draft.head("secret", "x" * 26) is None


def small_book(world: World, capacity: int) -> Book:
    """A book that has room for few secrets."""
    book = Book(world.id, capacity)
    assert book.admit_all(world.documents, world.now) == {}
    return book


def test_what_a_full_book_forgets_comes_back_as_what_it_was() -> None:
    world = World()
    book = small_book(world, 2)
    secrets = [world.secret(f"s{n}") for n in range(6)]
    for secret in secrets:
        book.admit(secret.compact, world.now)
    assert [book.find(one.digest) is None for one in secrets] == [True] * 4 + [False] * 2
    assert len(book._newest) == len(book._documents) == 2
    assert book.admit(secrets[0].compact, world.now) == secrets[0]
    # Trust is never forgotten.
    assert book.status == world.status and book.find(world.keyring_document.digest)


def test_a_book_that_has_forgotten_a_document_but_not_its_revision_takes_the_same_and_nothing_older() -> None:
    world = World()
    book = small_book(world, 3)
    first = world.secret("password")
    revisions = [first]
    for _ in range(5):
        revisions.append(world.next(revisions[-1]))
    others = [world.secret(f"s{n}") for n in range(2)]
    for one in (*revisions, *others):
        book.admit(one.compact, world.now)
    for one in (world.next(others[0]), world.next(others[1])):
        book.admit(one.compact, world.now)
    newest = revisions[-1]
    assert book.find(newest.digest) is None and book.newest(first.document) == (6, newest.digest)
    with refused(Conflict, "revision_stale"):
        book.admit(revisions[2].compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(world.next(revisions[4], name="fork").compact, world.now)
    assert book.admit(newest.compact, world.now) == newest
    # Without its predecessor at hand, the next revision is judged by its number and signer.
    assert book.admit(world.next(newest, name="seventh").compact, world.now)


def test_what_was_revised_last_is_forgotten_last() -> None:
    world = World()
    book = small_book(world, 2)
    one, other, third = (world.secret(name) for name in ("one", "other", "third"))
    for document in (one, other, world.next(one), third):
        book.admit(document.compact, world.now)
    assert book.newest(one.document) and book.newest(third.document)
    assert book.newest(other.document) is None


def test_a_revision_whose_predecessor_was_forgotten_is_taken_in() -> None:
    world = World()
    book = small_book(world, 3)
    secret = world.secret("password")
    book.admit(secret.compact, world.now)
    one = world.secret("one")
    for compact in (one.compact, world.next(one).compact, world.next(world.next(one)).compact):
        book.admit(compact, world.now)
    assert book.find(secret.digest) is None and book.newest(secret.document)
    assert book.admit(world.next(secret).compact, world.now).document.rev == 2


def test_what_this_party_stored_is_taken_back_without_its_signer() -> None:
    world = World()
    maker = world.identity("maker")
    grant = world.grant(maker, ["edit"])
    secret = world.secret("password", signer=maker)
    newer = world.next(secret, maker, name="newer")
    world.revise_status(grants=(grant.document.id,))
    book = Book(world.id)
    book.admit_all([one for one in world.documents if one != secret.compact], world.now)
    with refused(Denied, "grant_revoked"):
        book.admit(secret.compact, world.now)
    assert book.recall(newer.compact) == newer == book.recall(newer.compact)
    with refused(Conflict, "revision_stale"):
        book.recall(secret.compact)
    # It is acted on all the same only while its signer may sign it.
    version = world.store(secret, b"x")
    with pytest.raises(PrivySealError):
        warrant(book, version.task, world.now)


@pytest.mark.parametrize("what", ["status", "grant", "task", "foreign"])
def test_trust_is_never_taken_back_unverified(what: str) -> None:
    world, other = World(), World(name="other")
    made: dict[str, Verified[Any]] = {
        "status": world.next(world.status),
        "grant": world.sign(world.grant_document(world.identity("x")), world.identity("x")),
        "task": world.check(world.connector),
        "foreign": other.secret("password"),
    }
    with refused(Malformed, "document_unexpected"):
        world.book().recall(made[what].compact)


def test_a_kind_without_a_rule_has_no_signer() -> None:
    world = World()
    with refused(Malformed, "document_unexpected"):
        world.book()._check_signer(world.status, world.now)


def test_an_ended_or_revoked_grant_is_kept_because_it_explains_refusals() -> None:
    world = World()
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    world.revise_status(grants=(grant.document.id,))
    late = world.now + 40 * 86_400
    book = Book(world.id)
    book.admit_all([one for one in world.documents if one != grant.compact], late)
    book.admit(grant.compact, late)
    assert book.status == world.status and book.grants[grant.document.id] == grant
    with refused(Denied, "grant_revoked"):
        book.authority.chain(reader.kid, "reveal", Scope(), None, late)


def test_decisions_by_pinned_grants_are_bounded() -> None:
    world = World()
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    book = world.book()
    one = book.authority_of([grant])
    assert book.authority_of([grant]) is one
    for n in range(1_010):
        book.authority_of([Verified("grant", grant.kid, grant.document, "", str(n))])
    assert len(book._authorities) <= 1_001
    assert book.authority_of([grant]) is not one


def test_who_holds_what() -> None:
    world = World()
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    second = world.grant(reader, ["view"], "org/acme", exp=world.now + 10)
    book = world.book()
    assert book.authority.held(reader.kid, world.now) == [grant.document, second.document]
    assert book.authority.held(reader.kid, world.now + 10) == [grant.document]
    assert book.authority.held(world.administrator.kid, world.now) == []
    with refused(Denied, "grant_missing"):
        book.authority.held(Identity.generate().kid, world.now)
    with refused(Denied, "grant_expired"):
        book.authority.held(reader.kid, grant.document.exp)
    book.admit(world.revise_status(keys=(reader.kid,)).compact, world.now)
    with refused(Denied, "key_revoked"):
        book.authority.held(reader.kid, world.now)


def test_a_thing_is_named_by_its_scope_and_id() -> None:
    secret, grant = BUSY.secret_document("x", "org/acme"), BUSY.grant_document(BUSY.administrator)
    assert name_of(secret) == f"org/acme:{secret.id}"
    assert name_of(grant) == grant.id
    assert name_of(BUSY.status.document) == ":status"
    assert isinstance(secret, SecretDocument)
