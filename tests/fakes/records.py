"""Records as the built-in secret manager of a delegate makes and opens them, step by step, from the pure core alone."""

from __future__ import annotations

from shared.aad import Aad
from shared.crypto import aead, record
from shared.crypto.keyring import Generation, Keyring
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import Record
from shared.errors import Tampered
from shared.labels import RECORD, WRAP
from shared.values import Wrapped


def make_record(generation: Generation, place: Aad, value: bytes, key: bytes, salt: bytes) -> Wrapped:
    """The record of `value` at `place`, encrypted under the data key `key`; 32 bytes each of key and salt."""
    wrapped = aead.encrypt(generation.kek, Plaintext(key), place.encode(WRAP), salt)
    ciphertext = aead.encrypt(key, Plaintext(value).padded(), place.encode(RECORD), salt)
    name = f"local/{place.keyring}/{generation.number}"
    return record.pack(Record(name, wrapped, generation.number, ciphertext), generation.mac_key, place)


def open_record(keyring: Keyring, place: Aad, wrapped: Wrapped) -> Plaintext:
    """The value of a record at `place`, its HMAC checked first. Raises Malformed, Tampered, NotReady."""
    parts = record.unpack(wrapped)
    generation = keyring.generation(parts.generation)
    if not record.is_authentic(parts, generation.mac_key, place):
        raise Tampered("record_forged", "a stored record isn't one that this keyring made for this place")
    key = aead.decrypt(generation.kek, parts.wrapped_key, place.encode(WRAP))
    return aead.decrypt_padded(key.reveal(), parts.ciphertext, place.encode(RECORD))
