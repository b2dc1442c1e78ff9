"""Keys: identities and their files, keyrings and theirs, and the recipients that documents vouch for."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared.canonical import b64u, lp
from shared.crypto.aead import derive
from shared.crypto.identity import Identity
from shared.crypto.keyring import LAST_GENERATION, MOST_GENERATIONS, Generation, Keyring
from shared.crypto.seal import SealingKey
from shared.documents.jws import VerifyingKey, parse, thumbprint
from shared.errors import Denied, Malformed, NotReady, PrivySealError, Tampered
from shared.labels import KEYRING_CERTIFY, KEYRING_KEK, KEYRING_MAC, KEYRING_SEAL
from shared.values import recipient_of_keyring, recipient_of_task
from tests.fakes.world import KEYRING, World

ACCOUNT = "a" * 52
SEED = b"s" * 32
PASSPHRASE = b"correct horse"


# Identities.


def test_an_identity_is_named_by_its_rfc_7638_thumbprint() -> None:
    # RFC 8037, appendix A.1 and A.3.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    identity = Identity.from_seed(seed)
    assert identity.key == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert identity.kid == thumbprint(identity.key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_an_identity_goes_to_a_file_and_back(passphrase: bytes | None) -> None:
    identity = Identity.generate()
    pem = identity.pem(passphrase)
    assert Identity.from_pem(pem, passphrase).kid == identity.kid
    assert (b"ENCRYPTED" in pem) == (passphrase is not None)


def test_an_identity_signs_what_its_public_key_verifies() -> None:
    identity = Identity.generate()
    identity.public.verify(identity.sign(b"message"), b"message")
    with pytest.raises(Tampered):
        identity.public.verify(identity.sign(b"message"), b"other")


def test_an_identity_shows_its_name_and_not_its_key() -> None:
    identity = Identity.from_seed(SEED)
    assert repr(identity) == f"Identity({identity.kid})"


def test_a_document_signed_twice_is_one_document() -> None:
    world = World()
    document = world.secret_document("password")
    first, second = (world.administrator.sign_document(document) for _ in range(2))
    assert first == second
    parse(first).verified_by(world.administrator.public)


def other_kind() -> bytes:
    """The file of a key for key agreement."""
    return x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def unknown_kind() -> bytes:
    """PKCS#8 with an elliptic curve that doesn't exist (1.3.132.0.99)."""
    curve = bytes.fromhex("06052b81040063")
    algorithm = bytes.fromhex("06072a8648ce3d0201") + curve
    inner = bytes.fromhex("020101") + b"\x04\x20" + b"\x01" * 32
    key = b"\x30" + bytes([len(inner)]) + inner
    body = bytes.fromhex("020100") + b"\x30" + bytes([len(algorithm)]) + algorithm + b"\x04" + bytes([len(key)]) + key
    der = b"\x30" + bytes([len(body)]) + body
    return b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("pem", "passphrase", "error", "code"),
    [
        (lambda: Identity.generate().pem(PASSPHRASE), None, Denied, "passphrase_needed"),
        (lambda: Identity.generate().pem(None), PASSPHRASE, Denied, "passphrase_needed"),
        (lambda: Identity.generate().pem(PASSPHRASE), b"wrong", Denied, "identity_unreadable"),
        (lambda: Identity.generate().pem(None)[:-40], None, Denied, "identity_unreadable"),
        (lambda: b"", None, Denied, "identity_unreadable"),
        (other_kind, None, Malformed, "identity_malformed"),
        (unknown_kind, None, Malformed, "identity_malformed"),
    ],
)
def test_an_identity_file_that_does_not_open_says_why(
    pem: Callable[[], bytes], passphrase: bytes | None, error: type[PrivySealError], code: str
) -> None:
    with pytest.raises(error) as caught:
        Identity.from_pem(pem(), passphrase)
    assert caught.value.code == code


@given(st.binary(max_size=200), st.none() | st.binary(max_size=5))
def test_any_bytes_are_an_identity_file_or_refused(body: bytes, passphrase: bytes | None) -> None:
    for pem in (body, b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n"):
        with pytest.raises((Malformed, Denied)):
            Identity.from_pem(pem, passphrase)


def test_a_verifying_key_has_one_text() -> None:
    key = Identity.from_seed(SEED).key
    assert VerifyingKey.of(key).raw == VerifyingKey.of(key).raw
    stray = key[:-1] + chr(ord(key[-1]) + 1)
    for text in (stray, key + "=", key[:-1], ""):
        with pytest.raises(Malformed):
            VerifyingKey.of(text)


# Keyrings.


def test_a_generation_derives_four_keys_that_differ() -> None:
    one = Generation(ACCOUNT, "main", 1, SEED)
    place = (ACCOUNT.encode(), b"main", (1).to_bytes(8, "big"))
    wanted = {label: derive(SEED, b"", lp(label, *place), 32) for label in (KEYRING_KEK, KEYRING_MAC)}
    assert (one.kek, one.mac_key) == (wanted[KEYRING_KEK], wanted[KEYRING_MAC])
    assert one.certifying.kid == Identity.from_seed(derive(SEED, b"", lp(KEYRING_CERTIFY, *place), 32)).kid
    assert one.sealing.public == SealingKey(derive(SEED, b"", lp(KEYRING_SEAL, *place), 32)).public
    assert repr(one) == "Generation(1)"


@pytest.mark.parametrize(
    "other",
    [
        Generation("b" * 52, "main", 1, SEED),
        Generation(ACCOUNT, "other", 1, SEED),
        Generation(ACCOUNT, "main", 2, SEED),
        Generation(ACCOUNT, "main", 1, b"t" * 32),
    ],
)
def test_another_account_keyring_generation_or_seed_has_other_keys(other: Generation) -> None:
    one = Generation(ACCOUNT, "main", 1, SEED)
    assert one.kek != other.kek and one.mac_key != other.mac_key
    assert one.certifying.kid != other.certifying.kid and one.sealing.public != other.sealing.public


def test_a_keyring_goes_to_a_file_and_back() -> None:
    keyring = Keyring(ACCOUNT, "main", [(1, SEED)]).rotated(b"t" * 32)
    again = Keyring.parse(keyring.text())
    assert (again.account, again.name, again.numbers) == (ACCOUNT, "main", (1, 2))
    assert [again.generation(n).kek for n in (1, 2)] == [keyring.generation(n).kek for n in (1, 2)]
    assert again.newest.number == 2
    assert repr(again) == "Keyring(main, generations (1, 2))"


def test_a_generation_that_the_file_lacks_is_not_ready() -> None:
    with pytest.raises(NotReady) as caught:
        Keyring(ACCOUNT, "main", [(1, SEED)]).generation(2)
    assert caught.value.code == "generation_missing"


@pytest.mark.parametrize(
    "generations",
    [
        [(2, SEED), (1, SEED)],
        [(1, SEED), (1, b"t" * 32)],
        [(1, b"short")],
        [(LAST_GENERATION + 1, SEED)],
    ],
)
def test_generations_are_in_order_each_once_and_fit_a_record(generations: list[tuple[int, bytes]]) -> None:
    with pytest.raises(Malformed) as caught:
        Keyring(ACCOUNT, "main", generations)
    assert caught.value.code == "keyring_malformed"


def test_the_last_generation_does_not_rotate() -> None:
    with pytest.raises(Malformed):
        Keyring(ACCOUNT, "main", [(LAST_GENERATION, SEED)]).rotated(SEED)


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(lambda value: json.dumps(value).encode())
)
def test_bytes_that_are_no_keyring_file_are_malformed(text: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        Keyring.parse(text)
    assert caught.value.code == "keyring_malformed"


def _file(**changes: Any) -> bytes:
    file = json.loads(Keyring(ACCOUNT, "main", [(1, SEED)]).text())
    return json.dumps({**file, **changes}).encode()


@pytest.mark.parametrize(
    "text",
    [
        _file(v=2),
        _file(privyseal="other"),
        _file(account="b"),
        _file(keyring="-"),
        _file(more=1),
        _file(generations=[]),
        _file(generations=[{"generation": 0, "seed": b64u(SEED)}]),
        _file(generations=[{"generation": 1, "seed": b64u(SEED)[:-1] + "B"}]),
        _file(generations=[{"generation": 1, "seed": "x"}]),
        _file(generations=[{"generation": 2**40, "seed": b64u(SEED)}]),
        b"[" * 100_000,
    ],
)
def test_another_form_of_a_keyring_file_is_malformed_and_not_repeated(text: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        Keyring.parse(text)
    assert b64u(SEED)[:10] not in str(caught.value.problem())


@given(st.data())
def test_a_changed_keyring_file_is_another_keyring_or_malformed(data: st.DataObject) -> None:
    text = bytearray(_file())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        Keyring.parse(bytes(text))
    except Malformed:
        pass


def test_a_keyring_knows_its_own_document() -> None:
    world = World()
    document = world.keyring_document.document
    assert world.keyring.matches(document)
    for other in (
        structs.replace(document, acct=ACCOUNT),
        structs.replace(document, id="other"),
        structs.replace(document, gen=2),
        structs.replace(document, seal=b64u(world.reader.public.raw)),
    ):
        assert not world.keyring.matches(other)


def test_a_document_from_a_floor_on_lists_no_older_certifier() -> None:
    keyring = Keyring(ACCOUNT, "main", [(1, SEED), (2, b"t" * 32)])
    document = keyring.document(2, "A" * 43, 5, floor=2)
    assert [one.gen for one in document.certifiers] == [2]
    assert document.gen == 2
    assert [one.gen for one in keyring.document(2, "A" * 43, 5).certifiers] == [1, 2]


def test_recipients_are_made_of_verified_documents() -> None:
    world = World()
    assert recipient_of_keyring(world.keyring_document).key == world.keyring.newest.sealing.public
    assert world.keyring_document.document.id == KEYRING
    task = world.check(world.connector)
    assert recipient_of_task(task).key == world.reader.public


def test_a_keyring_is_not_rotated_beyond_what_its_file_can_hold() -> None:
    keyring = Keyring(ACCOUNT, KEYRING, [(1, SEED)])
    while len(keyring.numbers) < MOST_GENERATIONS:
        keyring = keyring.rotated(SEED)
    assert Keyring.parse(keyring.text()).numbers == keyring.numbers
    with pytest.raises(Malformed, match="all that it can have"):
        keyring.rotated(SEED)
