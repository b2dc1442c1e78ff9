"""A delegate's certificate: what stands in it, when it is renewed, and which generation signs it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from delegate.clock import Clock
from delegate.passport import Passport
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.documents.certificate import LIFETIME_SECONDS, MOST_SCOPES, CertificateDocument
from shared.documents.jws import VerifyingKey, parse_as
from shared.hello import hello_message
from shared.names import ACCOUNT_SCOPE, Scope
from shared.trust.certificate import check_certificate
from tests.fakes.world import World


class SetClock(Clock):
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.now


def passport(
    world: World,
    keyring: Keyring | None = None,
    scopes: Collection[Scope] = (ACCOUNT_SCOPE,),
    group: str | None = None,
) -> Passport:
    return Passport(
        identity=Identity.generate(),
        keyring=keyring or world.keyring,
        name="Alpha",
        tags=("eu", "HOST"),
        version="1",
        kinds=("Local",),
        scopes=scopes,
        capacity=3,
        clock=SetClock(world),
        group=group,
    )


def test_a_certificate_is_one_that_the_manager_accepts() -> None:
    world = World()
    made = passport(world)
    certificate = check_certificate(made.certificate, world.keyring_document, world.status.document, world.now).document
    assert (certificate.name, certificate.tags, certificate.gen) == ("alpha", ("alpha", "eu", "host"), 1)
    assert certificate.exp - certificate.iat == LIFETIME_SECONDS


def test_a_certificate_says_of_which_group_the_delegate_is() -> None:
    world = World()
    made = passport(world, group=" Builders ")
    for compact in (made.certificate, made.renew()):
        document = check_certificate(compact, world.keyring_document, world.status.document, world.now).document
        # Its tags are no place for the group's: what these are may change.
        assert (document.group, document.tags) == ("builders", ("alpha", "eu", "host"))


PROJECT = "org/acme/project/web"


@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        (["account"], ()),
        (["org/acme", "account"], ()),
        ([PROJECT, "org/beta", "org/acme"], ("org/acme", PROJECT, "org/beta")),
        ([f"org/o{at}" for at in range(MOST_SCOPES)], tuple(sorted(f"org/o{at}" for at in range(MOST_SCOPES)))),
        # More than a certificate holds: who asks is refused one by one.
        ([f"org/o{at}" for at in range(MOST_SCOPES + 1)], ()),
    ],
    ids=["account", "account among others", "some", "as many as may be", "too many"],
)
def test_a_certificate_says_which_scopes_the_local_policy_takes(scopes: list[str], said: tuple[str, ...]) -> None:
    world = World()
    made = passport(world, scopes=[Scope.parse(one) for one in scopes])
    for compact in (made.certificate, made.renew()):
        document = check_certificate(compact, world.keyring_document, world.status.document, world.now).document
        assert document.scopes == said
        assert document.takes(map(Scope.parse, scopes))
        assert document.takes([Scope.parse("account")]) == (not said)


def test_a_hello_proves_the_identity_for_one_manager_and_one_stream() -> None:
    world = World()
    made = passport(world)
    hello = made.hello("https://manager.example", b"n" * 32)
    key = VerifyingKey.of(parse_as(CertificateDocument, hello.certificate).document.key)
    key.verify(hello.proof, hello_message("https://manager.example", b"n" * 32, hello.certificate))
    assert hello.proof != made.hello("https://other.example", b"n" * 32).proof
    assert hello.proof != made.hello("https://manager.example", b"m" * 32).proof
    assert (hello.kinds, hello.generations, hello.capacity) == (("Local",), (1,), 3)


def test_it_is_renewed_at_half_its_life_for_the_same_identity() -> None:
    world = World()
    made = passport(world)
    first = made.certificate
    assert not made.is_half_spent
    world.now += LIFETIME_SECONDS // 2
    assert made.is_half_spent
    second = made.renew()
    assert not made.is_half_spent
    keys = {parse_as(CertificateDocument, one).document.key for one in (first, second)}
    assert len(keys) == 1
    assert first != second


@pytest.mark.parametrize("seconds", [-3_600, LIFETIME_SECONDS])
def test_who_dials_after_its_clock_was_set_shows_a_certificate_that_counts_now(seconds: int) -> None:
    """Else it would be refused until somebody looks at the certificate's age."""
    world = World()
    made = passport(world)
    world.now += seconds
    hello = made.hello("https://manager.example", b"n" * 32)
    document = parse_as(CertificateDocument, hello.certificate).document
    assert document.iat == world.now
    assert made.hello("https://manager.example", b"n" * 32).certificate == hello.certificate


def test_a_manager_that_does_not_know_the_newest_generation_is_shown_older_ones_in_turn() -> None:
    world = World()
    ahead = world.keyring.rotated(world.seed("generation 2")).rotated(world.seed("generation 3"))
    made = passport(world, ahead)

    def generation() -> int:
        return parse_as(CertificateDocument, made.certificate).document.gen

    seen = [generation()]
    for _ in range(3):
        made.refused("certifier_unknown")
        seen.append(generation())
    assert seen == [3, 2, 1, 3]
    made.refused("manager_unreachable")
    assert generation() == 3


def test_it_follows_the_account_to_a_generation_that_the_file_holds() -> None:
    world = World()
    made = passport(world, world.keyring.rotated(world.seed("generation 2")))
    assert made.follow(1) is True
    assert made.follow(1) is False
    assert made.follow(7) is False
    assert made.follow(2) is True


def test_a_certificate_of_the_future_is_made_anew_when_the_clock_is_set_back() -> None:
    world = World()
    made = passport(world)
    assert not made.is_half_spent
    world.now -= 86_400
    assert made.is_half_spent
    check_certificate(made.renew(), world.keyring_document, world.status.document, world.now)
    assert not made.is_half_spent
