"""What a KV engine has at a path, and how an entry of ours says whose it is.

Promises: an answer of another form is told to be none of Vault's; numbers and nested objects stay as Vault wrote them. Must
not ask Vault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from delegate.credentials.vault_calls import garbled
from delegate.secret_managers.interface import SecretVersion
from delegate.secret_managers.ownership import is_own
from shared.crypto.plaintext import Plaintext

VALUE = "value"
VERSION_TAG = "privyseal-version"
"""Beside the tags of origin: `N/DIGEST`, the secret's version and its store task."""


class Metadata(msgspec.Struct, frozen=True):
    """Of a version."""

    version: Annotated[int, Meta(ge=0, lt=2**53)]


class Versioned(msgspec.Struct, frozen=True):
    """A version; null where it is deleted."""

    metadata: Metadata
    data: msgspec.Raw = msgspec.Raw(b"null")


class OfTwo(msgspec.Struct, frozen=True):
    """What an engine of version 2 reads."""

    data: Versioned


class OfOne(msgspec.Struct, frozen=True):
    """What an engine of version 1 reads."""

    data: msgspec.Raw


class Written(msgspec.Struct, frozen=True):
    """What an engine of version 2 says of a version that it wrote."""

    data: Metadata


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LONGEST_NUMBER = 15


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """What an engine has at a path: its version (0 in an engine without), and the JSON object; None where that is deleted."""

    version: int
    json: Plaintext | None
    members: Mapping[str, Any]
    """The members that are texts."""
    enveloped: Mapping[str, Any]
    """Those of its member `data`: what an engine of version 2 keeps there, where a connector calls it one of version 1."""

    @property
    def n(self) -> int:
        """The secret's version that it is, 0 where it doesn't say."""
        number = str(self.members.get(VERSION_TAG, "")).partition("/")[0]
        return int(number) if len(number) <= _LONGEST_NUMBER and number.isascii() and number.isdigit() else 0

    def is_of(self, secret: SecretVersion) -> bool:
        """Whether exactly this store task wrote it."""
        return is_own(secret, self.members) and self.members.get(VERSION_TAG) == version_tag(secret)


def version_tag(secret: SecretVersion) -> str:
    """Its member `privyseal-version`."""
    return f"{secret.n}/{secret.aad.version}"


def entry_of(version: int, raw: msgspec.Raw, about: str) -> Entry:
    """The entry of a JSON object or null. Raises Unavailable for another form."""
    if bytes(raw) == b"null":
        return Entry(version, None, {}, {})
    try:
        members = _members.decode(raw)
        inner = members.get("data", msgspec.Raw(b"null"))
        enveloped = _members.decode(inner) if bytes(inner)[:1] == b"{" else {}
        return Entry(version, Plaintext(bytes(raw)), _texts(members), _texts(enveloped))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise garbled(about) from None


def _texts(members: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(member) for name, member in members.items() if bytes(member)[:1] == b'"'}
