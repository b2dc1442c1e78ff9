"""Encryption at rest: a single-use AES-256-GCM key and a key commitment, derived with HKDF-SHA-512 from a key and a salt.

    HKDF-SHA-512(ikm = key, salt = 32 random bytes, info = encoded AAD) = encryption key (32) || commitment (32)
    Ciphertext = salt (32) || commitment (32) || AES-256-GCM(encryption key, nonce = 12 zero bytes, AAD = encoded AAD)

The random salt makes each derived key fresh, so the nonce may be fixed; the commitment means that one ciphertext opens
under one key only. Decryption fails in one way only.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, Tampered

SALT_BYTES = 32
OVERHEAD_BYTES = 32 + 32 + 16
_NONCE = bytes(12)


def derive(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA-512 (RFC 5869)."""
    return HKDF(SHA512(), length, salt, info).derive(key)


def encrypt(key: bytes, plaintext: Plaintext, aad: bytes, salt: bytes) -> bytes:
    """`plaintext` under `key` at the place `aad`; `salt` is 32 fresh random bytes."""
    if len(salt) != SALT_BYTES or len(key) != 32:
        raise ValueError("a key and a salt have 32 bytes each")
    both = derive(key, salt, aad, 64)
    return salt + both[32:] + AESGCM(both[:32]).encrypt(_NONCE, plaintext.reveal(), aad)


def decrypt(key: bytes, ciphertext: bytes, aad: bytes) -> Plaintext:
    """What `encrypt` was given. Raises Tampered, without reasons."""
    if len(ciphertext) >= OVERHEAD_BYTES:
        both = derive(key, ciphertext[:32], aad, 64)
        # The commitment first, in constant time: a ciphertext made to fit two keys never reaches the cipher.
        if hmac.compare_digest(both[32:], ciphertext[32:64]):
            try:
                return Plaintext(AESGCM(both[:32]).decrypt(_NONCE, ciphertext[64:], aad))
            except InvalidTag:
                pass
    raise _failed()


def decrypt_padded(key: bytes, ciphertext: bytes, aad: bytes) -> Plaintext:
    """The value whose padded form `encrypt` was given. Raises Tampered, without reasons: for a wrong padding too."""
    padded = decrypt(key, ciphertext, aad)
    try:
        return padded.unpadded()
    except Malformed:
        raise _failed() from None


def _failed() -> Tampered:
    return Tampered(
        "decryption_failed", "a stored value doesn't decrypt: it was changed, moved, or made with another key"
    )
