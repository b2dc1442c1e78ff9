"""The values that move: sealed in transit, wrapped or referred to at rest, and the keys that they are sealed to.

    PublicKey  --a verified document vouches for it-->  Recipient  --seal()-->  Sealed
    Plaintext  --a delegate's secret manager--------->  Wrapped | Reference

`seal()` takes a Recipient and nothing else, and only `recipient_of_*` here make one, from verified documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from shared.canonical import unb64u
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.task import TaskDocument
from shared.errors import Malformed

PUBLIC_KEY_BYTES = 1216
"""X-Wing: ML-KEM-768 (1,184) then X25519 (32)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A sealing key that somebody claims; nothing is sealed to it."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_BYTES:
            raise Malformed("key_malformed", f"a sealing key has {PUBLIC_KEY_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Recipient:
    """A sealing key that a verified document vouches for."""

    key: PublicKey


def recipient_of_keyring(keyring: Verified[KeyringDocument]) -> Recipient:
    """The keyring's current sealing key."""
    return Recipient(PublicKey(unb64u(keyring.document.seal, PUBLIC_KEY_BYTES)))


def recipient_of_task(task: Verified[TaskDocument]) -> Recipient:
    """The reader that the task's signer named."""
    return Recipient(PublicKey(unb64u(task.document.reader, PUBLIC_KEY_BYTES)))


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """Bytes that only the recipient opens: version byte, then HPKE's encapsulated key and ciphertext."""

    raw: bytes

    def __repr__(self) -> str:
        return f"Sealed({len(self.raw)} bytes)"


@dataclass(frozen=True, slots=True, repr=False)
class Wrapped:
    """A stored value whose key a key service wraps; the record's bytes (docs/formats.md)."""

    raw: bytes

    def __repr__(self) -> str:
        return f"Wrapped({len(self.raw)} bytes)"


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored value that lives at a provider: the provider's own version id, bound by the keyring's MAC."""

    version: str
    mac: str


Stored = Wrapped | Reference
