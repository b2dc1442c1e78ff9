"""The values that move: sealed in transit, wrapped or referred to at rest, and the keys that they are sealed to.

    PublicKey  --a verified document vouches for it-->  Recipient  --seal()-->  Sealed
    Plaintext  --a delegate's secret manager--------->  Wrapped | Reference

`seal()` takes a Recipient and nothing else, and only `recipient_of_*` here make one, from verified documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.canonical import unb64u
from shared.documents.fields import Digest, Tags
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.task import TaskDocument
from shared.errors import Malformed

PUBLIC_KEY_BYTES = 1216
"""X-Wing: ML-KEM-768 (1,184) then X25519 (32)."""

LONGEST_LOCATOR = 4096
"""Characters of a provider's name for a secret, what `#` selects in it included."""


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


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stored value that lives at a provider: the provider's own `version` id, bound by the keyring's MAC to its place.

    `locator` and `metadata` say where it was when it was stored. Nobody asks a provider for them: they only tell a
    version whose document or connector has changed since from one that somebody made up.
    """

    generation: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    locator: Annotated[str, Meta(max_length=LONGEST_LOCATOR)]
    mac: Digest
    version: Annotated[str, Meta(max_length=512)] = ""
    metadata: Tags = {}


Stored = Wrapped | Reference
