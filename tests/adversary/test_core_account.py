"""Adversary against the account's own chain and its status: other roots, other administrators, and what was revoked alive."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.account import AccountDocument, Administrator
from shared.documents.grant import DAY
from shared.documents.jws import Verified
from shared.documents.status import LONGEST_SECONDS, StatusDocument
from shared.errors import Conflict, Denied, Malformed, NotReady, Tampered
from shared.trust.account import consent_message
from shared.trust.authority import SKEW_SECONDS
from shared.trust.book import Book
from shared.trust.status import MOST_RENEWALS, live
from shared.trust.warrant import warrant
from tests.fakes.refusal import refused
from tests.fakes.world import World

# The account.


def with_root(world: World, new: Identity, signer: Identity, consent: Identity | None) -> Verified[AccountDocument]:
    """The next account document, with one root more."""
    old = world.account_document
    fields: dict[str, Any] = {"rev": old.document.rev + 1, "prev": old.digest, "iat": world.now}
    document = structs.replace(old.document, roots=(*old.document.roots, new.key), **fields)
    if consent:
        signature = b64u(consent.sign(consent_message(document, new.key)))
        document = structs.replace(document, consents={new.key: signature})
    return world.sign(document, signer)


def test_a_second_root_comes_in_with_an_old_one_s_signature_and_its_own() -> None:
    world = World()
    second = world.identity("second")
    book = world.book()
    book.admit(world.keep(with_root(world, second, world.root, second)).compact, world.now)
    # And then stands alone: the first may go.
    book.admit(world.revise(world.account_document, second, roots=(second.key,), consents={}).compact, world.now)
    with refused(Tampered, "signer_unknown"):
        book.admit(world.next(world.account_document, world.root).compact, world.now)


def test_a_root_that_does_not_consent_stays_out() -> None:
    world = World()
    with refused(Tampered, "root_consent_missing"):
        world.book().admit(with_root(world, world.identity("second"), world.root, None).compact, world.now)


def test_a_root_for_which_another_consents_stays_out() -> None:
    world = World()
    forged = with_root(world, world.identity("second"), world.root, world.root)
    with refused(Tampered, "signature_invalid"):
        world.book().admit(forged.compact, world.now)


def test_a_consent_to_one_revision_is_none_to_another() -> None:
    world = World()
    second = world.identity("second")
    early = with_root(world, second, world.root, second)
    world.revise(world.account_document, world.root)
    late = with_root(world, second, world.root, None).document
    mixed = structs.replace(late, consents=early.document.consents)
    with refused(Tampered, "signature_invalid"):
        world.book().admit(world.sign(mixed, world.root).compact, world.now)


def test_roots_are_not_replaced_without_an_old_one() -> None:
    world = World()
    attacker = world.identity("attacker")
    for signer in (attacker, world.administrator):
        forged = with_root(world, attacker, signer, attacker)
        with refused(Tampered, "signer_unknown"):
            world.book().admit(forged.compact, world.now)


def test_an_administrator_does_not_make_administrators() -> None:
    world = World()
    added = (*world.account_document.document.administrators, Administrator("x", world.identity("x").key))
    forged = world.next(world.account_document, world.administrator, administrators=added)
    with refused(Tampered, "signer_unknown"):
        world.book().admit(forged.compact, world.now)


def test_another_account_s_documents_are_not_this_one_s() -> None:
    world, other = World(), World(name="other")
    with refused(Tampered, "account_foreign"):
        Book(world.id).admit(other.account_document.compact, world.now)
    with refused(Tampered, "account_foreign"):
        world.book().admit(other.account_document.compact, world.now)


def test_a_first_document_that_does_not_make_the_id_is_forged() -> None:
    world = World()
    attacker = world.identity("attacker")
    forged = structs.replace(world.account_document.document, roots=(attacker.key,))
    with refused(Tampered, "account_forged"):
        Book(world.id).admit(world.sign(forged, attacker).compact, world.now)


def test_the_first_document_is_signed_by_its_own_root() -> None:
    world = World()
    forged = world.sign(world.account_document.document, world.administrator)
    with refused(Tampered, "signer_unknown"):
        Book(world.id).admit(forged.compact, world.now)


def test_an_account_without_its_id_is_nobody_s() -> None:
    world = World()
    empty = structs.replace(world.account_document.document, acct="")
    with refused(Tampered, "account_foreign"):
        Book(world.id).admit(world.sign(empty, world.root).compact, world.now)


def test_the_account_s_chain_has_no_gap_no_fork_and_no_way_back() -> None:
    world = World()
    first = world.account_document
    second = world.next(first, world.root, name="second")
    fork = world.next(first, world.root, name="fork")
    third = world.next(second, world.root, name="third")
    other = world.next(fork, world.root, name="other")
    book = world.book()
    with refused(NotReady, "account_documents_missing"):
        book.admit(third.compact, world.now)
    with refused(NotReady, "account_documents_missing"):
        Book(world.id).admit(second.compact, world.now)
    book.admit(second.compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(fork.compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(other.compact, world.now)
    book.admit(third.compact, world.now)
    with refused(Conflict, "revision_stale"):
        book.admit(fork.compact, world.now)
    assert book.account == third


# Status.


def renewal(world: World, signer: Identity, base: Verified[StatusDocument], **changes: Any) -> Verified[StatusDocument]:
    """The next status, which renews `base`."""
    document, exp = base.document, world.now + 10 * DAY
    same: dict[str, Any] = {name: getattr(document, name) for name in ("grants", "keys", "secrets", "keyrings")}
    return world.next(world.status, signer, **{**same, "base": base.digest, "exp": exp, **changes})


def renewing_world() -> tuple[World, Identity]:
    """A world with a service that may renew the status."""
    world = World()
    service = world.identity("service")
    world.grant(service, ["renew"])
    return world, service


def test_who_may_renew_renews_what_an_administrator_signed() -> None:
    world, service = renewing_world()
    book, base = world.book(), world.status
    for _ in range(3):
        new = world.keep(renewal(world, service, base))
        book.admit(new.compact, world.now)
        assert book.status == new


@pytest.mark.parametrize(
    "changes",
    [{"grants": ("g" * 26,)}, {"keys": ("A" * 43,)}, {"secrets": {"s" * 26: 2}}, {"keyrings": {"main": 1}}],
    ids="".join,
)
def test_a_renewal_changes_nothing(changes: dict[str, Any]) -> None:
    world, service = renewing_world()
    with refused(Tampered, "status_changed"):
        world.book().admit(renewal(world, service, world.status, **changes).compact, world.now)


def test_a_renewal_drops_nothing() -> None:
    world, service = renewing_world()
    base = world.revise_status(grants=("g" * 26,))
    with refused(Tampered, "status_changed"):
        world.book().admit(renewal(world, service, base, grants=()).compact, world.now)


def test_a_renewal_does_not_bring_back_what_an_administrator_revoked_since() -> None:
    world, service = renewing_world()
    before = world.status
    world.revise_status(grants=("g" * 26,))
    with refused(Tampered, "status_rolled_back"):
        world.book().admit(renewal(world, service, before).compact, world.now)


def test_a_renewal_of_a_renewal_is_of_no_administrator_s() -> None:
    world, service = renewing_world()
    first = world.keep(renewal(world, service, world.status))
    with refused(Denied, "status_unfounded"):
        world.book().admit(renewal(world, service, first).compact, world.now)


def test_a_renewal_of_an_administrator_s_renewal_is_of_no_status_of_his() -> None:
    world, service = renewing_world()
    first = world.keep(renewal(world, world.administrator, world.status))
    with refused(Denied, "status_unfounded"):
        world.book().admit(renewal(world, service, first).compact, world.now)


def test_what_an_administrator_signed_is_not_renewed_after_him() -> None:
    world, service = renewing_world()
    last = world.revise_status(keys=(world.administrator.kid,))
    # The service's own grant is the administrator's too: another one adopts it.
    second = world.identity("second")
    kept = world.account_document.document.administrators
    added = (*kept, Administrator("second", second.key))
    world.revise(world.account_document, world.root, administrators=added)
    world.revise(world.chain(service.kid)[0], second)
    with refused(Denied, "status_unfounded"):
        world.book().admit(renewal(world, service, last).compact, world.now)


def test_a_renewal_waits_for_what_it_renews() -> None:
    world, service = renewing_world()
    unseen = renewal(world, service, world.next(world.status, grants=("g" * 26,)))
    with refused(NotReady, "status_base_missing"):
        world.book().admit(unseen.compact, world.now)


def test_a_renewal_of_something_else_renews_nothing() -> None:
    world, service = renewing_world()
    forged = world.next(world.status, service, base=world.keyring_document.digest)
    with refused(NotReady, "status_base_missing"):
        world.book().admit(forged.compact, world.now)


def test_a_renewal_does_not_use_up_the_serials() -> None:
    """Else nobody could revoke anything any more: no number would be left above it."""
    world, service = renewing_world()
    base, book = world.status, world.book()
    with refused(Denied, "status_too_far"):
        book.admit(renewal(world, service, base, rev=2**53 - 1).compact, world.now)
    book.admit(renewal(world, service, base, rev=base.document.rev + MOST_RENEWALS).compact, world.now)


def test_only_who_may_renew_renews() -> None:
    world, reader = World(), World().identity("reader")
    world.grant(reader, ["reveal", "edit", "admin"])
    world.grant(reader, ["renew"], "org/acme")
    with refused(Denied, "grant_missing"):
        world.book().admit(renewal(world, reader, world.status).compact, world.now)


def test_nobody_but_an_administrator_signs_a_new_status() -> None:
    world = World()
    everything = world.identity("everything")
    world.grant(everything)
    with refused(Denied, "status_unfounded"):
        world.book().admit(world.next(world.status, everything).compact, world.now)


def test_a_status_is_not_rolled_back_forked_or_continued_from_elsewhere() -> None:
    world = World()
    first = world.status
    book = world.book()
    hidden = world.next(first, grants=("h" * 26,))
    book.admit(world.revise_status(grants=("g" * 26,)).compact, world.now)
    with refused(Tampered, "status_forked"):
        book.admit(hidden.compact, world.now)
    with refused(Tampered, "status_forked"):
        book.admit(world.next(hidden).compact, world.now)
    # A gap is allowed, since one status says everything.
    fourth = world.next(world.next(world.status))
    book.admit(fourth.compact, world.now)
    with refused(Conflict, "status_rolled_back"):
        book.admit(hidden.compact, world.now)
    assert book.admit(first.compact, world.now) == first
    assert book.status == fourth


@pytest.mark.parametrize(("iat", "exp"), [(0, LONGEST_SECONDS + 1), (SKEW_SECONDS + 1, DAY)])
def test_a_status_does_not_begin_in_the_future_or_last_too_long(iat: int, exp: int) -> None:
    world = World()
    with refused(Denied, "status_too_long"):
        world.book().admit(world.next(world.status, iat=world.now + iat, exp=world.now + exp).compact, world.now)


def test_a_status_has_a_predecessor_unless_it_is_the_first() -> None:
    world = World()
    with refused(Malformed, "revision_malformed"):
        world.book().admit(world.next(world.status, prev=None).compact, world.now)


def test_an_expired_or_missing_status_stops_everything() -> None:
    world = World()
    task = world.check(world.connector, iat=world.status.document.exp, exp=world.status.document.exp + 60)
    with refused(NotReady, "status_expired"):
        warrant(world.book(), task, world.status.document.exp)
    with refused(NotReady, "status_missing"):
        live(None, world.now)


def test_an_administrator_who_is_removed_takes_his_status_with_him_but_not_what_it_revoked() -> None:
    world = World()
    book = world.book()
    reader = world.identity("reader")
    grant = world.grant(reader, ["edit"])
    book.admit(grant.compact, world.now)
    book.admit(world.revise_status(keys=(reader.kid,)).compact, world.now)
    others = (Administrator("second", world.identity("second").key),)
    book.admit(world.revise(world.account_document, world.root, administrators=others).compact, world.now)
    assert book.status is None
    with refused(NotReady, "status_missing"):
        warrant(book, world.check(world.connector), world.now)
    with refused(Denied, "key_revoked"):
        book.admit(world.sign(world.secret_document("password"), reader).compact, world.now)
    book.admit(world.revise_status(world.identity("second")).compact, world.now)
    assert book.status == world.status


def test_a_renewed_status_falls_with_the_administrator_whose_status_it_renews() -> None:
    world, service = renewing_world()
    book = world.book()
    book.admit(world.keep(renewal(world, service, world.status)).compact, world.now)
    others = (Administrator("second", world.identity("second").key),)
    book.admit(world.revise(world.account_document, world.root, administrators=others).compact, world.now)
    assert book.status is None


def test_an_administrator_revokes_his_own_lost_key() -> None:
    world = World()
    book = world.book()
    lost = world.revise_status(keys=(world.administrator.kid,))
    book.admit(lost.compact, world.now)
    assert book.status == lost
    with refused(Denied, "status_unfounded"):
        book.admit(world.next(lost, keys=()).compact, world.now)
