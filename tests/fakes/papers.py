"""Papers: the keys and ids of a world, and its documents before anybody signs them.

All of them follow from the world's name and what they are called, so that they are the same in every run. No randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from shared.canonical import sha256
from shared.crypto.identity import Identity
from shared.documents.answer import AnswerDocument, Code
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.grant import DAY, PERMISSIONS, GrantDocument, Principal
from shared.documents.jws import Verified
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.template import TemplateContent, TemplateDocument
from shared.names import opaque_id

NOW = 1_800_000_000
"""When a world begins, in seconds since 1970."""

KEYRING = "main"


class Papers:
    """What a world writes on: its account's id, its time, and its built-in connector."""

    now: int
    name: str
    id: str
    connector: Verified[ConnectorDocument]

    def seed(self, name: str) -> bytes:
        """32 bytes that look random and are the same in every run."""
        return sha256(f"{self.name}/{name}".encode())

    def opaque(self, name: str) -> str:
        """A document's opaque id."""
        return opaque_id(self.seed(name)[:16])

    def identity(self, name: str) -> Identity:
        """The key pair of that name."""
        return Identity.from_seed(self.seed(f"identity {name}"))

    def grant_document(
        self, to: Identity, permissions: Sequence[Permission] = PERMISSIONS, scope: str = "account", **changes: Any
    ) -> GrantDocument:
        """An unsigned grant for 30 days; its id follows from whom it is to and where, unless `id` is given."""
        document = GrantDocument(
            v=1,
            acct=self.id,
            id=self.opaque(f"grant {to.kid} {scope}"),
            principal=Principal("principal", to.key, "person"),
            permissions=tuple(permissions),
            scope=scope,
            rev=1,
            iat=self.now,
            exp=self.now + 30 * DAY,
        )
        return structs.replace(document, **changes)

    def connector_document(self, identifier: str, scope: str = "account", **changes: Any) -> ConnectorDocument:
        """An unsigned connector of the built-in kind."""
        id = self.opaque(f"connector {scope} {identifier}")
        local = self.connector.document
        return structs.replace(
            local, **{"id": id, "identifier": identifier, "scope": scope, "iat": self.now, **changes}
        )

    def template_document(
        self, identifier: str, scope: str = "account", version: str = "1", content: Any = None, **changes: Any
    ) -> TemplateDocument:
        """An unsigned template; `content` are members of its content."""
        script: dict[str, Any] = {"type": "SecretManager", "shell": "Bash", "script": "secret=x", **(content or {})}
        document = TemplateDocument(
            v=1,
            acct=self.id,
            id=self.opaque(f"template {scope} {identifier} {version}"),
            scope=scope,
            identifier=identifier,
            version=version,
            name=identifier,
            content=TemplateContent(**script),
            rev=1,
            iat=self.now,
        )
        return structs.replace(document, **changes)

    def scope_document(self, identifier: str, scope: str = "account", **changes: Any) -> ScopeDocument:
        """An unsigned organisation, or project where `scope` is an organisation."""
        document = ScopeDocument(
            v=1,
            acct=self.id,
            id=self.opaque(f"scope {scope} {identifier}"),
            scope=scope,
            identifier=identifier,
            name=identifier,
            rev=1,
            iat=self.now,
        )
        return structs.replace(document, **changes)

    def secret_document(self, identifier: str, scope: str = "account", **changes: Any) -> SecretDocument:
        """An unsigned text secret in the built-in secret manager."""
        document = SecretDocument(
            v=1,
            acct=self.id,
            id=self.opaque(f"secret {scope} {identifier}"),
            scope=scope,
            identifier=identifier,
            name=identifier,
            type="SecretText",
            connector=self.connector.document.id,
            rev=1,
            iat=self.now,
        )
        return structs.replace(document, **changes)

    def answer_document(self, task: str, code: Code = "ok", **changes: Any) -> AnswerDocument:
        """An unsigned answer to the task of that digest; the delegate signs it."""
        return structs.replace(AnswerDocument(v=1, acct=self.id, task=task, code=code, iat=self.now), **changes)
