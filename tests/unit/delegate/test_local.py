"""The built-in kind fails to open a record in one way only, and opens an excluded generation's for who consents only."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.local import Local
from delegate.zone import Zone
from shared.aad import Aad
from shared.crypto import aead, record
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import Record
from shared.errors import Denied, Tampered
from shared.labels import RECORD, WRAP
from tests.fakes.records import make_record
from tests.fakes.world import World


def local(world: World) -> Local:
    policy = LocalPolicy.parse("", ["Local"])
    surroundings = Surroundings(Zone(world.keyring, world.book()), policy, secrets.token_bytes)
    return Local(world.connector.document, surroundings, {})


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


async def test_after_a_compromise_old_records_open_with_consent_and_new_ones_carry_the_new_generation() -> None:
    world = World()
    version = password(world)
    old = await local(world).store(version, Plaintext(b"hunter2"))
    world.rotate()
    world.revise_status(keyrings={"main": 2})
    with pytest.raises(Denied) as caught:
        await local(world).fetch(version, old)
    assert caught.value.code == "generation_excluded"
    assert "privyseal reveal --excluded" in caught.value.hint
    consenting = replace(version, excluded=True)
    assert await local(world).fetch(consenting, old) == Plaintext(b"hunter2")
    new = await local(world).store(version, Plaintext(b"new"))
    assert record.unpack(new).generation == 2
    assert await local(world).fetch(version, new) == await local(world).fetch(consenting, new) == Plaintext(b"new")


async def test_a_record_that_the_thief_of_an_excluded_generation_forged_is_refused() -> None:
    world = World()
    version, stolen = password(world), world.keyring.newest
    world.rotate()
    world.revise_status(keyrings={"main": 2})
    place = replace(version.aad, n=2, version="a version that was stored after the exclusion")
    forged = make_record(stolen, place, b"forged", b"k" * 32, b"s" * 32)
    with pytest.raises(Denied, match="excluded"):
        await local(world).fetch(replace(version, n=2, aad=place), forged)


async def test_consent_to_an_excluded_generation_excuses_nothing_else() -> None:
    world = World()
    version = replace(password(world), excluded=True)
    old = await local(world).store(version, Plaintext(b"hunter2"))
    world.rotate()
    world.revise_status(keyrings={"main": 2})
    moved = replace(version, aad=replace(version.aad, version="another"))
    with pytest.raises(Tampered) as caught:
        await local(world).fetch(moved, old)
    assert caught.value.code == "record_forged"


async def test_where_it_is_disabled_no_new_secret_is_made_and_those_that_are_there_go_on() -> None:
    world = World()
    first = password(world)
    kept = await local(world).store(first, Plaintext(b"hunter2"))
    world.connector = world.revise(world.connector, spec={"disabled": True})
    assert world.connector.document.is_disabled
    with pytest.raises(Denied, match="the built-in secret manager has been disabled") as caught:
        await local(world).store(first, Plaintext(b"new"))
    assert caught.value.code == "built_in_disabled"
    assert await local(world).fetch(first, kept) == Plaintext(b"hunter2")
    second = replace(first, n=2)
    assert await local(world).fetch(second, await local(world).store(second, Plaintext(b"next"))) == Plaintext(b"next")
    await local(world).delete(replace(first, n=0), kept)


async def test_a_rotation_alone_refuses_nothing() -> None:
    world = World()
    version = password(world)
    old = await local(world).store(version, Plaintext(b"hunter2"))
    world.rotate()
    world.revise_status(keyrings={"other": 2})
    assert await local(world).fetch(version, old) == Plaintext(b"hunter2")
