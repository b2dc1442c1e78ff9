"""The issuer of a keyring: its keys, what it publishes, and that its tokens' subjects are told apart."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import settings as limited
from hypothesis import strategies as st
from msgspec import structs

from shared.canonical import b64u, decode, encode, unb64u
from shared.connectors.kinds import settings
from shared.crypto.issuer import IssuerKey
from shared.crypto.keyring import Generation, Keyring
from shared.documents.connector import ConnectorDocument
from shared.documents.keyring import KeyringDocument, Oidc, OidcKey
from shared.errors import Malformed
from shared.oidc import PLACE, claims, discovery, key_id, key_set, subject
from tests.fakes.issuers import ISSUER_KEYS
from tests.fakes.world import World

ACCOUNT = "a" * 52
ISSUER = "https://oidc.example.test/acme"
SEEDS = [(1, b"s" * 32), (2, b"t" * 32)]
KEYRING = Keyring(ACCOUNT, "main", SEEDS, ISSUER_KEYS)
WORLD = World()


# The key.


def test_a_new_key_goes_to_pem_and_back_and_signs_what_its_modulus_verifies() -> None:
    key = IssuerKey.generate()
    again = IssuerKey(key.pem)
    assert again.n == key.n != ISSUER_KEYS[1].n
    number = int.from_bytes(unb64u(key.n, 384), "big")
    signature = again.private.sign(b"message", padding.PKCS1v15(), SHA256())
    rsa.RSAPublicNumbers(65537, number).public_key().verify(signature, b"message", padding.PKCS1v15(), SHA256())


def test_a_key_does_not_show_itself() -> None:
    assert repr(ISSUER_KEYS[1]) == "IssuerKey()"


def _pem(key: Any) -> bytes:
    written: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return written


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"x",
        "é".encode(),
        ISSUER_KEYS[1].pem + b"\n",
        ISSUER_KEYS[1].pem.replace(b"\n", b"\r\n"),
        ISSUER_KEYS[1].pem[:-40],
        WORLD.root.pem(None),
        _pem(rsa.generate_private_key(65537, 2048)),
        _pem(rsa.generate_private_key(3, 3072)),
    ],
    ids=[
        "nothing",
        "a letter",
        "no ASCII",
        "a line more",
        "other lines",
        "cut off",
        "Ed25519",
        "2048 bits",
        "exponent 3",
    ],
)
def test_another_form_or_kind_of_key_is_malformed(pem: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        IssuerKey(pem)
    assert caught.value.code == "keyring_malformed"


def test_a_key_whose_modulus_is_no_product_of_large_primes_is_malformed() -> None:
    # Loaded without checking its factors, an even modulus would pass.
    key = rsa.generate_private_key(65537, 3072)
    body = base64.b64decode(b"".join(_pem(key).split(b"\n")[1:-2]))
    n = key.public_key().public_numbers().n.to_bytes(384, "big")
    even = body.replace(n, n[:-1] + bytes([n[-1] ^ 1]))
    text = base64.b64encode(even)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    with pytest.raises(Malformed):
        IssuerKey(b"-----BEGIN PRIVATE KEY-----\n" + lines + b"\n-----END PRIVATE KEY-----\n")


@limited(max_examples=20, deadline=None)
@given(st.integers(30, 1700), st.integers(1, 255))
def test_a_damaged_key_never_signs(at: int, change: int) -> None:
    body = bytearray(base64.b64decode(b"".join(ISSUER_KEYS[1].pem.split(b"\n")[1:-2])))
    body[at % len(body)] ^= change
    text = base64.b64encode(bytes(body))
    lines = b"\n".join(text[one : one + 64] for one in range(0, len(text), 64))
    with pytest.raises(Malformed):
        assert IssuerKey(b"-----BEGIN PRIVATE KEY-----\n" + lines + b"\n-----END PRIVATE KEY-----\n").private


# The keyring that holds it.


def test_a_keyring_file_keeps_the_keys_of_its_generations() -> None:
    again = Keyring.parse(KEYRING.text())
    assert [getattr(again.generation(n).oidc, "n", None) for n in (1, 2)] == [ISSUER_KEYS[n].n for n in (1, 2)]


def test_an_older_keyring_file_goes_on_working_and_a_rotation_gives_it_a_key() -> None:
    old = Keyring.parse(Keyring(ACCOUNT, "main", SEEDS[:1]).text())
    assert old.newest.oidc is None and old.document(1, None, 5).oidc is None
    new = Keyring.parse(old.rotated(b"t" * 32, ISSUER_KEYS[2]).text())
    assert new.generation(1).oidc is None
    assert new.document(2, "A" * 43, 6).oidc == Oidc((OidcKey(2, ISSUER_KEYS[2].n),))


def test_a_rotation_without_a_key_keeps_those_of_older_generations() -> None:
    rotated = Keyring(ACCOUNT, "main", SEEDS[:1], {1: ISSUER_KEYS[1]}).rotated(b"t" * 32)
    assert rotated.generation(1).oidc is ISSUER_KEYS[1] and rotated.newest.oidc is None


def test_a_document_from_a_floor_on_names_no_older_key_and_keeps_issuer_and_platform() -> None:
    document = KEYRING.document(3, "A" * 43, 5, 2, platform=True, issuer=ISSUER)
    assert document.oidc == Oidc((OidcKey(2, ISSUER_KEYS[2].n),), ISSUER)
    assert (document.issuer, document.platform) == (ISSUER, True)
    assert Keyring(ACCOUNT, "main", SEEDS).document(1, None, 5).issuer == ""


def test_a_keyring_knows_whether_it_signs_for_a_document() -> None:
    document = KEYRING.document(1, None, 5)
    assert KEYRING.signs_for(document)
    assert KEYRING.signs_for(structs.replace(document, oidc=None))
    assert KEYRING.signs_for(structs.replace(document, oidc=Oidc((OidcKey(1, ISSUER_KEYS[2].n),))))
    assert not KEYRING.signs_for(structs.replace(document, oidc=Oidc((OidcKey(2, ISSUER_KEYS[1].n),))))
    assert not Keyring(ACCOUNT, "main", SEEDS).signs_for(document)
    assert not Keyring(ACCOUNT, "main", SEEDS[:1], ISSUER_KEYS).signs_for(document)


def test_a_generation_without_a_key_is_one() -> None:
    assert Generation(ACCOUNT, "main", 1, b"s" * 32).oidc is None


_decoder = msgspec.json.Decoder(KeyringDocument)


def test_a_document_with_a_key_of_an_excluded_generation_is_malformed() -> None:
    whole = KEYRING.document(1, None, 5)
    assert decode(encode(whole), _decoder, "document") == whole
    for certifiers in (whole.certifiers[1:], whole.certifiers[:1]):
        fields = {**json.loads(encode(whole)), "certifiers": [json.loads(encode(one)) for one in certifiers]}
        with pytest.raises(Malformed):
            decode(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode(), _decoder, "document")


# What is published.


def test_a_key_is_named_by_its_rfc_7638_thumbprint() -> None:
    # RFC 7638, section 3.1.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn"
        "1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    assert key_id(n) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_published_keys_are_those_that_still_count() -> None:
    document = KEYRING.document(1, None, 5, issuer=ISSUER)
    for floor, counting in ((1, (1, 2)), (2, (2,)), (3, ())):
        assert [key["n"] for key in key_set(document, floor)["keys"]] == [ISSUER_KEYS[n].n for n in counting]
    assert {key["e"] for key in key_set(document)["keys"]} == {"AQAB"}
    assert key_set(structs.replace(document, oidc=None)) == {"keys": []}


def test_the_metadata_is_what_discovery_requires() -> None:
    told = discovery(ISSUER)
    assert told["issuer"] == ISSUER and told["jwks_uri"].startswith(f"{ISSUER}/")
    assert told["response_types_supported"] == ["id_token"] and told["subject_types_supported"] == ["public"]
    assert told["id_token_signing_alg_values_supported"] == ["RS256"]
    assert told["scopes_supported"] == ["openid"]
    assert set(told["claims_supported"]) == set(claims(WORLD.connector.document, ISSUER, "a", 5, "j"))


# What a token says.


def _connector(scope: str, identifier: str) -> ConnectorDocument:
    return WORLD.connector_document(identifier, scope)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("account", f"account/{WORLD.id}:connector/kms"),
        ("org/o", f"account/{WORLD.id}:org/o:connector/kms"),
        ("org/o/project/p", f"account/{WORLD.id}:org/o:project/p:connector/kms"),
    ],
)
def test_a_subject_says_account_scope_and_connector(scope: str, expected: str) -> None:
    assert subject(_connector(scope, "kms")) == expected


_identifiers = st.from_regex(r"[a-zA-Z_][0-9a-zA-Z_]{0,12}", fullmatch=True) | st.sampled_from(
    ["account", "connector", "org", "project", "org_o", "_"]
)
_scopes = (
    st.just("account")
    | _identifiers.map(lambda org: f"org/{org}")
    | st.tuples(_identifiers, _identifiers).map(lambda both: f"org/{both[0]}/project/{both[1]}")
)


@given(_scopes, _identifiers, _scopes, _identifiers)
def test_no_two_connectors_have_one_subject(scope: str, identifier: str, other: str, another: str) -> None:
    same = (scope, identifier) == (other, another)
    assert (subject(_connector(scope, identifier)) == subject(_connector(other, another))) == same


def test_a_token_says_these_things_and_no_others() -> None:
    connector = _connector("org/o/project/p", "kms")
    assert claims(connector, ISSUER, "sts.amazonaws.com", 1_000, "jti") == {
        "iss": ISSUER,
        "sub": subject(connector),
        "aud": "sts.amazonaws.com",
        "iat": 1_000,
        "nbf": 1_000,
        "exp": 1_600,
        "jti": "jti",
        "account_id": WORLD.id,
        "organization_id": "o",
        "project_id": "p",
        "connector_id": "kms",
    }
    above = claims(_connector("account", "kms"), ISSUER, "a", 1_000, "jti")
    assert [above[name] for name in PLACE] == [WORLD.id, "", "", "kms"]


def _aws(type: str, **spec: str) -> dict[str, Any]:  # noqa: A002 (the YAML's word)
    return {"credential": {"type": type, "spec": spec}, "region": "us-east-1"}


_ROLE = {"iamRoleArn": "arn:aws:iam::123456789012:role/kms"}
_KEYS = {"accessKey": "account.a", "secretKey": "account.s"}
_ARN = {"kmsArnInPlainText": "arn:aws:kms:us-east-1:123456789012:key/k"}
_VAULT = {"vaultUrl": "https://vault.example", "renewalIntervalMinutes": 10}


def _conjur(way: str, **spec: str) -> dict[str, Any]:
    return {"url": "https://conjur.example", "account": "acme", "credential": {"type": way, "spec": spec}}


@pytest.mark.parametrize(
    ("kind", "spec", "audience"),
    [
        ("Local", {}, None),
        ("AwsKms", {**_aws("OidcAuthentication", **_ROLE), **_ARN}, "sts.amazonaws.com"),
        ("AwsKms", {**_aws("ManualConfig", **_KEYS), **_ARN}, None),
        ("AwsParameterStore", _aws("OidcAuthentication", **_ROLE), "sts.amazonaws.com"),
        ("AwsParameterStore", _aws("ManualConfig", **_KEYS), None),
        ("AwsSecretManager", _aws("OidcAuthentication", **_ROLE), "sts.amazonaws.com"),
        ("AwsSecretManager", _aws("ManualConfig", **_KEYS), None),
        ("CyberArkConjur", _conjur("Jwt", serviceId="s", audience="a"), "a"),
        ("CyberArkConjur", _conjur("ApiKey", login="host/h", apiKey="account.k"), None),
        ("CyberArkCcp", {"url": "https://h", "appId": "a", "delegateSelectors": ["d"]}, None),
        ("Vault", {**_VAULT, "useJwtAuth": True, "jwtAuthRole": "r", "jwtAuthPath": "jwt"}, "jwt"),
        ("Vault", {**_VAULT, "authToken": "account.t"}, None),
    ],
)
def test_a_connector_says_which_audience_its_tokens_have(kind: str, spec: dict[str, Any], audience: str | None) -> None:
    assert settings(kind, spec).oidc_audience == audience


def test_a_modulus_is_written_as_its_bytes() -> None:
    numbers = ISSUER_KEYS[1].private.public_key().public_numbers()
    assert ISSUER_KEYS[1].n == b64u(numbers.n.to_bytes(384, "big"))
    thumbprint = json.dumps({"e": "AQAB", "kty": "RSA", "n": ISSUER_KEYS[1].n}, separators=(",", ":"))
    assert key_id(ISSUER_KEYS[1].n) == b64u(hashlib.sha256(thumbprint.encode()).digest())
