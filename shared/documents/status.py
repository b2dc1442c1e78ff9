"""The status document: what no longer counts, and a promise that this is still all (as TUF's timestamp).

Signed by an administrator, or re-signed unchanged by a principal with `renew`; its revision is the serial.
"""

from __future__ import annotations

from typing import Literal

from shared.documents.fields import Digest, Identifier, Key, Number, Opaque, Revisioned, Seconds, Selector

DEFAULT_SECONDS = 90 * 86_400
WARNING_SECONDS = 30 * 86_400
LONGEST_SECONDS = 400 * 86_400


class StatusDocument(Revisioned, frozen=True, kw_only=True):
    """`secrets`, `keyrings` and `groups` are floors: lower versions, generations and revisions are refused.

    `base` is the digest of the last status that an administrator signed; only a re-signed one has it.
    """

    id: Literal["status"]
    exp: Seconds
    grants: tuple[Opaque, ...] = ()
    keys: tuple[Key, ...] = ()
    secrets: dict[Opaque, Number] = {}
    keyrings: dict[Identifier, Number] = {}
    groups: dict[Selector, Number] = {}
    base: Digest | None = None
