"""Encryption at rest, records and sealing: what was changed, moved or made with another key doesn't open, for one reason."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aad import Aad
from shared.canonical import lp
from shared.crypto import aead, record
from shared.crypto.aead import OVERHEAD_BYTES, SALT_BYTES, decrypt, decrypt_padded, derive, encrypt
from shared.crypto.output import Item, pack, unpack
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import LONGEST_KEY_NAME, LONGEST_WRAPPED_KEY, Record
from shared.crypto.seal import SealingKey, seal
from shared.errors import Conflict, Denied, Malformed, Tampered
from shared.labels import RECORD
from shared.values import PUBLIC_KEY_BYTES, PublicKey, Recipient, Sealed, Wrapped

KEY, SALT = b"k" * 32, b"s" * 32
VALUE = b"hunter2"
PLACE = Aad("store", "account", "main", "account", "secret", 1, "version", "connector")
READER = SealingKey(b"r" * 32)
TO_READER = Recipient(READER.public)


def test_a_value_decrypts_with_its_key_at_its_place() -> None:
    assert decrypt(KEY, encrypt(KEY, Plaintext(VALUE), b"place", SALT), b"place").reveal() == VALUE


@given(st.binary(max_size=300), st.data())
def test_a_changed_ciphertext_does_not_decrypt(value: bytes, data: st.DataObject) -> None:
    ciphertext = bytearray(encrypt(KEY, Plaintext(value), b"place", SALT))
    ciphertext[data.draw(st.integers(0, len(ciphertext) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Tampered) as caught:
        decrypt(KEY, bytes(ciphertext), b"place")
    assert caught.value.code == "decryption_failed"


@given(st.binary(max_size=200))
def test_bytes_that_nobody_encrypted_do_not_decrypt(raw: bytes) -> None:
    with pytest.raises(Tampered):
        decrypt(KEY, raw, b"place")


def test_another_key_place_or_a_cut_fail_in_the_same_words() -> None:
    ciphertext = encrypt(KEY, Plaintext(VALUE), b"place", SALT)
    said = set()
    for key, raw, place in (
        (b"x" * 32, ciphertext, b"place"),
        (KEY, ciphertext, b"elsewhere"),
        (KEY, ciphertext[:-1], b"place"),
        (KEY, ciphertext[: OVERHEAD_BYTES - 1], b"place"),
        (KEY, b"", b"place"),
    ):
        with pytest.raises(Tampered) as caught:
            decrypt(key, raw, place)
        said.add((caught.value.code, caught.value.detail, caught.value.hint))
    assert len(said) == 1


def test_a_value_that_was_not_padded_fails_in_the_same_words() -> None:
    assert decrypt_padded(KEY, encrypt(KEY, Plaintext(VALUE).padded(), b"place", SALT), b"place").reveal() == VALUE
    said = set()
    for raw, place in ((encrypt(KEY, Plaintext(VALUE), b"place", SALT), b"place"), (b"", b"place")):
        with pytest.raises(Tampered) as caught:
            decrypt_padded(KEY, raw, place)
        said.add((caught.value.code, caught.value.detail, caught.value.hint))
    assert len(said) == 1


def test_a_ciphertext_that_two_keys_would_decrypt_is_held_to_its_commitment() -> None:
    """Without the commitment, one AES-GCM ciphertext can be built that opens under two keys, to two values."""
    other = derive(b"x" * 32, SALT, b"place", 64)
    body = AESGCM(other[:32]).encrypt(bytes(12), VALUE, b"place")
    committed_to_ours = SALT + derive(KEY, SALT, b"place", 64)[32:] + body
    with pytest.raises(Tampered):
        decrypt(b"x" * 32, committed_to_ours, b"place")


@pytest.mark.parametrize(("key", "salt"), [(KEY, b"short"), (b"short", SALT)])
def test_keys_and_salts_have_32_bytes(key: bytes, salt: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encrypt(key, Plaintext(VALUE), b"", salt)
    assert len(SALT) == SALT_BYTES


def test_derivation_is_rfc_5869_with_sha_512() -> None:
    ikm, salt, info = b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA))  # of appendix A.1
    block = hmac.digest(hmac.digest(salt, ikm, "sha512"), info + b"\x01", "sha512")
    assert derive(ikm, salt, info, 42) == block[:42]
    assert block.hex().startswith(
        "832390086cda71fb47625bb5ceb168e4c8e26a1a16ed34d9fc7fe92c1481579338da362cb8d9f925d7cb"
    )


# Records.


def a_record(**changes: object) -> Record:
    return replace(Record("local/main/1", b"wrapped", 1, b"ciphertext"), **changes)  # type: ignore[arg-type]


def test_a_record_goes_there_and_back() -> None:
    wrapped = record.pack(a_record(), KEY, PLACE)
    parts = record.unpack(wrapped)
    assert replace(parts, mac=b"") == a_record()
    assert record.is_authentic(parts, KEY, PLACE)


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda raw: b"\x01" + raw))
def test_any_bytes_are_a_record_or_malformed(raw: bytes) -> None:
    try:
        parts = record.unpack(Wrapped(raw))
    except Malformed as why:
        assert why.code == "record_malformed"
        return
    assert parts.body() + parts.mac == raw
    assert not record.is_authentic(parts, KEY, PLACE)


@given(st.data())
def test_a_changed_record_is_malformed_or_not_authentic(data: st.DataObject) -> None:
    raw = bytearray(record.pack(a_record(), KEY, PLACE).raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parts = record.unpack(Wrapped(bytes(raw)))
    except Malformed:
        return
    assert not record.is_authentic(parts, KEY, PLACE)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x02" + a_record().body()[1:] + bytes(32),
        a_record().body() + bytes(31),
        a_record().body() + bytes(33),
        a_record().body(),
        a_record(key_name="é").body() + bytes(32),
        a_record(key_name="x" * (LONGEST_KEY_NAME + 1)).body() + bytes(32),
        a_record(wrapped_key=bytes(LONGEST_WRAPPED_KEY + 1)).body() + bytes(32),
        b"\x01" + lp(b"name", b"wrapped") + b"\0\0",
    ],
)
def test_another_form_of_a_record_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        record.unpack(Wrapped(raw))


@pytest.mark.parametrize(
    "place",
    [
        replace(PLACE, purpose="answer"),
        replace(PLACE, account="other"),
        replace(PLACE, keyring="other"),
        replace(PLACE, scope="org/x"),
        replace(PLACE, secret="other"),
        replace(PLACE, n=2),
        replace(PLACE, version="other"),
        replace(PLACE, connector="other"),
    ],
)
def test_a_record_is_authentic_at_its_place_alone(place: Aad) -> None:
    parts = record.unpack(record.pack(a_record(), KEY, PLACE))
    assert not record.is_authentic(parts, KEY, place)
    ciphertext = aead.encrypt(KEY, Plaintext(VALUE), PLACE.encode(RECORD), SALT)
    with pytest.raises(Tampered):
        aead.decrypt(KEY, ciphertext, place.encode(RECORD))


# Sealing.


def test_a_sealed_value_opens_with_its_key_and_info() -> None:
    assert READER.open(seal(TO_READER, Plaintext(VALUE), b"info"), b"info").reveal() == VALUE


def test_lengths_of_short_values_do_not_show() -> None:
    assert len({len(seal(TO_READER, Plaintext(b"x" * n), b"").raw) for n in (0, 1, 100, 252)}) == 1


def test_what_does_not_open_says_so_in_one_way() -> None:
    sealed = seal(TO_READER, Plaintext(VALUE), b"info").raw
    said = set()
    for key, raw, info in (
        (READER, sealed, b"other"),
        (SealingKey(b"x" * 32), sealed, b"info"),
        (READER, b"\x02" + sealed[1:], b"info"),
        (READER, sealed[:-1], b"info"),
        (READER, sealed + b"\0", b"info"),
        (READER, b"\x01" + bytes(1120) + sealed[1121:], b"info"),
        (READER, b"\x01" + b"\xff" * (len(sealed) - 1), b"info"),
        (READER, b"\x01", b"info"),
        (READER, b"", b"info"),
    ):
        with pytest.raises(Tampered) as caught:
            key.open(Sealed(raw), info)
        said.add((caught.value.code, caught.value.detail, caught.value.hint))
    assert len(said) == 1


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_a_changed_sealed_value_does_not_open(data: st.DataObject) -> None:
    raw = bytearray(seal(TO_READER, Plaintext(VALUE), b"info").raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Tampered):
        READER.open(Sealed(bytes(raw)), b"info")


@given(st.binary(max_size=1500))
@settings(deadline=None)
def test_bytes_that_nobody_sealed_do_not_open(raw: bytes) -> None:
    with pytest.raises(Tampered):
        READER.open(Sealed(b"\x01" + raw), b"info")


@pytest.mark.parametrize(
    "raw",
    [b"\xff" * PUBLIC_KEY_BYTES, READER.public.raw[:1184] + bytes(32)],
    ids=["coefficients out of range", "a point of low order"],
)
def test_nothing_is_sealed_to_a_key_that_is_no_key(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        seal(Recipient(PublicKey(raw)), Plaintext(VALUE), b"")
    assert caught.value.code == "key_malformed"


def test_keys_have_their_length() -> None:
    with pytest.raises(Malformed):
        PublicKey(bytes(PUBLIC_KEY_BYTES - 1))
    with pytest.raises(ValueError, match="32 bytes"):
        SealingKey(bytes(31))


def test_values_that_move_show_their_length_and_keys_nothing() -> None:
    assert repr(Sealed(b"abc")) == "Sealed(3 bytes)"
    assert repr(Wrapped(b"abc")) == "Wrapped(3 bytes)"
    assert repr(READER) == "SealingKey(***)"


# Output.

PROBLEMS = st.builds(Denied, st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
ITEMS = st.lists(st.binary(max_size=20).map(Plaintext) | PROBLEMS, max_size=4)


@given(ITEMS)
def test_output_goes_there_and_back(items: list[Item]) -> None:
    for one, other in zip(items, unpack(pack(items)), strict=True):
        if isinstance(one, Plaintext):
            assert one == other
        else:
            assert isinstance(other, Denied) and other.problem() == one.problem()


@given(st.binary(max_size=60) | ITEMS.map(lambda items: pack(items).reveal()[:-1]))
def test_any_bytes_are_output_or_malformed(raw: bytes) -> None:
    try:
        items = unpack(Plaintext(raw))
    except Malformed as why:
        assert why.code == "output_malformed"
        return
    assert len(items) <= len(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x02\0\0\0\0",
        b"\x00\0\0\0\2a",
        b"\x00\0\0",
        b"\x01" + lp(b"[]"),
        b"\x01" + lp(b'{"a":\xff}'),
        b"\x01" + lp(b"{"),
        b"\x01" + lp(b'{"a":' * 5000),
    ],
)
def test_another_form_of_output_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(Plaintext(raw))


def test_a_problem_keeps_its_class_and_facts() -> None:
    (problem,) = unpack(pack([Conflict("pin_stale", "stale", stale=[["secret", "x"]])]))
    assert isinstance(problem, Conflict) and problem.facts == {"stale": [["secret", "x"]]}
