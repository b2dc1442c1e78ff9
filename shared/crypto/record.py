"""The record: how an enveloped value is stored.

    Record = 01 || LP(key name) || LP(wrapped DEK) || generation (4) || LP(ciphertext) || HMAC-SHA-256 (32)

The ciphertext is `aead.encrypt` of the padded value under the DEK at the place RECORD. The HMAC, under the MAC key of the
keyring's generation, is over LP(label, encoded AAD, everything before it): who has stolen only the cloud role can't make
a record, who has stolen only the keyring can't open one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from shared.aad import Aad
from shared.canonical import lp
from shared.errors import Malformed
from shared.labels import RECORD_MAC
from shared.values import Wrapped

VERSION = b"\x01"
LONGEST_KEY_NAME = 2048
LONGEST_WRAPPED_KEY = 65_536


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """The parts; `mac` is checked before any of them is used."""

    key_name: str
    wrapped_key: bytes
    generation: int
    ciphertext: bytes
    mac: bytes = b""

    def body(self) -> bytes:
        """Everything before the HMAC."""
        return b"".join(
            (
                VERSION,
                lp(self.key_name.encode(), self.wrapped_key),
                self.generation.to_bytes(4, "big"),
                lp(self.ciphertext),
            )
        )


def mac_of(mac_key: bytes, aad: Aad, body: bytes) -> bytes:
    """HMAC-SHA-256 that binds a record to its place."""
    return hmac.digest(mac_key, lp(RECORD_MAC, aad.encode(RECORD_MAC), body), "sha256")


def pack(record: Record, mac_key: bytes, aad: Aad) -> Wrapped:
    """The record's bytes, with its HMAC."""
    body = record.body()
    return Wrapped(body + mac_of(mac_key, aad, body))


def unpack(wrapped: Wrapped) -> Record:
    """The parts, not yet authenticated. Raises Malformed."""
    raw, at = wrapped.raw, 1
    if raw[:1] != VERSION:
        raise Malformed("record_malformed", "a stored record has an unknown version")

    def field(longest: int) -> bytes:
        nonlocal at
        length = int.from_bytes(raw[at : at + 4], "big")
        start, at = at + 4, at + 4 + length
        if at > len(raw) or length > longest:
            raise Malformed("record_malformed", "a stored record is cut or has a length that can't be")
        return raw[start:at]

    name, wrapped_key = field(LONGEST_KEY_NAME), field(LONGEST_WRAPPED_KEY)
    generation = int.from_bytes(raw[at : at + 4], "big")
    at += 4
    ciphertext = field(len(raw))
    if len(raw) - at != 32 or not name.isascii():
        raise Malformed("record_malformed", "a stored record is cut or has bytes left over")
    return Record(name.decode("ascii"), wrapped_key, generation, ciphertext, raw[at:])


def is_authentic(record: Record, mac_key: bytes, aad: Aad) -> bool:
    """Whether the record's HMAC fits, in constant time."""
    return hmac.compare_digest(record.mac, mac_of(mac_key, aad, record.body()))
