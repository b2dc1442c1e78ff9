"""Adversary against sealed inputs, answers and records: moved, swapped, kept, or made by who holds only half of the keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.aad import Aad
from shared.canonical import b64u, blob_digest
from shared.crypto import aead, record
from shared.crypto.keyring import Keyring
from shared.crypto.output import pack, unpack
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.errors import Malformed, NotReady, Tampered
from shared.labels import ANSWER, INPUT, RECORD, WRAP
from shared.values import Recipient, Sealed, Wrapped, recipient_of_task
from tests.fakes.records import make_record
from tests.fakes.refusal import refused
from tests.fakes.world import Version, World


def at(world: World, version: Version) -> Aad:
    """Where a version's record belongs."""
    return world.place(version.secret, version.n, version.task.digest)


def input_info(world: World, version: Version) -> bytes:
    """What a version's input was sealed with."""
    return world.place(version.secret, version.n, "").encode(INPUT)


def two_secrets() -> tuple[World, Version, Version]:
    """Two secrets that differ in their id and value alone."""
    world = World()
    one, other = (world.store(world.secret(name), name.encode()) for name in ("one", "other"))
    return world, one, other


# Sealed inputs. The delegate opens one at the place that the signed task says, after comparing its digest.


def test_a_sealed_input_opens_at_its_place() -> None:
    world, one, _ = two_secrets()
    assert world.keyring.newest.sealing.open(one.input, input_info(world, one)).reveal() == b"one"
    assert one.task.document.input == (blob_digest(one.input.raw),)


def test_a_swapped_input_is_not_the_one_that_was_signed() -> None:
    _, one, other = two_secrets()
    assert blob_digest(other.input.raw) not in one.task.document.input


MOVES = ["secret", "scope", "connector", "n", "keyring", "account", "purpose", "version"]


def elsewhere(place: Aad, field: str) -> Aad:
    """A place that differs in one field."""
    changes: dict[str, Any] = {"n": 2, "purpose": "answer"}
    return replace(place, **{field: changes.get(field, "other")})


@pytest.mark.parametrize("field", MOVES)
def test_a_sealed_input_does_not_open_elsewhere(field: str) -> None:
    world, one, _ = two_secrets()
    place = world.place(one.secret, one.n, "")
    moved = elsewhere(place, field)
    with refused(Tampered, "opening_failed"):
        world.keyring.newest.sealing.open(one.input, moved.encode(INPUT))


def test_a_sealed_input_is_no_answer_and_an_answer_no_input() -> None:
    world, one, _ = two_secrets()
    place = world.place(one.secret, one.n, "")
    with refused(Tampered, "opening_failed"):
        world.keyring.newest.sealing.open(one.input, place.encode(ANSWER))


def test_a_sealed_input_of_an_older_generation_does_not_open_with_a_newer_one() -> None:
    world, one, _ = two_secrets()
    world.rotate()
    with refused(Tampered, "opening_failed"):
        world.keyring.newest.sealing.open(one.input, input_info(world, one))


def test_a_changed_or_cut_input_does_not_open() -> None:
    world, one, _ = two_secrets()
    raw = one.input.raw
    for forged in (
        raw[:-1],
        raw + b"\0",
        raw[:-1] + bytes([raw[-1] ^ 1]),
        raw[:1] + bytes([raw[1] ^ 1]) + raw[2:],
        b"",
    ):
        with refused(Tampered, "opening_failed"):
            world.keyring.newest.sealing.open(Sealed(forged), input_info(world, one))


# Answers.


def test_an_answer_to_one_task_is_none_to_another() -> None:
    world, one, other = two_secrets()
    tasks = [world.reveal([version]) for version in (one, other)]
    infos = [Aad("answer", world.id, "main", version=task.digest).encode(ANSWER) for task in tasks]
    sealed = seal(recipient_of_task(tasks[0]), pack([Plaintext(b"one")]), infos[0])
    assert unpack(world.reader.open(sealed, infos[0])) == [Plaintext(b"one")]
    with refused(Tampered, "opening_failed"):
        world.reader.open(sealed, infos[1])


def test_an_answer_to_a_replaced_reader_is_for_nobody_who_asked() -> None:
    world, one, _ = two_secrets()
    task = world.reveal([one])
    info = Aad("answer", world.id, "main", version=task.digest).encode(ANSWER)
    attacker = SealingKey(b"a" * 32)
    sealed = seal(Recipient(attacker.public), pack([Plaintext(b"one")]), info)
    with refused(Tampered, "opening_failed"):
        world.reader.open(sealed, info)
    assert recipient_of_task(task).key != attacker.public


def test_output_that_is_no_output_is_malformed_even_from_a_delegate() -> None:
    with refused(Malformed, "output_malformed"):
        unpack(Plaintext(b"\x00\xff\xff\xff\xff"))


# Records.


def test_a_record_opens_at_its_place() -> None:
    world, one, _ = two_secrets()
    assert world.open(one.record, at(world, one)).reveal() == b"one"


def test_two_swapped_records_do_not_open() -> None:
    world, one, other = two_secrets()
    for mine, theirs in ((one, other), (other, one)):
        with refused(Tampered, "record_forged"):
            world.open(theirs.record, at(world, mine))


def test_two_swapped_versions_do_not_open() -> None:
    world, one, _ = two_secrets()
    second = world.store(one.secret, b"two", after=one)
    assert world.open(second.record, at(world, second)).reveal() == b"two"
    for mine, theirs in ((one, second), (second, one)):
        with refused(Tampered, "record_forged"):
            world.open(theirs.record, at(world, mine))


def test_an_old_record_under_a_newer_number_or_another_store_task_does_not_open() -> None:
    world, one, _ = two_secrets()
    again = world.store(one.secret, b"one", jti="z" * 26)
    assert again.task.digest != one.task.digest
    for place in (replace(at(world, one), n=2), at(world, again)):
        with refused(Tampered, "record_forged"):
            world.open(one.record, place)


@pytest.mark.parametrize("field", MOVES)
def test_a_record_does_not_open_elsewhere(field: str) -> None:
    world, one, _ = two_secrets()
    moved = elsewhere(at(world, one), field)
    with refused(Tampered, "record_forged"):
        world.open(one.record, moved)


def test_who_has_stolen_the_key_service_alone_makes_no_record() -> None:
    """He wraps and encrypts as it should be; what he lacks is the keyring's MAC key."""
    world, one, _ = two_secrets()
    place = at(world, one)
    key, salt = b"k" * 32, b"s" * 32
    wrapped = aead.encrypt(world.keyring.newest.kek, Plaintext(key), place.encode(WRAP), salt)
    ciphertext = aead.encrypt(key, Plaintext(b"evil").padded(), place.encode(RECORD), salt)
    for mac_key in (world.keyring.newest.kek, key, bytes(32)):
        forged = record.pack(record.Record("local/main/1", wrapped, 1, ciphertext), mac_key, place)
        with refused(Tampered, "record_forged"):
            world.open(forged, place)


def test_who_has_the_mac_key_alone_makes_no_record_either() -> None:
    world, one, _ = two_secrets()
    generation, place, salt = world.keyring.newest, at(world, one), b"s" * 32
    parts = record.unpack(one.record)
    evil = aead.encrypt(b"k" * 32, Plaintext(b"evil").padded(), place.encode(RECORD), salt)
    own = aead.encrypt(b"x" * 32, Plaintext(b"k" * 32), place.encode(WRAP), salt)
    for changed in (replace(parts, ciphertext=evil), replace(parts, wrapped_key=own)):
        forged = record.pack(changed, generation.mac_key, place)
        with refused(Tampered, "decryption_failed"):
            world.open(forged, place)


def test_a_wrapped_key_of_another_place_does_not_unwrap() -> None:
    """Even under a good HMAC: a key is bound to its place by itself."""
    world, one, other = two_secrets()
    mine, theirs = record.unpack(one.record), record.unpack(other.record)
    mixed = replace(mine, wrapped_key=theirs.wrapped_key, ciphertext=theirs.ciphertext)
    forged = record.pack(mixed, world.keyring.newest.mac_key, at(world, one))
    with refused(Tampered, "decryption_failed"):
        world.open(forged, at(world, one))


def test_a_record_that_claims_another_generation_is_not_authentic() -> None:
    world, one, _ = two_secrets()
    world.rotate()
    assert world.open(one.record, at(world, one)).reveal() == b"one"
    lying = replace(record.unpack(one.record), generation=2)
    with refused(Tampered, "record_forged"):
        world.open(Wrapped(lying.body() + lying.mac), at(world, one))
    unknown = replace(record.unpack(one.record), generation=3)
    with refused(NotReady, "generation_missing"):
        world.open(Wrapped(unknown.body() + unknown.mac), at(world, one))


def test_a_record_of_another_account_s_keyring_of_the_same_name_does_not_open() -> None:
    world, one, _ = two_secrets()
    place = at(world, one)
    foreign = Keyring("b" * 52, "main", [(1, world.seed("generation 1"))])
    forged = make_record(foreign.newest, place, b"evil", b"k" * 32, b"s" * 32)
    with refused(Tampered, "record_forged"):
        world.open(forged, place)


def test_what_is_no_record_is_malformed() -> None:
    world, one, _ = two_secrets()
    for raw in (b"", one.record.raw[:-1], one.record.raw + b"\0", b"\x02" + one.record.raw[1:]):
        with refused(Malformed, "record_malformed"):
            world.open(Wrapped(raw), at(world, one))


def test_a_task_names_the_reader_in_the_signed_text() -> None:
    world, one, _ = two_secrets()
    assert world.reveal([one]).document.reader == b64u(world.reader.public.raw)
