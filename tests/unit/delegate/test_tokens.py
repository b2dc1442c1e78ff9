"""ID tokens as a delegate mints them: for one connector, signed with the key that the account's document names."""

from __future__ import annotations

import os

import jwt
import pytest

from delegate.clock import Clock
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared.crypto.keyring import Keyring
from shared.documents.keyring import Oidc, OidcKey
from shared.errors import Denied, Malformed, NotReady, PrivySealError
from shared.oidc import claims, key_id, key_set, subject
from tests.fakes.issuers import ISSUER, ISSUER_KEYS, speak
from tests.fakes.world import KEYRING, World

AUDIENCE = "sts.amazonaws.com"


class Frozen(Clock):
    """At one moment."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


def tokens(world: World, keyring: Keyring | None = None) -> Tokens:
    return Tokens(Zone(keyring or world.keyring, world.book()), Frozen(world.now), os.urandom)


async def refused(world: World, keyring: Keyring | None = None, audience: str = AUDIENCE) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await tokens(world, keyring).mint(world.connector.document, audience)
    return caught.value


async def test_a_token_is_verified_by_the_published_keys_and_says_what_it_must() -> None:
    world = World()
    document = speak(world).document
    connector = world.connector_document("kms", "org/o/project/p")
    token = await tokens(world).mint(connector, AUDIENCE)
    (key,) = key_set(document)["keys"]
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": key["kid"], "typ": "JWT"}
    timeless = jwt.types.Options(verify_exp=False, verify_nbf=False, verify_iat=False)
    told = jwt.decode(
        token, jwt.PyJWK(key), algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER, subject=subject(connector), options=timeless
    )  # fmt: skip
    assert told == claims(connector, ISSUER, AUDIENCE, world.now, told["jti"])
    assert len(told["jti"]) == 22


async def test_every_token_is_a_new_one() -> None:
    world = World()
    speak(world)
    minting = tokens(world)
    made = [await minting.mint(world.connector.document, AUDIENCE) for _ in range(3)]
    assert len({jwt.decode(one, options={"verify_signature": False})["jti"] for one in made}) == 3


async def test_a_keyring_without_an_issuer_signs_nothing() -> None:
    world = World()
    assert (type(why := await refused(world)), why.code) == (NotReady, "oidc_unconfigured")
    speak(world, issuer="")
    assert (await refused(world)).code == "oidc_unconfigured"
    empty = World(name="empty")
    nothing = Tokens(Zone(empty.keyring, World(name="other").book()), Frozen(empty.now), os.urandom)
    with pytest.raises(NotReady) as caught:
        await nothing.mint(empty.connector.document, AUDIENCE)
    assert caught.value.code == "oidc_unconfigured"
    assert "privyseal oidc enable" in caught.value.hint


async def test_a_file_with_another_key_than_the_document_signs_nothing_and_takes_no_task() -> None:
    world = World()
    document = speak(world)
    other = Keyring(world.id, KEYRING, [(1, world.seed("generation 1"))], {1: ISSUER_KEYS[2]})
    assert (type(why := await refused(world, other)), why.code) == (NotReady, "oidc_key_differs")
    with pytest.raises(NotReady) as caught:
        Zone(other, world.book()).check(document)
    assert caught.value.code == "oidc_key_differs"
    assert ISSUER_KEYS[1].n[:20] not in str(caught.value.problem())
    Zone(world.keyring, world.book()).check(document)


async def test_a_file_without_the_key_signs_nothing_and_a_keyring_without_an_issuer_needs_none() -> None:
    world = World()
    older = world.keyring
    document = speak(world)
    with pytest.raises(NotReady) as caught:
        Zone(older, world.book()).check(document)
    assert caught.value.code == "oidc_key_differs"
    assert (await refused(world, older)).code == "oidc_key_missing"
    silent = speak(world, issuer="")
    Zone(older, world.book()).check(silent)


async def test_a_generation_that_the_document_names_no_key_of_signs_nothing() -> None:
    world = World()
    speak(world)
    world.keyring = world.keyring.rotated(world.seed("generation 2"), ISSUER_KEYS[2])
    rotated = world.keyring.document(3, world.keyring_document.digest, world.now, issuer=ISSUER)
    world.publish(rotated)
    assert (await tokens(world).mint(world.connector.document, AUDIENCE)).count(".") == 2
    world.revise(world.keyring_document, oidc=Oidc((OidcKey(1, ISSUER_KEYS[1].n),), ISSUER))
    assert (await refused(world)).code == "oidc_key_missing"


async def test_while_a_new_file_is_handed_out_the_documents_generation_signs() -> None:
    world = World()
    speak(world)
    ahead = world.keyring.rotated(world.seed("generation 2"), ISSUER_KEYS[2])
    token = await tokens(world, ahead).mint(world.connector.document, AUDIENCE)
    assert jwt.get_unverified_header(token)["kid"] == key_id(ISSUER_KEYS[1].n)


async def test_an_excluded_generation_signs_nothing() -> None:
    world = World()
    speak(world)
    world.revise_status(keyrings={KEYRING: 2})
    assert (type(why := await refused(world)), why.code) == (NotReady, "generation_excluded")


async def test_another_zones_connector_gets_no_token() -> None:
    world = World()
    speak(world)
    for connector in (
        world.connector_document("kms", keyring="other"),
        World(name="other").connector.document,
    ):
        with pytest.raises(Denied) as caught:
            await tokens(world).mint(connector, AUDIENCE)
        assert caught.value.code == "keyring_foreign"


@pytest.mark.parametrize("audience", ["", "a" * 2049])
async def test_an_audience_has_a_form(audience: str) -> None:
    world = World()
    speak(world)
    assert (type(why := await refused(world, audience=audience)), why.code) == (Malformed, "audience_malformed")
