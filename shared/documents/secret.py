"""The secret document: everything about a secret but its value. Signed by a principal with `edit` over its scope.

A version is not here: it is the store task that made it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shared.documents.fields import Identifier, Line, Name, Opaque, Revisioned, ScopeText, Tags
from shared.documents.usage import Usage

LARGEST_VALUE_BYTES = 10_000_000
"""A secret's value, text or file, is at most this long."""


class SecretDocument(Revisioned, frozen=True, kw_only=True):
    """`id` is random and never changes; `connector` is the connector's id; `deleted` marks the last revision.

    `reference` is where the provider keeps a secret that was there before, and that is only read; without it the value
    is ours to write. `metadata` is what the provider needs besides (a version, regions). A version is bound to both.
    `usage` is what it is for: a task has to state it.
    """

    id: Opaque
    scope: ScopeText
    identifier: Identifier
    name: Name
    description: Line = ""
    tags: Tags = {}
    type: Literal["SecretText", "SecretFile"]
    connector: Opaque
    reference: Annotated[str, Meta(max_length=2048)] = ""
    metadata: Tags = {}
    filename: Annotated[str, Meta(max_length=255)] = ""
    usage: Usage | None = None
    deleted: bool = False
