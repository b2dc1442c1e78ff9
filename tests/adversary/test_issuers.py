"""Adversary against the issuer of ID tokens: whoever could name another, or another key, would take every role that trusts it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from delegate.clock import Clock
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared.crypto.identity import Identity
from shared.documents.keyring import Oidc, OidcKey
from shared.errors import Denied, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.oidc import DISCOVERY_PATH, JWKS_PATH, key_id
from tests.adversary.stage import Stage
from tests.adversary.test_network_documents import raised, replaced, rewrite_etag
from tests.adversary.test_network_tasks import rewritten
from tests.fakes.issuers import ISSUER, ISSUER_KEYS, speak
from tests.fakes.refusal import refused
from tests.fakes.world import KEYRING, World

EVIL = "https://evil.example.test"


def swapped(world: World, signer: Identity) -> str:
    """The next keyring document, with an issuer and a key of the attacker's."""
    return world.next(world.keyring_document, signer, oidc=Oidc((OidcKey(1, ISSUER_KEYS[2].n),), EVIL)).compact


# The rules alone.


@pytest.mark.parametrize(
    ("who", "error", "code"),
    [
        ("attacker", Unauthenticated, "signer_unknown"),
        ("delegate", Unauthenticated, "signer_unknown"),
        ("certifier", Unauthenticated, "signer_unknown"),
        ("root", Unauthenticated, "signer_unknown"),
        ("reader", Denied, "keyring_unfounded"),
    ],
)
async def test_only_an_administrator_says_the_issuer_and_a_delegate_goes_on_as_the_signed_one(
    who: str, error: type[PrivySealError], code: str
) -> None:
    world = World()
    speak(world)
    world.grant(world.identity("reader"))  # who holds every permission over the account, and is no administrator
    signers = {"certifier": world.keyring.newest.certifying, "root": world.root, "delegate": world.delegate}
    book = world.book()
    with refused(error, code):
        book.admit(swapped(world, signers.get(who) or world.identity(who)), world.now)
    token = await Tokens(Zone(world.keyring, book), Clock(), os.urandom).mint(world.connector.document, "a")
    assert jwt.decode(token, options={"verify_signature": False})["iss"] == ISSUER
    assert jwt.get_unverified_header(token)["kid"] == key_id(ISSUER_KEYS[1].n)


def test_an_issuer_that_was_changed_in_transit_is_refused() -> None:
    world = World()
    genuine = speak(world).compact.split(".")
    forged = swapped(world, world.identity("attacker")).split(".")
    with refused(Tampered, "signature_invalid"):
        World().book().admit(f"{genuine[0]}.{forged[1]}.{genuine[2]}", world.now)


async def test_an_administrator_who_names_a_key_that_no_delegate_has_stops_them_and_gets_no_token() -> None:
    world = World()
    speak(world)
    world.revise(world.keyring_document, oidc=Oidc((OidcKey(1, ISSUER_KEYS[2].n),), ISSUER))
    zone = Zone(world.keyring, world.book())
    with refused(NotReady, "oidc_key_differs"):
        zone.check(world.keyring_document)
    with refused(NotReady, "oidc_key_differs"):
        await Tokens(zone, Clock(), os.urandom).mint(world.connector.document, "a")


# A manager in the attacker's hands, and a client that publishes.


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as one:
        speak(one.world)
        await one.publish()
        yield one


def nothing_is_written(folder: Path) -> bool:
    return not folder.exists() or not list(folder.rglob("*"))


async def publishing_is(stage: Stage, folder: Path, why: tuple[Any, str], **arguments: Any) -> None:
    client = stage.client(**arguments)
    assert await raised(client.issuers.publish(folder, KEYRING)) == why
    assert nothing_is_written(folder)


async def test_an_issuer_that_the_manager_changed_is_not_published(stage: Stage, tmp_path: Path) -> None:
    told = {"issuer": EVIL, "keys": [{"gen": 1, "n": ISSUER_KEYS[2].n}]}
    replaced(stage, "/trust", "keyring", rewritten(stage.world.keyring_document.compact, oidc=told))
    await publishing_is(stage, tmp_path / "site", (Tampered, "signature_invalid"))


async def test_keys_that_the_manager_signed_are_not_published(stage: Stage, tmp_path: Path) -> None:
    replaced(stage, "/trust", "keyring", swapped(stage.world, stage.mallory))
    await publishing_is(stage, tmp_path / "site", (Unauthenticated, "signer_unknown"))


async def test_an_older_revision_with_a_stolen_key_is_not_published_again(stage: Stage, tmp_path: Path) -> None:
    home, stolen = stage.home("client"), stage.world.keyring_document
    site = tmp_path / "site"
    stage.world.revise(stolen, oidc=Oidc((OidcKey(1, ISSUER_KEYS[2].n),), ISSUER))
    await stage.publish()
    async with stage.client(home=home) as client:
        await client.issuers.publish(site, KEYRING)
    published = [(site / path).read_bytes() for path in (JWKS_PATH, DISCOVERY_PATH)]
    replaced(stage, "/trust", "keyring", stolen.compact)
    rewrite_etag(stage)
    assert (await raised(stage.client(home=home).issuers.publish(site, KEYRING)))[0] is Tampered
    assert [(site / path).read_bytes() for path in (JWKS_PATH, DISCOVERY_PATH)] == published


async def test_a_withheld_exclusion_ends_with_the_status(stage: Stage, tmp_path: Path) -> None:
    """The manager shows nothing newer: a client publishes what it knows only for as long as its status holds."""
    late = stage.world.now + 60
    stage.world.revise_status(exp=late)
    await stage.publish()
    await publishing_is(stage, tmp_path / "site", (NotReady, "status_expired"), clock=lambda: late)
