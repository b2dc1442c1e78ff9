"""The connector: a configured instance of a secret-manager kind. Signed by a principal with `edit` over its scope."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from shared.condition import is_canonical
from shared.documents.fields import (
    ConditionText,
    Identifier,
    Line,
    Name,
    Opaque,
    Revisioned,
    ScopeText,
    SecretReference,
    Selector,
    Tags,
    is_plain,
)
from shared.documents.template import TemplateUse
from shared.documents.usage import Usage

BUILT_IN = "local"
"""Identifier of the built-in secret manager's connector, one in each account."""

BUILT_IN_ALIASES = frozenset({BUILT_IN, "harnessSecretManager"})
"""What users may call it; `harnessSecretManager` is what their YAML says today."""


CUSTOM = "CustomSecretManager"
"""The kind that runs templates."""


class ConnectorDocument(Revisioned, frozen=True, kw_only=True):
    """`type` is the kind, by its YAML name; `spec` its settings, which the kind itself validates.

    `secrets` are the references in `spec`, sorted, each once: the secrets that the kind gets the values of, and no others.
    They mean what they mean in the connector's own scope, and who signs it holds `use` on each. `template` is what a custom
    secret manager runs; the secrets that it names are among them.
    `usage` is what it is for: a task that goes through it has to state it. `where` is a condition over the tags of delegates, in
    its canonical form, that no task sets aside.
    """

    id: Opaque
    scope: ScopeText
    identifier: Identifier
    name: Name
    description: Line = ""
    tags: Tags = {}
    type: Annotated[str, Meta(pattern=r"^[A-Z][A-Za-z0-9]{0,63}$(?!\n)")]
    keyring: Identifier
    selectors: Annotated[tuple[Selector, ...], Meta(max_length=64)] = ()
    where: ConditionText = ""
    spec: dict[str, Any] = {}
    secrets: Annotated[tuple[SecretReference, ...], Meta(max_length=64)] = ()
    template: TemplateUse | None = None
    usage: Usage | None = None
    deleted: bool = False

    @property
    def resource(self) -> str:
        """How a grant names it. Not by its id alone: who is granted one secret could else make a connector of that id."""
        return f"connector/{self.id}"

    @property
    def runs_on_delegate(self) -> bool:
        """False where the platform's own delegates are to do its work (`executeOnDelegate: false`)."""
        return self.spec.get("executeOnDelegate") is not False

    @property
    def is_default(self) -> bool:
        """True where its scope's new secrets go to it (`default`; in older YAML `isDefault`)."""
        return self.spec.get("default", self.spec.get("isDefault")) is True

    @property
    def is_disabled(self) -> bool:
        """True where it takes no new secrets (`disabled`, which only the built-in kind has)."""
        return self.type == "Local" and self.spec.get("disabled") is True

    @property
    def is_tested(self) -> bool:
        """False where delegates aren't to test it by themselves (`ignoreTestConnection`)."""
        return self.spec.get("ignoreTestConnection") is not True

    @property
    def needs_no_task(self) -> bool:
        """True where a delegate may test it though no task has brought it there: it opens no secret, runs no script, and asks
        nobody what it is used for."""
        return self.is_tested and not self.secrets and self.template is None and self.usage is None

    def __post_init__(self) -> None:
        if list(self.secrets) != sorted(set(self.secrets)):
            raise ValueError("Expected references in order, each once - at `$.secrets`")
        if self.where and not is_canonical(self.where):
            raise ValueError("Expected a condition in its canonical form - at `$.where`")
        if self.template is not None and self.type != CUSTOM:
            raise ValueError(f"Expected no template but in a {CUSTOM} - at `$.template`")
        if self.scope == "account" and any(one.startswith("org.") for one in self.secrets):
            raise ValueError("Expected no organisation's secret in the account's connector - at `$.secrets`")
        if not is_plain(self.spec):
            raise ValueError("Expected texts, whole numbers, booleans, lists and objects - at `$.spec`")
