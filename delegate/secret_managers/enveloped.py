"""A secret manager made of a key service: each version is encrypted under a key of its own, which the service wraps.

Promises: a fresh key for each version; the record's HMAC is checked before any of its parts is used or a kept key is taken,
so that who has stolen only the key service's role can't make a record; what an excluded generation made, perhaps in its
thief's hands, is opened only for who signed that he takes it; a key that the connector doesn't name isn't asked. The bytes
are `shared.crypto.record`. Must not keep a value longer than the call; keys are kept by `DataKeys`, for a while.
"""

from __future__ import annotations

from collections.abc import Awaitable

from delegate.data_keys import DataKeys
from delegate.secret_managers.interface import DataKey, KeyService, Randomness, SecretVersion
from delegate.threads import compute
from delegate.zone import Zone
from shared.aad import Aad
from shared.canonical import lp, sha256
from shared.crypto import aead
from shared.crypto.keyring import Generation
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import Record, is_authentic, pack, unpack
from shared.errors import Denied, Malformed, Tampered
from shared.labels import RECORD, WRAP
from shared.values import Stored, Wrapped


class Enveloped:
    """Values in records, their keys wrapped by `service`, their HMACs made with the zone's keyring.

    `data_keys` keeps unwrapped keys for a while; without it the service is asked each time.
    """

    def __init__(
        self, service: KeyService, zone: Zone, randomness: Randomness, data_keys: DataKeys | None = None
    ) -> None:
        self._service = service
        self._zone = zone
        self._randomness = randomness
        self._data_keys = data_keys
        self._owner = 0 if data_keys is None else data_keys.owner()
        """What this revision of a connector unwraps is kept for itself alone."""

    @property
    def concurrency(self) -> int:
        """As many as the key service takes."""
        return self._service.concurrency

    async def check(self) -> None:
        """Whether the key service answers and the keyring is current."""
        self._zone.current()
        await self._service.check()

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Wrapped:
        """The record of a value. Raises Malformed for a secret that is to refer to one elsewhere: nothing is kept elsewhere."""
        if secret.secret.reference:
            raise Malformed(
                "reference_unsupported",
                "Reference secrets are not allowed in KMS type Secret Managers: "
                f"the kind {secret.connector.type} keeps no secrets of its own that one could refer to",
                "store the value itself, or use a connector to where the secret is",
            )
        generation = self._zone.current()
        made = await self._service.generate(secret.aad)
        salt = self._randomness(aead.SALT_BYTES)
        return await compute(len(plaintext), _encrypt, made, salt, generation, secret.aad, plaintext)

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        """A record's value.

        Raises Tampered, Denied for an excluded generation without consent or a key that the connector doesn't name, NotReady.
        """
        if not isinstance(stored, Wrapped):
            raise _forged()
        size = len(stored.raw)
        record = await compute(size, self._authenticated, stored, secret.aad)
        if not secret.excluded and not self._zone.counts(record.generation):
            raise Denied(
                "generation_excluded",
                f"the value was stored under generation {record.generation} of the keyring {self._zone.name}, which the "
                "account has excluded: whoever has the old keyring may have made it",
                "store a new value; to read the old one once: privyseal reveal --excluded",
            )
        if not self._service.accepts(record.key_name):
            raise Denied(
                "key_unlisted",
                "a record is wrapped with a key that its connector doesn't name",
                "list the key as a previous one in the connector, or store the secret again",
            )
        key = await self._key(record, secret.aad, size)
        return await compute(size, _decrypt, key, record, secret.aad)

    async def look_up(self, secret: SecretVersion) -> Plaintext:
        """Nothing: the provider keeps no values."""
        raise Malformed(
            "reference_impossible",
            f"a {secret.connector.type} connector keeps no values at its provider: there is nothing to refer to",
            "name a stored secret by its identifier",
        )

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        """Nothing to do: no provider keeps anything, and the manager forgets the record."""

    async def close(self) -> None:
        """Gives the key service's connections back, and drops what it unwrapped."""
        if self._data_keys is not None:
            self._data_keys.forget(self._owner)
        await self._service.close()

    async def _key(self, record: Record, aad: Aad, size: int) -> Plaintext:
        def unwrap() -> Awaitable[Plaintext]:
            return self._service.unwrap(record.key_name, record.wrapped_key, aad)

        if self._data_keys is None:
            return await unwrap()
        name = sha256(lp(record.key_name.encode(), record.wrapped_key, aad.encode(WRAP)))
        return await self._data_keys.key(self._owner, name, size, unwrap)

    def _authenticated(self, wrapped: Wrapped, aad: Aad) -> Record:
        try:
            record = unpack(wrapped)
        except Malformed:
            raise _forged() from None
        # A generation that no document speaks of can only be made up; an honest lag would have asked for the document.
        if not 0 < record.generation <= self._zone.current().number:
            raise _forged()
        if not is_authentic(record, self._zone.made_with(record.generation).mac_key, aad):
            raise _forged()
        return record


def _encrypt(made: DataKey, salt: bytes, generation: Generation, aad: Aad, plaintext: Plaintext) -> Wrapped:
    ciphertext = aead.encrypt(made.key.reveal(), plaintext.padded(), aad.encode(RECORD), salt)
    return pack(Record(made.key_name, made.wrapped, generation.number, ciphertext), generation.mac_key, aad)


def _decrypt(key: Plaintext, record: Record, aad: Aad) -> Plaintext:
    return aead.decrypt_padded(key.reveal(), record.ciphertext, aad.encode(RECORD))


def _forged() -> Tampered:
    return Tampered("record_forged", "a stored record isn't one that this keyring made for this place")
