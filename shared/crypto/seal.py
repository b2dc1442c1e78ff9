"""Sealing in transit: HPKE (RFC 9180) in base mode, with the X-Wing hybrid (ML-KEM-768 and X25519), HKDF-SHA-256, AES-256-GCM.

    Sealed = 01 || encapsulated key (1,120 bytes) || ciphertext and tag        info = the encoded AAD

One suite for each version byte, so that nothing is negotiated. Opening fails in one way only.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, Tampered
from shared.values import PublicKey, Recipient, Sealed

VERSION = b"\x01"
ENCAPSULATED_BYTES = 1120
OVERHEAD_BYTES = 1 + ENCAPSULATED_BYTES + 16
SEED_BYTES = 32

_suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealingKey:
    """The private half: opens what was sealed to `public`. Made from a 32-byte seed as X-Wing does."""

    __slots__ = ("__private", "public")

    def __init__(self, seed: bytes) -> None:
        # draft-connolly-cfrg-xwing-kem, expandDecapsulationKey: SHAKE256(seed, 96) = ML-KEM seed (64), X25519 key (32).
        if len(seed) != SEED_BYTES:
            raise ValueError("a sealing key takes a seed of 32 bytes")
        expanded = hashlib.shake_256(seed).digest(96)
        post_quantum = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        classic = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.__private = MLKEM768X25519PrivateKey(post_quantum, classic)
        self.public = PublicKey(post_quantum.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw())

    def open(self, sealed: Sealed, info: bytes) -> Plaintext:
        """What was sealed with the same `info`. Raises Tampered, without reasons."""
        if sealed.raw[:1] == VERSION and len(sealed.raw) >= OVERHEAD_BYTES:
            try:
                return Plaintext(_suite.decrypt(memoryview(sealed.raw)[1:], self.__private, info)).unpadded()
            except (InvalidTag, ValueError, Malformed):
                pass
        raise Tampered("opening_failed", "a sealed value doesn't open: it was changed, moved, or sealed to another key")

    def __repr__(self) -> str:
        return "SealingKey(***)"


def seal(recipient: Recipient, plaintext: Plaintext, info: bytes) -> Sealed:
    """`plaintext`, padded, for `recipient` alone. Raises Malformed for a key that is no key."""
    raw = recipient.key.raw
    try:
        public = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:1184]), X25519PublicKey.from_public_bytes(raw[1184:])
        )
        return Sealed(VERSION + _suite.encrypt(plaintext.padded().reveal(), public, info))
    except ValueError:
        raise Malformed("key_malformed", "a sealing key is not a valid key") from None
