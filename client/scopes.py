"""Organisations and projects: signed scope documents, made, listed and deleted.

Promises: an identifier names one living scope at a time, as far as this client is shown. Must not delete what lies in it.
"""

from __future__ import annotations

from typing import cast

from client.directory import Directory
from client.drafts import new_id, next_revision
from client.publish import Publisher
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.template import TemplateDocument
from shared.errors import Conflict, NotFound
from shared.names import Scope, check_identifier, check_name


class Scopes:
    """One account's."""

    def __init__(self, publisher: Publisher, directory: Directory) -> None:
        self._publisher = publisher
        self._directory = directory

    async def all(self, parent: Scope, *, below: bool = False) -> list[Verified[ScopeDocument]]:
        """The living scopes in `parent`, sorted by place."""
        await self._publisher.account.sync()
        found = [
            one.verified
            async for one in self._directory.documents("scope", ScopeDocument, parent, below=below)
            if one.verified and not one.document.deleted
        ]
        return sorted(found, key=lambda one: (one.document.scope, one.document.identifier))

    async def create(
        self, parent: Scope, identifier: str, name: str | None, description: str
    ) -> Verified[ScopeDocument]:
        """Makes an organisation or project. Raises Conflict when there is one, NotFound for a parent that isn't there."""
        parent.child(check_identifier(identifier, "identifier"))
        if parent.org:
            await self.one(Scope(), parent.org)
        if any(one.document.identifier == identifier for one in await self.all(parent)):
            raise Conflict(
                "scope_exists", f"the {_kind(parent)} {identifier} exists already", "choose another identifier"
            )
        account = self._publisher.account
        new = await self._publisher.publish(
            lambda now: [
                ScopeDocument(
                    v=1,
                    acct=account.id,
                    id=new_id(),
                    rev=1,
                    iat=now,
                    scope=str(parent),
                    identifier=identifier,
                    name=check_name(name or identifier, "name"),
                    description=description,
                )
            ]
        )
        return cast(Verified[ScopeDocument], new[0])

    async def one(self, parent: Scope, identifier: str) -> Verified[ScopeDocument]:
        """Raises NotFound."""
        found = next((one for one in await self.all(parent) if one.document.identifier == identifier), None)
        if found is None:
            raise NotFound("scope_unknown", f"there is no {_kind(parent)} {identifier}", "list them, or make it first")
        return found

    async def delete(self, parent: Scope, identifier: str) -> None:
        """Publishes its last revision. Raises NotFound, Conflict while the manager shows something in it."""
        old = await self.one(parent, identifier)
        inside = parent.child(identifier)
        if not inside.project and await self.all(inside):
            raise Conflict("scope_not_empty", f"the organisation {identifier} has projects", "delete them first")
        kinds: tuple[tuple[str, type[SecretDocument | ConnectorDocument | TemplateDocument]], ...] = (
            ("secret", SecretDocument),
            ("connector", ConnectorDocument),
            ("template", TemplateDocument),
        )
        for kind, cls in kinds:
            async for one in self._directory.documents(kind, cls, inside):
                if not one.verified or not one.document.deleted:
                    detail = f"the {_kind(parent)} {identifier} holds a {kind}"
                    raise Conflict("scope_not_empty", detail, f"delete its {kind}s first")
        await self._publisher.publish(lambda now: [next_revision(old, now, deleted=True)])


def _kind(parent: Scope) -> str:
    return "project" if parent.org else "organisation"
