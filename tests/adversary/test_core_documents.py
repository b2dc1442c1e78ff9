"""Adversary against the form of documents: everybody who may sign something signs what he shouldn't, and everything else forges."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from msgspec import structs

from shared.canonical import b64u, encode, unb64u
from shared.crypto.identity import Identity
from shared.documents.jws import Verified, header_bytes, parse, parse_as
from shared.documents.keyring import Certifier, KeyringDocument
from shared.errors import Denied, Malformed, PrivySealError, Tampered, Unauthenticated
from tests.fakes.refusal import refused
from tests.fakes.world import World

Forge = Callable[[World], str]


def assemble(header: bytes, payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS of any header."""
    signing_input = f"{b64u(header)}.{b64u(payload)}"
    return f"{signing_input}.{b64u(sign(signing_input.encode()))}"


def payload_of(world: World) -> bytes:
    """A payload that would be taken in if it were well signed."""
    return encode(world.secret_document("password"))


def with_header(world: World, header: dict[str, Any]) -> str:
    """Signed by the administrator, under a header of our own."""
    raw = json.dumps(header, separators=(",", ":")).encode()
    return assemble(raw, payload_of(world), world.administrator.sign)


def with_payload(world: World, change: Callable[[bytes], bytes]) -> str:
    """Signed by the administrator, with a payload in another text form."""
    header = header_bytes("secret", world.administrator.kid)
    return assemble(header, change(payload_of(world)), world.administrator.sign)


def header_of(world: World, **changes: Any) -> dict[str, Any]:
    """The one header, with changes."""
    return {"alg": "EdDSA", "kid": world.administrator.kid, "typ": "privyseal-secret+jws", **changes}


def no_signature(world: World) -> str:
    """The algorithm `none`, as in the first attacks on JWT."""
    raw = json.dumps(header_of(world, alg="none"), separators=(",", ":")).encode()
    return f"{b64u(raw)}.{b64u(payload_of(world))}."


def hmac_with_public_key(world: World) -> str:
    """HS256 with the public key as the secret."""
    raw = json.dumps(header_of(world, alg="HS256"), separators=(",", ":")).encode()
    return assemble(raw, payload_of(world), lambda m: hmac.digest(world.administrator.public.raw, m, hashlib.sha256))


def rsa_signature(world: World) -> str:
    """RS256 with a key of the attacker's."""
    key = rsa.generate_private_key(65537, 2048)
    raw = json.dumps(header_of(world, alg="RS256"), separators=(",", ":")).encode()
    return assemble(raw, payload_of(world), lambda m: key.sign(m, padding.PKCS1v15(), hashes.SHA256()))


def own_key_in_header(world: World) -> str:
    """The attacker's own key, offered in the header."""
    attacker = world.identity("attacker")
    header = header_of(world, jwk={"kty": "OKP", "crv": "Ed25519", "x": attacker.key})
    return assemble(json.dumps(header, separators=(",", ":")).encode(), payload_of(world), attacker.sign)


def loose(place: int, add: str) -> Forge:
    """One of the three parts with padding, white space or stray bits."""

    def forge(world: World) -> str:
        parts = world.administrator.sign_document(world.secret_document("password")).split(".")
        parts[place] += add
        return ".".join(parts)

    return forge


def stray_bits(world: World) -> str:
    """Another text of the same signature: its last character carries bits that a loose decoder drops."""
    compact = world.administrator.sign_document(world.secret_document("password"))
    return compact[:-1] + chr(ord(compact[-1]) + 1)


FORMS: dict[str, tuple[Forge, str]] = {
    "the algorithm none": (no_signature, "document_malformed"),
    "an HMAC with the public key": (hmac_with_public_key, "document_malformed"),
    "an RSA signature": (rsa_signature, "document_malformed"),
    "a key of its own in the header": (own_key_in_header, "document_header_malformed"),
    "a critical extension": (lambda w: with_header(w, header_of(w, crit=["exp"])), "document_header_malformed"),
    "an address for keys": (
        lambda w: with_header(w, header_of(w, jku="http://127.0.0.1/")),
        "document_header_malformed",
    ),
    "its header in another order": (
        lambda w: with_header(w, dict(reversed(header_of(w).items()))),
        "document_header_malformed",
    ),
    "the type of another system": (lambda w: with_header(w, header_of(w, typ="JWT")), "document_malformed"),
    "an unknown kind": (
        lambda w: with_header(w, header_of(w, typ="privyseal-nonsense+jws")),
        "document_kind_unknown",
    ),
    "a reserved kind": (
        lambda w: with_header(w, header_of(w, typ="privyseal-definition+jws")),
        "document_kind_reserved",
    ),
    "a doubled claim": (
        lambda w: with_payload(w, lambda p: b'{"name":"other",' + p[1:]),
        "secret_document_malformed",
    ),
    "an unknown claim": (lambda w: with_payload(w, lambda p: p[:-1] + b',"zz":1}'), "secret_document_malformed"),
    "white space": (lambda w: with_payload(w, lambda p: p.replace(b",", b", ")), "secret_document_malformed"),
    "an escaped letter": (
        lambda w: with_payload(w, lambda p: p.replace(b"password", b"p\\u0061ssword")),
        "secret_document_malformed",
    ),
    "a number with a fraction": (
        lambda w: with_payload(w, lambda p: p.replace(b'"rev":1', b'"rev":1.0')),
        "secret_document_malformed",
    ),
    "a default spelt out": (
        lambda w: with_payload(w, lambda p: p.replace(b',"id":', b',"deleted":false,"id":')),
        "secret_document_malformed",
    ),
    "another format version": (
        lambda w: with_payload(w, lambda p: p.replace(b'"v":1', b'"v":2')),
        "secret_document_malformed",
    ),
    "a padded header": (loose(0, "="), "base64url_malformed"),
    "a padded payload": (loose(1, "=="), "base64url_malformed"),
    "a padded signature": (loose(2, "=="), "base64url_malformed"),
    "a line break at its end": (loose(2, "\n"), "base64url_malformed"),
    "stray bits in its signature": (stray_bits, "base64url_malformed"),
    "a fourth part": (loose(2, ".e30"), "document_malformed"),
}


@pytest.mark.parametrize(("forge", "code"), FORMS.values(), ids=FORMS)
def test_a_document_is_refused_with(forge: Forge, code: str) -> None:
    world = World()
    book = world.book()
    with refused(Malformed, code):
        book.admit(forge(world), world.now)
    assert not any(kind == "secret" for kind, _ in book._newest)


# One kind for another. The kind stands in the signed header, so that no signature serves two.


@pytest.mark.parametrize(
    "kind", ["status", "account", "keyring", "connector", "scope", "task", "certificate", "answer"]
)
def test_a_grant_presented_as_another_kind_is_refused(kind: str) -> None:
    world = World()
    grant = world.grant(world.identity("reader"), ["reveal"])
    _, payload, signature = grant.compact.split(".")
    header = b64u(header_bytes(kind, grant.kid))
    with refused(Malformed, f"{kind}_document_malformed"):
        world.book().admit(f"{header}.{payload}.{signature}", world.now)


def test_a_secret_presented_as_a_scope_with_the_same_claims_is_refused() -> None:
    """The claims of a scope document fit a grantor's signature over another kind only if the header says so."""
    world = World()
    scope = world.sign(world.scope_document("acme"), world.administrator)
    header = json.loads(unb64u(scope.compact.split(".")[0]))
    assert header["typ"] == "privyseal-scope+jws"
    forged = f"{b64u(header_bytes('secret', scope.kid))}.{scope.compact.split('.', 1)[1]}"
    with refused(Malformed, "secret_document_malformed"):
        parse(forged)


@pytest.mark.parametrize("make", ["task", "certificate", "answer"])
def test_what_is_no_revision_of_a_thing_is_not_kept(make: str) -> None:
    world = World()
    documents: dict[str, Verified[Any]] = {
        "task": world.check(world.connector),
        "certificate": world.sign(world.certificate().document, world.administrator),
        "answer": world.sign(world.answer_document("A" * 43), world.administrator),
    }
    with refused(Malformed, "document_unexpected"):
        world.book().admit(documents[make].compact, world.now)


# Who signs what.


def swapped(world: World, signer: Identity) -> str:
    """The next keyring document, with a sealing key and a certifier of the attacker's."""
    evil = World(name="evil").keyring.newest
    return world.next(
        world.keyring_document,
        signer,
        seal=b64u(evil.sealing.public.raw),
        certifiers=(Certifier(1, evil.certifying.key),),
    ).compact


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
def test_a_keyring_with_a_swapped_sealing_key_is_refused(who: str, error: type[PrivySealError], code: str) -> None:
    world = World()
    world.grant(world.identity("reader"))  # who holds every permission over the account, and is no administrator
    signers = {"certifier": world.keyring.newest.certifying, "root": world.root, "delegate": world.delegate}
    book = world.book()
    with refused(error, code):
        book.admit(swapped(world, signers.get(who) or world.identity(who)), world.now)
    assert book.keyrings["main"] == world.keyring_document


def test_a_keyring_document_whose_key_was_swapped_in_transit_is_refused() -> None:
    world = World()
    genuine = world.next(world.keyring_document).compact.split(".")
    forged = swapped(world, world.identity("attacker")).split(".")
    with refused(Tampered, "signature_invalid"):
        world.book().admit(f"{genuine[0]}.{forged[1]}.{genuine[2]}", world.now)


def test_an_administrator_who_is_removed_takes_the_keyring_that_he_signed_with_him() -> None:
    world = World()
    stolen = world.identity("stolen")
    kept = world.account_document.document.administrators
    added = (*kept, structs.replace(kept[0], name="second", key=stolen.key))
    world.revise(world.account_document, world.root, administrators=added)
    world.keep(parse_as(KeyringDocument, swapped(world, stolen)).verified_by(stolen.public))
    book = world.book()
    assert "main" in book.keyrings
    book.admit(world.revise(world.account_document, world.root, administrators=kept).compact, world.now)
    assert "main" not in book.keyrings
    again = world.revise(world.keyring_document, world.administrator)
    book.admit(again.compact, world.now)
    assert book.keyrings["main"] == again


def test_an_administrator_whose_key_is_revoked_takes_the_keyring_that_he_signed_with_him() -> None:
    world = World()
    book = world.book()
    book.admit(world.next(world.status, keys=(world.administrator.kid,)).compact, world.now)
    assert book.keyrings == {} and book.status is not None


def test_a_signature_by_somebody_else_than_the_header_says_is_refused() -> None:
    world = World()
    attacker = world.identity("attacker")
    forged = assemble(header_bytes("secret", world.administrator.kid), payload_of(world), attacker.sign)
    with refused(Tampered, "signature_invalid"):
        world.book().admit(forged, world.now)


def test_a_document_of_another_account_is_refused_although_its_signer_is_known_here() -> None:
    world, other = World(), World(name="other")
    foreign = other.sign(other.secret_document("password"), world.administrator)
    with refused(Tampered, "account_foreign"):
        world.book().admit(foreign.compact, world.now)
