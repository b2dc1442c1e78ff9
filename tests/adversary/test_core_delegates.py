"""Adversary against certificates: a manager, a principal or a delegate that makes itself a delegate of a zone."""

from __future__ import annotations

from typing import Any

import pytest

from shared.canonical import b64u
from shared.documents.certificate import LIFETIME_SECONDS
from shared.documents.grant import DAY
from shared.errors import Denied, Malformed, PrivySealError, Tampered, Unauthenticated
from shared.hello import hello_message
from shared.trust.authority import SKEW_SECONDS
from shared.trust.certificate import check_certificate, recheck_certificate
from tests.fakes.refusal import refused
from tests.fakes.world import World


def check(world: World, compact: str) -> None:
    """As manager and client do, by the newest keyring and status."""
    check_certificate(compact, world.keyring_document, world.status.document, world.now)


def test_a_delegate_is_certified_by_its_keyring() -> None:
    world = World()
    check(world, world.certificate().compact)
    check_certificate(world.certificate().compact, world.keyring_document, None, world.now)


@pytest.mark.parametrize("who", ["delegate", "administrator", "root", "attacker"])
def test_nobody_else_certifies(who: str) -> None:
    world = World()
    with refused(Unauthenticated, "certifier_unknown"):
        check(world, world.certificate(world.identity(who)).compact)


def test_a_keyring_of_another_account_or_name_certifies_nothing_here() -> None:
    world, other = World(), World(name="other")
    with refused(Unauthenticated, "certifier_unknown"):
        check(world, other.certificate().compact)
    certifying = world.keyring.newest.certifying
    for changes in ({"acct": other.id}, {"keyring": "other"}):
        with refused(Unauthenticated, "certifier_unknown"):
            check(world, world.certificate(certifying, **changes).compact)


def test_a_changed_certificate_does_not_verify() -> None:
    world = World()
    attacker = world.identity("attacker")
    header, _, signature = world.certificate().compact.split(".")
    _, payload, _ = world.certificate(attacker, key=attacker.key).compact.split(".")
    with refused(Tampered, "signature_invalid"):
        check(world, f"{header}.{payload}.{signature}")


def test_a_certificate_claims_the_generation_that_signed_it() -> None:
    world = World()
    old = world.keyring.newest.certifying
    world.rotate()
    check(world, world.certificate(old, gen=1).compact)
    with refused(Tampered, "certificate_forged"):
        check(world, world.certificate(old, gen=2).compact)


def test_an_excluded_generation_certifies_nothing() -> None:
    world = World()
    old = world.certificate()
    world.rotate()
    check(world, old.compact)
    world.revise_status(keyrings={"main": 2})
    with refused(Denied, "generation_excluded"):
        check(world, old.compact)
    check(world, world.certificate().compact)
    world.keep(world.next(world.keyring_document, certifiers=world.keyring_document.document.certifiers[1:]))
    with refused(Unauthenticated, "certifier_unknown"):
        check(world, old.compact)


@pytest.mark.parametrize(
    ("iat", "exp", "allowed"),
    [
        (0, LIFETIME_SECONDS, True),
        (0, LIFETIME_SECONDS + 1, False),
        (-DAY, 0, False),
        (-DAY, 1, True),
        (SKEW_SECONDS, DAY, True),
        (SKEW_SECONDS + 1, DAY, False),
    ],
)
def test_a_certificate_counts_in_its_time(iat: int, exp: int, allowed: bool) -> None:
    world = World()
    certificate = world.certificate(iat=world.now + iat, exp=world.now + exp)
    if allowed:
        check(world, certificate.compact)
    else:
        with refused(Denied, "certificate_expired"):
            check(world, certificate.compact)


def test_a_certificate_that_was_good_is_judged_again_by_the_time_and_status() -> None:
    world = World()
    certificate = world.certificate()
    check(world, certificate.compact)
    world.now = certificate.document.exp
    with refused(Denied, "certificate_expired"):
        check(world, certificate.compact)
    world = World()
    world.revise_status(keys=(world.delegate.kid,))
    with refused(Denied, "delegate_revoked"):
        check(world, certificate.compact)
    with refused(Denied, "delegate_revoked"):
        recheck_certificate(certificate, world.status.document, world.now)


def test_a_revoked_certifier_certifies_nothing() -> None:
    world = World()
    world.revise_status(keys=(world.keyring.newest.certifying.kid,))
    with refused(Denied, "delegate_revoked"):
        check(world, world.certificate().compact)


@pytest.mark.parametrize(
    "make",
    [
        lambda world: world.grant(world.identity("x")).compact,
        lambda world: world.keyring_document.compact,
        lambda world: "a.b.c",
        lambda world: "é",
    ],
    ids=["a grant", "a keyring", "garbage", "beyond ASCII"],
)
def test_what_is_no_certificate_is_malformed(make: Any) -> None:
    world = World()
    with pytest.raises(Malformed):
        check(world, make(world))


# The proof on the stream.


@pytest.mark.parametrize(
    ("origin", "nonce", "other"),
    [("https://evil", b"n" * 32, False), ("https://m", b"o" * 32, False), ("https://m", b"n" * 32, True)],
    ids=["to another manager", "on another stream", "with another certificate"],
)
def test_a_proof_is_no_proof_elsewhere(origin: str, nonce: bytes, other: bool) -> None:
    world = World()
    certificate = world.certificate()
    proof = world.delegate.sign(hello_message("https://m", b"n" * 32, certificate.compact))
    shown = world.certificate(name="other").compact if other else certificate.compact
    world.delegate.public.verify(proof, hello_message("https://m", b"n" * 32, certificate.compact))
    with refused(Tampered, "signature_invalid"):
        world.delegate.public.verify(proof, hello_message(origin, nonce, shown))


def test_a_proof_of_somebody_else_is_none() -> None:
    world = World()
    message = hello_message("https://m", b"n" * 32, world.certificate().compact)
    errors: list[type[PrivySealError]] = []
    for thief in (world.administrator, world.keyring.newest.certifying):
        with pytest.raises(PrivySealError) as caught:
            world.delegate.public.verify(thief.sign(message), message)
        errors.append(caught.type)
    assert errors == [Tampered, Tampered]


def test_a_signed_document_is_no_proof_and_a_proof_no_document() -> None:
    """Framed messages begin with a length, documents with base64url: no signature serves both."""
    world = World()
    message = hello_message("https://m", b"n" * 32, world.certificate().compact)
    assert message[:1] == b"\0"
    assert world.certificate().compact.split(".")[0].isascii()
    assert b64u(message)[:1] == "A"
