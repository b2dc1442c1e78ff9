"""The grant: what a principal may do, where, and until when.

Signed by an administrator, or by a principal who holds `admin` there through the grant that `parent` names.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.documents.fields import Key, Name, Opaque, Permission, ResourceText, Revisioned, ScopeText, Seconds
from shared.documents.usage import Usage

DAY = 86_400
LONGEST_SECONDS = {"person": 90 * DAY, "service": 400 * DAY}
"""How long a grant may last, by the kind of principal."""

PERMISSIONS: tuple[Permission, ...] = ("admin", "delete", "edit", "exec", "fetch", "renew", "reveal", "use", "view")
"""All of them, in the order in which a grant lists them."""


class Principal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person or a service, by the Ed25519 key that was handed over."""

    name: Name
    key: Key
    type: Literal["person", "service"]


class GrantDocument(Revisioned, frozen=True, kw_only=True):
    """`resource` narrows the grant to one secret (its id), connector (`connector/` and its id) or path of that (`/` and the path).

    It covers what lies below it by `/`. `parent` is the grantor's own grant.

    `usage` narrows it to tasks that state that; such a grant carries no document but grants that are as narrow.
    """

    id: Opaque
    principal: Principal
    permissions: Annotated[tuple[Permission, ...], Meta(min_length=1, max_length=9)]
    scope: ScopeText
    resource: ResourceText | None = None
    parent: Opaque | None = None
    usage: Usage | None = None
    exp: Seconds
