"""The built-in kind fails to open a record in one way only, and never because its generation was excluded."""

from __future__ import annotations

import secrets

import pytest

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.local import Local
from delegate.zone import Zone
from shared.aad import Aad
from shared.crypto import aead, record
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import Record
from shared.errors import Tampered
from shared.labels import RECORD, WRAP
from tests.fakes.world import World


def local(world: World) -> Local:
    policy = LocalPolicy.parse("", ["Local"])
    return Local(world.connector.document, Surroundings(Zone(world.keyring, world.book()), policy, secrets.token_bytes))


def password(world: World) -> SecretVersion:
    secret = world.secret_document("password")
    place = Aad("store", world.id, "main", secret.scope, secret.id, 1, "v", world.connector.document.id)
    return SecretVersion(secret, world.connector.document, 1, place)


async def test_bad_padding_in_an_authentic_record_fails_as_every_other_decryption_does() -> None:
    world = World()
    version, generation = password(world), world.keyring.newest
    key, salt = bytes(32), bytes(range(32))
    wrapped = aead.encrypt(generation.kek, Plaintext(key), version.aad.encode(WRAP), salt)
    ciphertext = aead.encrypt(key, Plaintext(b"not padded"), version.aad.encode(RECORD), salt)
    made = record.pack(Record("local/main/1", wrapped, 1, ciphertext), generation.mac_key, version.aad)
    with pytest.raises(Tampered) as caught:
        await local(world).fetch(version, made)
    assert caught.value.code == "decryption_failed"
    with pytest.raises(Tampered) as other:
        aead.decrypt(key, b"", b"")
    assert str(caught.value) == str(other.value)


async def test_after_a_compromise_old_records_open_and_new_ones_carry_the_new_generation() -> None:
    world = World()
    version = password(world)
    old = await local(world).store(version, Plaintext(b"hunter2"))
    world.rotate()
    world.revise_status(keyrings={"main": 2})
    assert await local(world).fetch(version, old) == Plaintext(b"hunter2")
    assert record.unpack(await local(world).store(version, Plaintext(b"new"))).generation == 2
