"""The account document: who owns the account (root keys) and who administers it. Signed by a root key.

The account id is made from the first revision, so it names the root keys and no manager can put others in their place.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, structs

from shared.canonical import b32, encode, sha256
from shared.documents.fields import Key, Name, Revisioned, Signature
from shared.names import ACCOUNT


class Administrator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who signs keyrings, grants and status for the whole account; `key` is Ed25519, 32 bytes."""

    name: Name
    key: Key


class AccountDocument(Revisioned, frozen=True, kw_only=True):
    """One revision of the account.

    `consents` holds, for each root key that this revision adds, that key's own signature over `consent_message`: a new
    root comes in only with an old one's signature (the document's) and its own.
    """

    acct: Annotated[str, Meta(pattern=rf"^$(?!\n)|{ACCOUNT}")]
    name: Name
    roots: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=8)]
    administrators: Annotated[tuple[Administrator, ...], Meta(min_length=1, max_length=64)]
    consents: dict[Key, Signature] = {}

    @property
    def id(self) -> str:
        """There is one account document in an account."""
        return "account"


def account_id(first: AccountDocument) -> str:
    """base32(SHA-256) of the first revision's canonical payload with an empty id: 52 characters."""
    return b32(sha256(encode(structs.replace(first, acct=""))))
