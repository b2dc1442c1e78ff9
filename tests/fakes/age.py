"""age's format, written from its specification (C2SP/age.md, version 1) with other code than the program reads it with.

recipient, identity = new_identity()                  # 32 bytes, and the text AGE-SECRET-KEY-1...
content = age_file(b"hunter2", recipient)             # binary
content = armored(age_file(b"hunter2", recipient))
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CHUNK = 65_536
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def new_identity() -> tuple[bytes, str]:
    """A recipient's public key, and its identity as `age-keygen` writes it."""
    private = X25519PrivateKey.generate()
    return private.public_key().public_bytes_raw(), bech32("age-secret-key-", private.private_bytes_raw()).upper()


def age_file(value: bytes, *recipients: bytes, stanzas: Sequence[str] = ()) -> bytes:
    """A file of age with that content for these recipients; `stanzas` come before theirs."""
    key, lines = os.urandom(16), ["age-encryption.org/v1", *stanzas]
    for recipient in recipients:
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
        wrapping = _derived(shared, share + recipient, b"age-encryption.org/v1/X25519")
        wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), key, None)
        lines += [f"-> X25519 {_b64(share)}", _b64(wrapped)]
    header = ("\n".join([*lines, "---"])).encode()
    mac = hmac.digest(_derived(key, b"", b"header"), header, "sha256")
    nonce = os.urandom(16)
    cipher = ChaCha20Poly1305(_derived(key, nonce, b"payload"))
    chunks = [value[at : at + CHUNK] for at in range(0, len(value), CHUNK)] or [b""]
    payload = [
        cipher.encrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, None)
        for number, chunk in enumerate(chunks)
    ]
    return header + b" " + _b64(mac).encode() + b"\n" + nonce + b"".join(payload)


def armored(content: bytes) -> bytes:
    """The same as text."""
    text = base64.b64encode(content).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN AGE ENCRYPTED FILE-----", *lines, "-----END AGE ENCRYPTED FILE-----", ""]).encode()


def bech32(prefix: str, data: bytes) -> str:
    """BIP 173, without its limit of length."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    expanded = [ord(one) >> 5 for one in prefix] + [0] + [ord(one) & 31 for one in prefix]
    checked = _polymod([*expanded, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [checked >> 5 * (5 - at) & 31 for at in range(6)]
    return prefix + "1" + "".join(_BECH32[one] for one in values)


def _polymod(values: Sequence[int]) -> int:
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            found ^= generator if top >> bit & 1 else 0
    return found


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")
