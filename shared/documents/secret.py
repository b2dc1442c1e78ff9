"""The secret document: everything about a secret but its value. Signed by a principal with `edit` over its scope.

A version is not here: it is the store task that made it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from shared.documents.fields import (
    Identifier,
    Line,
    Name,
    Opaque,
    Revisioned,
    ScopeText,
    SecretReference,
    Tags,
    is_plain,
)
from shared.documents.usage import Usage

SSH_KEY = "SSHKey"
"""The type of what logs in to hosts: settings, and references to the secrets that they take. It has no value of its own."""

LARGEST_VALUE_BYTES = 10_000_000
"""A secret's value, text or file, is at most this long."""


class SecretDocument(Revisioned, frozen=True, kw_only=True):
    """`id` is random and never changes; `connector` is the connector's id; `deleted` marks the last revision.

    `reference` is where the provider keeps a secret that was there before, and that is only read; without it the value
    is ours to write. `metadata` is what the provider needs besides (a version, regions). A version is bound to both.
    `usage` is what it is for: a task has to state it.

    An SSHKey is its `spec` (as in its YAML) and the `secrets` that it names, sorted, each once, which mean what they mean in its
    own scope; its signer holds `use` on each. It has no versions, and its connector, which says whose delegates it is for,
    keeps nothing.
    """

    id: Opaque
    scope: ScopeText
    identifier: Identifier
    name: Name
    description: Line = ""
    tags: Tags = {}
    type: Literal["SecretText", "SecretFile", "SSHKey"]
    connector: Opaque
    reference: Annotated[str, Meta(max_length=2048)] = ""
    metadata: Tags = {}
    filename: Annotated[str, Meta(max_length=255)] = ""
    spec: dict[str, Any] = {}
    secrets: Annotated[tuple[SecretReference, ...], Meta(max_length=8)] = ()
    usage: Usage | None = None
    deleted: bool = False

    def __post_init__(self) -> None:
        if self.type == SSH_KEY and (self.reference or self.metadata or self.filename):
            raise ValueError("Expected no reference, metadata or filename in an SSHKey")
        if self.type != SSH_KEY and (self.spec or self.secrets):
            raise ValueError("Expected no spec and no secrets but in an SSHKey")
        if list(self.secrets) != sorted(set(self.secrets)):
            raise ValueError("Expected references in order, each once - at `$.secrets`")
        if self.scope == "account" and any(one.startswith("org.") for one in self.secrets):
            raise ValueError("Expected no organisation's secret in the account's SSHKey - at `$.secrets`")
        if not is_plain(self.spec):
            raise ValueError("Expected texts, whole numbers, booleans, lists and objects - at `$.spec`")
