"""Field types of documents, so that a limit is written once and checked when a document is decoded."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.condition import LONGEST
from shared.names import ACCOUNT, IDENTIFIER, NAME, OPAQUE, RESOURCE, SCOPE, SECRET_REFERENCE
from shared.selectors import SELECTOR

Account = Annotated[str, Meta(pattern=ACCOUNT)]
Identifier = Annotated[str, Meta(pattern=IDENTIFIER)]
Name = Annotated[str, Meta(pattern=NAME)]
Opaque = Annotated[str, Meta(pattern=OPAQUE)]
"""A random id: 26 characters of base32."""
ResourceText = Annotated[str, Meta(pattern=RESOURCE, max_length=2_200)]
"""What a grant may be narrowed to: a secret by its id, or `connector/` and a connector's, and a path that it reads below that."""
ScopeText = Annotated[str, Meta(pattern=SCOPE)]
Selector = Annotated[str, Meta(pattern=SELECTOR)]
# The last character leaves no stray bits, so that one value has one text and a key in a document always decodes.
Digest = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{42}[AEIMQUYcgkosw048]$(?!\n)")]
"""SHA-256 in base64url; also the form of a key's thumbprint and of an Ed25519 public key (32 bytes)."""
Key = Digest
Signature = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{85}[AQgw]$(?!\n)")]
SealingKey = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{1621}[AQgw]$(?!\n)")]
"""An X-Wing public key, 1,216 bytes in base64url."""
Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds since 1970, at most the end of the year 9999."""
Number = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
SecretReference = Annotated[str, Meta(pattern=SECRET_REFERENCE)]
"""A secret by its place: `account.NAME`, `org.NAME`, or `NAME` in the scope of what names it."""
ConditionText = Annotated[str, Meta(max_length=LONGEST)]
"""A condition over a delegate's tags (`shared.condition`); empty for none."""
Line = Annotated[str, Meta(max_length=1024)]
Tags = dict[Annotated[str, Meta(pattern=r"^[!-~]{1,128}$(?!\n)")], Annotated[str, Meta(max_length=256)]]
Permission = Literal["view", "use", "reveal", "edit", "delete", "exec", "fetch", "renew", "admin"]


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every document says: its format and its account."""

    v: Literal[1]
    acct: Account


class Revisioned(Payload, frozen=True, kw_only=True):
    """A document that is revised: `prev` is the digest of the revision before, absent in the first."""

    rev: Number
    prev: Digest | None = None
    iat: Seconds


DEEPEST = 16
"""Levels of objects and lists in a `spec`, itself included."""


def is_plain(value: object, levels: int = DEEPEST) -> bool:
    """JSON whose text form is the same everywhere: no fractions, no integers beyond 2**53, no keys outside of ASCII.

    And not so deep that one reader gives up where another doesn't.
    """
    match value:
        case dict():
            return levels > 0 and all(
                str(key).isascii() and is_plain(member, levels - 1) for key, member in value.items()
            )
        case list():
            return levels > 0 and all(is_plain(member, levels - 1) for member in value)
        case _:
            return value is None or isinstance(value, str | bool) or (type(value) is int and abs(value) < 2**53)
