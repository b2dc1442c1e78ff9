"""The template: a script by which a custom secret manager reads, and perhaps writes, secrets.

Signed by a principal with `edit` and `exec` over its scope, who holds `use` on each secret that it names. A version label stands
for one content for good: other content takes another label. A connector names the content that its signer has seen.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.canonical import blob_digest, encode
from shared.documents.fields import (
    Digest,
    Identifier,
    Line,
    Name,
    Opaque,
    Revisioned,
    ScopeText,
    SecretReference,
    Selector,
    Tags,
)
from shared.names import VERSION_LABEL

LONGEST_SCRIPT = 65_536
MOST_INPUTS = 64
Script = Annotated[str, Meta(max_length=LONGEST_SCRIPT)]
VersionLabel = Annotated[str, Meta(pattern=VERSION_LABEL)]


class TemplateUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The template that a connector runs, by its id and by what its signer has seen in it."""

    id: Opaque
    content: Digest


class TemplateInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a script is given by a variable of that name: a text, which may hold expressions; None is asked of who uses it."""

    name: Identifier
    value: Annotated[str, Meta(max_length=4_096)] | None = None


class TemplateContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """`script` reads; `write` and `remove` are empty where nothing is to be written or removed.

    `secrets` are the references in them and in the values of inputs, sorted, each once; they mean what they mean in the
    template's own scope.
    """

    type: Literal["SecretManager"]
    shell: Literal["Bash", "PowerShell", "Python"]
    script: Annotated[Script, Meta(min_length=1)]
    write: Script = ""
    remove: Script = ""
    inputs: Annotated[tuple[TemplateInput, ...], Meta(max_length=MOST_INPUTS)] = ()
    selectors: Annotated[tuple[Selector, ...], Meta(max_length=64)] = ()
    secrets: Annotated[tuple[SecretReference, ...], Meta(max_length=64)] = ()

    def __post_init__(self) -> None:
        names = [one.name for one in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError("Expected inputs, each once - at `$.inputs`")
        if list(self.secrets) != sorted(set(self.secrets)):
            raise ValueError("Expected references in order, each once - at `$.secrets`")


class TemplateDocument(Revisioned, frozen=True, kw_only=True):
    """One version of a template, by its label."""

    id: Opaque
    scope: ScopeText
    identifier: Identifier
    version: VersionLabel
    name: Name
    description: Line = ""
    tags: Tags = {}
    content: TemplateContent
    deleted: bool = False

    @property
    def place_name(self) -> str:
        """What no other template of its scope is called; an identifier has no @."""
        return f"{self.identifier}@{self.version}"

    def __post_init__(self) -> None:
        if self.scope == "account" and any(one.startswith("org.") for one in self.content.secrets):
            raise ValueError("Expected no organisation's secret in the account's template - at `$.content.secrets`")


def content_digest(template: TemplateDocument) -> str:
    """What a connector names: the digest of all that decides what a template does."""
    return blob_digest(encode(template.content))
