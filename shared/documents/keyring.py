"""The keyring document: the public keys of one trust zone, for the current generation and those still accepted.

Signed by an administrator. A client seals to `seal`; answers are believed when a key in `certify` certified their
delegate.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.documents.fields import Identifier, Key, Number, Revisioned, SealingKey


class Certifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The certifying key (Ed25519) of one generation."""

    gen: Number
    key: Key


class KeyringDocument(Revisioned, frozen=True, kw_only=True):
    """`gen` is the current generation, `seal` its sealing key, `certifiers` the accepted ones, oldest first."""

    id: Identifier
    gen: Number
    seal: SealingKey
    certifiers: Annotated[tuple[Certifier, ...], Meta(min_length=1, max_length=64)]
