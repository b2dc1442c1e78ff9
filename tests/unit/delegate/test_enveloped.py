"""What a key service is asked, and when: nothing before a record is authentic, once while its key is kept."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from msgspec import structs

from delegate.data_keys import DataKeys
from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, SecretVersion
from delegate.zone import Zone
from shared.aad import Aad
from shared.canonical import digest
from shared.crypto import aead, record
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, Tampered, Unavailable
from shared.labels import WRAP
from shared.values import Wrapped
from tests.fakes.closing import StandingClock
from tests.fakes.refusal import refused
from tests.fakes.world import World


class Service:
    """Wraps with a key of its own, as a KMS does; `unwrapped` counts what it was asked."""

    concurrency = 8

    def __init__(self, name: str = "kms/1") -> None:
        self.key_name = name
        self.accepted = {name}
        self.unwrapped = 0
        self.closed = 0
        self.failure: Exception | None = None
        self._master = secrets.token_bytes(32)

    def accepts(self, key_name: str) -> bool:
        return key_name in self.accepted

    async def check(self) -> None:
        """It works."""

    async def generate(self, place: Aad) -> DataKey:
        key = Plaintext(secrets.token_bytes(32))
        wrapped = aead.encrypt(self._master, key, place.encode(WRAP), secrets.token_bytes(aead.SALT_BYTES))
        return DataKey(key, self.key_name, wrapped)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        self.unwrapped += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return aead.decrypt(self._master, wrapped, place.encode(WRAP))

    async def close(self) -> None:
        self.closed += 1


@dataclass
class House:
    """One delegate's key cache, and secret managers that share it."""

    world: World
    clock: StandingClock
    data_keys: DataKeys
    service: Service

    @staticmethod
    def built(seconds: float = 300) -> House:
        clock = StandingClock()
        return House(World(), clock, DataKeys(clock, seconds=seconds), Service())

    def manager(self) -> Enveloped:
        zone = Zone(self.world.keyring, self.world.book())
        return Enveloped(self.service, zone, secrets.token_bytes, self.data_keys)

    def version(self, identifier: str = "password", n: int = 1) -> SecretVersion:
        secret = self.world.secret_document(identifier)
        signed = self.world.sign(secret, self.world.administrator)
        aad = self.world.place(signed, n, digest(f"the store task of {identifier} {n}"))
        return SecretVersion(secret, self.world.connector.document, n, aad)


async def test_a_thousand_uses_ask_the_provider_once() -> None:
    house = House.built()
    manager, secret = house.manager(), house.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    found = await asyncio.gather(*(manager.fetch(secret, stored) for _ in range(500)))
    for _ in range(500):
        found.append(await manager.fetch(secret, stored))
    assert all(one == Plaintext(b"hunter2") for one in found)
    assert house.service.unwrapped == 1


async def test_each_use_asks_the_provider_where_nothing_is_kept() -> None:
    house = House.built(seconds=0)
    manager, secret = house.manager(), house.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    for _ in range(3):
        await manager.fetch(secret, stored)
    assert house.service.unwrapped == 3


async def test_a_kept_key_opens_its_own_version_only() -> None:
    house = House.built()
    manager, first, second = house.manager(), house.version(), house.version(n=2)
    old, new = await manager.store(first, Plaintext(b"old")), await manager.store(second, Plaintext(b"new"))
    assert await manager.fetch(first, old) == Plaintext(b"old")
    assert await manager.fetch(second, new) == Plaintext(b"new")
    assert house.service.unwrapped == 2
    for secret, stored in ((first, new), (second, old)):
        with refused(Tampered, "record_forged"):
            await manager.fetch(secret, stored)


Attack = Callable[[House, Wrapped, SecretVersion], Wrapped]


def other_ciphertext(house: House, stored: Wrapped, secret: SecretVersion) -> Wrapped:
    """A record with the wrapped key of an honest one, by who has no keyring."""
    honest = record.unpack(stored)
    return record.pack(replace(honest, ciphertext=bytes(len(honest.ciphertext))), bytes(32), secret.aad)


def flipped(house: House, stored: Wrapped, secret: SecretVersion) -> Wrapped:
    return Wrapped(stored.raw[:-1] + bytes([stored.raw[-1] ^ 1]))


@pytest.mark.parametrize("attack", [other_ciphertext, flipped])
async def test_a_forged_record_is_refused_before_a_kept_key_or_the_provider_is_asked(attack: Attack) -> None:
    house = House.built()
    manager, secret = house.manager(), house.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    await manager.fetch(secret, stored)
    with refused(Tampered, "record_forged"):
        await manager.fetch(secret, attack(house, stored, secret))
    assert (house.service.unwrapped, house.data_keys.hits) == (1, 0)


async def test_a_kept_key_does_not_serve_a_record_of_a_generation_that_was_excluded_meanwhile() -> None:
    house = House.built()
    world, secret = house.world, house.version()
    book, known = world.book(), len(world.documents)
    rotated = world.rotate()
    manager = Enveloped(house.service, Zone(world.keyring, book), secrets.token_bytes, house.data_keys)
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    await manager.fetch(secret, stored)
    world.revise_status(keyrings={rotated.document.id: 2})
    for compact in world.documents[known:]:
        book.admit(compact, world.now)
    with refused(Denied, "generation_excluded"):
        await manager.fetch(secret, stored)
    assert (house.service.unwrapped, house.data_keys.hits) == (1, 0)


async def test_a_kept_key_does_not_serve_a_connector_that_no_longer_names_the_key_that_wraps_it() -> None:
    house = House.built()
    manager, secret = house.manager(), house.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    await manager.fetch(secret, stored)
    house.service.accepted = {"kms/2"}
    with refused(Denied, "key_unlisted"):
        await manager.fetch(secret, stored)
    assert house.service.unwrapped == 1


async def test_a_secret_that_refers_to_one_elsewhere_is_refused_in_the_words_that_users_search_for() -> None:
    house = House.built()
    secret = house.version()
    elsewhere = replace(secret, secret=structs.replace(secret.secret, reference="elsewhere"))
    with pytest.raises(Malformed) as caught:
        await house.manager().store(elsewhere, Plaintext(b""))
    assert caught.value.code == "reference_unsupported"
    assert caught.value.detail.startswith("Reference secrets are not allowed in KMS type Secret Managers: the kind ")


async def test_a_revised_connector_asks_its_provider_itself_and_is_refused_by_it() -> None:
    house = House.built()
    manager, secret = house.manager(), house.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    await manager.fetch(secret, stored)
    # Another role, which may not use the key: what the old one unwrapped must not be served to it.
    house.service.failure = Denied("aws_denied", "no", "allow it")
    with refused(Denied, "aws_denied"):
        await house.manager().fetch(secret, stored)
    assert await manager.fetch(secret, stored) == Plaintext(b"hunter2")


async def test_a_closed_manager_leaves_no_key_behind() -> None:
    house = House.built()
    manager, secret = house.manager(), house.version()
    await manager.fetch(secret, await manager.store(secret, Plaintext(b"hunter2")))
    assert len(house.data_keys) == 1
    await manager.close()
    await manager.close()
    assert (len(house.data_keys), house.service.closed) == (0, 2)


async def test_a_failing_provider_is_asked_again_the_next_time() -> None:
    house = House.built()
    manager, secret = house.manager(), house.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    house.service.failure = Unavailable("unavailable", "gone", "later")
    with refused(Unavailable, "unavailable"):
        await manager.fetch(secret, stored)
    house.service.failure = None
    assert await manager.fetch(secret, stored) == Plaintext(b"hunter2")


async def test_the_key_of_a_value_that_was_only_stored_is_not_kept() -> None:
    house = House.built()
    await house.manager().store(house.version(), Plaintext(b"hunter2"))
    assert len(house.data_keys) == 0
