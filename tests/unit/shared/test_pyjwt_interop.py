"""Documents against an implementation of JWS that isn't ours: PyJWT confirms what we make, and takes more than we do."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from jwt.api_jws import PyJWS

from shared.canonical import b64u, encode, unb64u
from shared.crypto.identity import Identity
from shared.documents.jws import kind_of, parse
from shared.errors import Malformed, Tampered
from tests.vectors import actors
from tests.vectors.documents import good

jws = PyJWS()

DOCUMENTS = good()
SIGNER, PAYLOAD = actors.EDITOR, actors.secret()
COMPACT = SIGNER.sign_document(PAYLOAD)
HEAD, BODY, TAIL = COMPACT.split(".")


def public(signer: Identity) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(signer.public.raw)


def believed_by_pyjwt(compact: str, signer: Identity = SIGNER) -> bytes:
    """The payload, verified by PyJWT."""
    payload = jws.decode(compact, public(signer), algorithms=["EdDSA"])
    assert isinstance(payload, bytes)
    return payload


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_pyjwt_verifies_a_document_of_every_kind(name: str) -> None:
    signer, payload = DOCUMENTS[name]
    compact = signer.sign_document(payload)
    assert believed_by_pyjwt(compact, signer) == encode(payload)
    header = jws.get_unverified_header(compact)
    assert header == {"alg": "EdDSA", "kid": signer.kid, "typ": f"privyseal-{kind_of(payload)}+jws"}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_pyjwt_makes_the_same_document_byte_for_byte(name: str) -> None:
    signer, payload = DOCUMENTS[name]
    secret = Ed25519PrivateKey.from_private_bytes(seed_of(signer))
    headers = {"typ": f"privyseal-{kind_of(payload)}+jws", "kid": signer.kid}
    made = jws.encode(encode(payload), secret, algorithm="EdDSA", headers=headers, sort_headers=True)
    assert made == signer.sign_document(payload)
    assert parse(made).verified_by(signer.public).document == payload


def seed_of(signer: Identity) -> bytes:
    """The seed behind an identity of the vectors, read back from its PEM."""
    der = base64.b64decode(b"".join(signer.pem(None).splitlines()[1:-1]))
    return der[-32:]


def test_the_kid_is_the_thumbprint_of_the_key_that_pyjwt_would_publish() -> None:
    jwk = OKPAlgorithm.to_jwk(public(SIGNER), as_dict=True)
    members = {name: jwk[name] for name in ("crv", "kty", "x")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    assert base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() == SIGNER.kid


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_pyjwt_and_we_refuse_a_changed_signature(at: int) -> None:
    signature = bytearray(unb64u(TAIL))
    signature[at] ^= 1
    changed = f"{HEAD}.{BODY}.{b64u(bytes(signature))}"
    with pytest.raises(jwt.InvalidSignatureError):
        believed_by_pyjwt(changed)
    with pytest.raises(Tampered):
        parse(changed).verified_by(SIGNER.public)


def test_pyjwt_and_we_refuse_another_payload_under_the_signature() -> None:
    changed = f"{HEAD}.{b64u(encode(actors.secret(name='other')))}.{TAIL}"
    with pytest.raises(jwt.InvalidSignatureError):
        believed_by_pyjwt(changed)
    with pytest.raises(Tampered):
        parse(changed).verified_by(SIGNER.public)


def signed(header: bytes, payload: bytes) -> str:
    return actors.forged(SIGNER, "secret", payload, header)


RAW_HEADER, RAW = unb64u(HEAD), unb64u(BODY)
LOOSE: dict[str, Callable[[], str]] = {
    "a header in another order": lambda: signed(
        json.dumps(dict(reversed(json.loads(RAW_HEADER).items()))).encode(), RAW
    ),
    "a header with white space": lambda: signed(RAW_HEADER.replace(b":", b": "), RAW),
    "a header with a key of its own": lambda: signed(
        RAW_HEADER[:-1] + b',"jwk":{"kty":"OKP","crv":"Ed25519","x":"' + SIGNER.key.encode() + b'"}}', RAW
    ),
    "a header with a place to fetch keys from": lambda: signed(
        RAW_HEADER[:-1] + b',"x5u":"https://elsewhere.example"}', RAW
    ),
    "a header with a doubled member": lambda: signed(b'{"typ":"JWT",' + RAW_HEADER[1:], RAW),
    "a header without a type": lambda: signed(b'{"alg":"EdDSA","kid":"' + SIGNER.kid.encode() + b'"}', RAW),
    "a header without a kid": lambda: signed(b'{"alg":"EdDSA","typ":"privyseal-secret+jws"}', RAW),
    "a type of a plain token": lambda: signed(RAW_HEADER.replace(b"privyseal-secret+jws", b"JWT"), RAW),
    "the type of another kind": lambda: signed(RAW_HEADER.replace(b"secret", b"grant"), RAW),
    "a reserved kind": lambda: signed(RAW_HEADER.replace(b"secret", b"order"), RAW),
    "a payload with white space": lambda: signed(RAW_HEADER, RAW.replace(b":", b": ")),
    "a payload with a doubled claim": lambda: signed(RAW_HEADER, b'{"acct":"x",' + RAW[1:]),
    "a payload with an unknown claim": lambda: signed(RAW_HEADER, RAW[:-1] + b',"zzz":1}'),
    "a payload that is no JSON": lambda: signed(RAW_HEADER, b"hello"),
    "padding at the end of the signature": lambda: COMPACT + "==",
}


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_we_refuse_what_pyjwt_would_take(name: str) -> None:
    compact = LOOSE[name]()
    believed_by_pyjwt(compact)
    with pytest.raises(Malformed):
        parse(compact)


def test_a_kid_of_another_key_means_nothing_to_pyjwt_and_is_tampered_to_us() -> None:
    header = RAW_HEADER.replace(SIGNER.kid.encode(), actors.STRANGER.kid.encode())
    compact = signed(header, RAW)
    believed_by_pyjwt(compact)
    with pytest.raises(Tampered):
        parse(compact).verified_by(SIGNER.public)


def test_a_bearer_token_is_no_document() -> None:
    secret = Ed25519PrivateKey.from_private_bytes(seed_of(SIGNER))
    token = jwt.encode(json.loads(RAW), secret, algorithm="EdDSA", headers={"kid": SIGNER.kid})
    believed_by_pyjwt(token)
    with pytest.raises(Malformed):
        parse(token)
