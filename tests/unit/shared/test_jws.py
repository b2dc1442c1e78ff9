"""The form of documents: one header, one text, verified before it counts; anything else is Malformed or doesn't verify."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from shared.canonical import b64u, decode, digest, encode, unb64u
from shared.crypto.identity import Identity
from shared.documents import jws
from shared.documents.account import AccountDocument, account_id
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import DEEPEST, Payload
from shared.documents.group import GroupDocument
from shared.documents.jws import KINDS, LARGEST_CHARACTERS, RESERVED, header_bytes, kind_of, parse, parse_as, peek_kind
from shared.documents.output import OutputDocument
from shared.documents.secret import SecretDocument
from shared.errors import Malformed, Tampered
from tests.fakes.standing import order_of
from tests.fakes.world import World


def every_kind() -> tuple[World, dict[str, str]]:
    """A world and one valid document of each kind."""
    world = World()
    reader = world.identity("reader")
    secret = world.secret("password")
    documents: list[Any] = [
        world.account_document,
        world.keyring_document,
        world.status,
        world.connector,
        secret,
        world.grant(reader, ["reveal"]),
        world.sign(world.scope_document("acme"), world.administrator),
        world.template("script"),
        world.sign(
            GroupDocument(v=1, acct=world.id, id="builders", tags=("disk:fast",), rev=1, iat=world.now),
            world.administrator,
        ),
        world.certificate(),
        world.store(secret, b"hunter2").task,
        order_of(world, world.check(world.connector)),
        world.sign(world.answer_document("A" * 43), world.delegate),
        world.sign(
            OutputDocument(v=1, acct=world.id, task="A" * 43, sealed="B" * 42 + "A", iat=world.now), world.delegate
        ),
        world.sign(
            CheckedDocument(
                v=1,
                acct=world.id,
                connector=world.connector.document.id,
                revision=world.connector.digest,
                code="ok",
                iat=world.now,
            ),
            world.delegate,
        ),
    ]
    return world, {one.kind: one.compact for one in documents}


WORLD, DOCUMENTS = every_kind()
KEYS = {
    one.kid: one.public for one in (WORLD.root, WORLD.administrator, WORLD.delegate, WORLD.keyring.newest.certifying)
}
KIND = st.sampled_from(sorted(DOCUMENTS))


def craft(header: bytes | None = None, payload: bytes | None = None, signer: Identity | None = None) -> str:
    """A document of any header and payload, well signed: what a granted attacker can make."""
    signer = signer or WORLD.administrator
    header = header_bytes("secret", signer.kid) if header is None else header
    payload = encode(WORLD.secret_document("password")) if payload is None else payload
    signing_input = f"{b64u(header)}.{b64u(payload)}"
    return f"{signing_input}.{b64u(signer.sign(signing_input.encode()))}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_goes_there_and_back(kind: str) -> None:
    compact = DOCUMENTS[kind]
    unverified = parse(compact)
    assert unverified.kind == kind == peek_kind(compact) == kind_of(unverified.document)
    verified = unverified.verified_by(KEYS[unverified.kid])
    assert (verified.document, verified.digest) == (unverified.document, digest(compact))
    assert encode(verified.document) == unb64u(compact.split(".")[1])


@given(st.text(max_size=40) | st.text("eyJ.A-_", max_size=40))
@example("..")
@example("\ud800..")
@example("." * 2_000_000)
def test_any_text_is_a_document_or_malformed(text: str) -> None:
    for read in (parse, peek_kind):
        with pytest.raises(Malformed):
            read(text)


@given(st.binary(max_size=120), st.binary(max_size=120), st.binary(min_size=64, max_size=64))
def test_any_three_parts_are_a_document_or_malformed(header: bytes, payload: bytes, signature: bytes) -> None:
    ours = header_bytes("secret", WORLD.administrator.kid)
    for first in (header, ours):
        with pytest.raises(Malformed):
            parse(f"{b64u(first)}.{b64u(payload)}.{b64u(signature)}")


@given(KIND, st.data())
@settings(max_examples=300)
def test_a_mutated_document_never_verifies(kind: str, data: st.DataObject) -> None:
    compact = DOCUMENTS[kind]
    at = data.draw(st.integers(0, len(compact) - 1))
    letter = data.draw(st.sampled_from("AQgwBZaz09-_.= \n"))
    mutated = data.draw(
        st.sampled_from([compact[:at] + letter + compact[at + 1 :], compact[:at] + letter + compact[at:]])
        | st.just(compact[:at] + compact[at + 1 :])
    )
    assert_does_not_verify(mutated, compact)


@given(KIND, KIND, st.lists(st.integers(0, 1), min_size=3, max_size=3))
def test_a_document_of_parts_of_two_never_verifies(one: str, other: str, choice: list[int]) -> None:
    parts = (DOCUMENTS[one].split("."), DOCUMENTS[other].split("."))
    mixed = ".".join(parts[which][place] for place, which in enumerate(choice))
    if mixed not in DOCUMENTS.values():
        assert_does_not_verify(mixed, "")


def members(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where something can be changed in a payload."""
    found = [path]
    if isinstance(value, dict):
        for key, member in value.items():
            found += members(member, (*path, key))
    elif isinstance(value, list):
        for at, member in enumerate(value):
            found += members(member, (*path, at))
    return found


@given(KIND, st.data())
@settings(max_examples=300)
def test_a_changed_claim_is_malformed_or_does_not_verify(kind: str, data: st.DataObject) -> None:
    header, payload, signature = DOCUMENTS[kind].split(".")
    value = json.loads(unb64u(payload))
    path = data.draw(st.sampled_from(members(value)[1:]))
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = data.draw(st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3) | st.just([]))
    assert_does_not_verify(f"{header}.{b64u(encode(value))}.{signature}", DOCUMENTS[kind])


def assert_does_not_verify(compact: str, genuine: str) -> None:
    """It isn't a document, or none of the keys that exist vouches for it."""
    if compact == genuine:
        return
    try:
        unverified = parse(compact)
    except Malformed:
        return
    for key in KEYS.values():
        with pytest.raises(Tampered) as caught:
            unverified.verified_by(key)
        assert caught.value.code == "signature_invalid"


def test_a_document_that_is_too_long_is_malformed_before_anything_else() -> None:
    with pytest.raises(Malformed) as caught:
        parse("A" * (LARGEST_CHARACTERS + 1))
    assert "too long" in caught.value.detail


def test_another_kind_than_expected_is_malformed() -> None:
    assert parse_as(SecretDocument, DOCUMENTS["secret"]).document.identifier == "password"
    with pytest.raises(Malformed) as caught:
        parse_as(SecretDocument, DOCUMENTS["connector"])
    assert caught.value.code == "document_malformed"


def test_a_document_is_not_verified_by_a_key_that_it_does_not_name() -> None:
    with pytest.raises(Tampered):
        parse(DOCUMENTS["secret"]).verified_by(WORLD.root.public)
    # Nor where that key did sign it, and the header names somebody better.
    attacker = WORLD.identity("attacker")
    posing = parse(craft(header_bytes("secret", WORLD.administrator.kid), signer=attacker))
    with pytest.raises(Tampered):
        posing.verified_by(attacker.public)


@pytest.mark.parametrize("kind", sorted(RESERVED))
def test_a_reserved_kind_is_refused(kind: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(craft(header_bytes(kind, WORLD.administrator.kid)))
    assert caught.value.code == "document_kind_reserved"


HEADERS: Mapping[str, str] = {
    "another order of its members": '{"typ":"privyseal-secret+jws","kid":"KID","alg":"EdDSA"}',
    "white space": '{"alg":"EdDSA", "kid":"KID","typ":"privyseal-secret+jws"}',
    "a doubled member": '{"alg":"EdDSA","alg":"EdDSA","kid":"KID","typ":"privyseal-secret+jws"}',
    "no algorithm": '{"kid":"KID","typ":"privyseal-secret+jws"}',
    "the algorithm none": '{"alg":"none","kid":"KID","typ":"privyseal-secret+jws"}',
    "the algorithm in lower case": '{"alg":"eddsa","kid":"KID","typ":"privyseal-secret+jws"}',
    "a key": '{"alg":"EdDSA","jwk":{},"kid":"KID","typ":"privyseal-secret+jws"}',
    "a short kid": '{"alg":"EdDSA","kid":"x","typ":"privyseal-secret+jws"}',
    "a kid with stray bits": '{"alg":"EdDSA","kid":"' + "A" * 42 + 'B","typ":"privyseal-secret+jws"}',
    "a kid outside of base64url": '{"alg":"EdDSA","kid":"' + "é" * 43 + '","typ":"privyseal-secret+jws"}',
    "a type without its beginning": '{"alg":"EdDSA","kid":"KID","typ":"secret+jws"}',
    "a type without its end": '{"alg":"EdDSA","kid":"KID","typ":"privyseal-secret"}',
    "a type with its beginning twice": '{"alg":"EdDSA","kid":"KID","typ":"privyseal-privyseal-secret+jws"}',
    "an escaped type": '{"alg":"EdDSA","kid":"KID","typ":"privyseal-secret\\u002bjws"}',
    "a type in upper case": '{"alg":"EdDSA","kid":"KID","typ":"privyseal-SECRET+jws"}',
    "no object": "[]",
    "nothing": "",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_with_anything_else_is_malformed(header: str) -> None:
    with pytest.raises(Malformed):
        parse(craft(header.replace("KID", WORLD.administrator.kid).encode()))


# What single kinds promise beyond their types.


def test_the_account_id_comes_from_the_first_document_alone() -> None:
    first = parse_as(AccountDocument, DOCUMENTS["account"]).document
    assert account_id(first) == account_id(structs.replace(first, acct="")) == WORLD.id
    assert account_id(structs.replace(first, name="other")) != WORLD.id
    assert first.id == "account"


def spec(value: object) -> bytes:
    """A connector's payload with that `spec`."""
    fields = json.loads(unb64u(DOCUMENTS["connector"].split(".")[1]))
    return json.dumps({**fields, "spec": value}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def nested(levels: int) -> object:
    """Lists within an object, so many levels in all."""
    value: object = []
    for _ in range(levels - 2):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    "value",
    [{"a": 1}, {"a": None, "b": [True, "é", {"c": -(2**53) + 1}]}, {"a": []}, nested(DEEPEST)],
)
def test_a_connector_is_set_up_with_plain_values(value: object) -> None:
    document = decode(spec(value), jws._decoders["connector"], "connector document")
    assert isinstance(document, ConnectorDocument) and document.spec == value


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.5},
        {"a": 2**53},
        {"a": [-(2**53)]},
        {"a": 10**30},
        {"é": 1},
        {"a": [{"é": 1}]},
        nested(DEEPEST + 1),
        nested(400),
        {},
    ],
)
def test_what_two_readers_could_write_differently_is_no_setting(value: object) -> None:
    with pytest.raises(Malformed) as caught:
        decode(spec(value), jws._decoders["connector"], "connector document")
    assert caught.value.code == "connector_document_malformed"


def references(scope: str, *secrets: str) -> bytes:
    """A connector's payload in that scope with those `secrets`."""
    fields = json.loads(unb64u(DOCUMENTS["connector"].split(".")[1]))
    return encode({**fields, "scope": scope, "secrets": list(secrets)})


@pytest.mark.parametrize(
    ("scope", "secrets"),
    [
        ("account", ["account.a", "b"]),
        ("org/acme", ["account.a", "b", "org.c"]),
        ("org/acme/project/web", ["account.a", "account.b", "b", "org.c"]),
        ("org/acme", ["B", "a"]),
    ],
)
def test_a_connector_names_its_secrets_in_order(scope: str, secrets: list[str]) -> None:
    document = decode(references(scope, *secrets), jws._decoders["connector"], "connector document")
    assert isinstance(document, ConnectorDocument) and document.secrets == tuple(secrets)


@pytest.mark.parametrize(
    ("scope", "secrets"),
    [
        ("org/acme", ["b", "account.a"]),
        ("org/acme", ["a", "a"]),
        ("org/acme", ["a", "B"]),
        ("org/acme", ["project.a"]),
        ("org/acme", ["a.b"]),
        ("org/acme", ["account."]),
        ("org/acme", ["a-b"]),
        ("org/acme", ["a\n"]),
        ("org/acme", [""]),
        ("org/acme", []),
        ("account", ["account.a", "org.b"]),
        ("account", [f"a{at:02}" for at in range(65)]),
    ],
)
def test_a_connector_names_no_secret_twice_or_where_none_can_be(scope: str, secrets: list[str]) -> None:
    with pytest.raises(Malformed) as caught:
        decode(references(scope, *secrets), jws._decoders["connector"], "connector document")
    assert caught.value.code == "connector_document_malformed"


def test_every_payload_is_frozen_and_refuses_unknown_fields() -> None:
    for cls in KINDS.values():
        config = cls.__struct_config__
        assert issubclass(cls, Payload) and config.frozen and config.forbid_unknown_fields and config.omit_defaults
