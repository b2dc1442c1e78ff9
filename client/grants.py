"""Grants: given, listed, renewed and revoked, with everything that falls when one goes.

Promises: a grant gives nothing that its grantor doesn't hold; what a revocation brings down is known before it is
published, and can be adopted in the same step. Must not look up a key: the grantee hands it over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from client.account import Account
from client.directory import Directory
from client.drafts import new_grant, next_revision, next_status, parent_of
from client.listed import Listed
from client.publish import Publisher, Signable
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Permission, Revisioned
from shared.documents.grant import DAY, LONGEST_SECONDS, GrantDocument, Principal
from shared.documents.jws import Verified, VerifyingKey, parse
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.status import StatusDocument
from shared.documents.template import TemplateDocument
from shared.documents.usage import Usage
from shared.errors import Denied, Malformed, NotFound, PrivySealError
from shared.names import ACCOUNT_SCOPE, OPAQUE, Reference, Scope, check_name
from shared.trust.authority import Authority
from shared.trust.uses import TEMPLATE_PERMISSIONS, fetched_resource

MOST_AT_ONCE = 200
OWNED: tuple[tuple[str, type[Revisioned], tuple[Permission, ...]], ...] = (
    ("scope", ScopeDocument, ("admin",)),
    ("template", TemplateDocument, TEMPLATE_PERMISSIONS),
    ("connector", ConnectorDocument, ("edit",)),
    ("secret", SecretDocument, ("edit",)),
)
"""What somebody signs, and what he has to hold for it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A grant, and whether it holds now: `live`, `revoked`, `expired`, or the code of what else is wrong."""

    grant: Verified[GrantDocument]
    state: str


@dataclass(slots=True)
class Fallen:
    """What no longer stands on anybody: documents to adopt, and grants that were given by the revoked one."""

    documents: list[Verified[Revisioned]] = field(default_factory=list)
    grants: list[Verified[GrantDocument]] = field(default_factory=list)


class Grants:
    """One account's."""

    def __init__(self, account: Account, publisher: Publisher, directory: Directory) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory

    async def all(self) -> list[Standing]:
        """Every grant that was ever founded, with its standing, the newest last."""
        await self._account.sync(force=True)
        grants = sorted(self._account.book.grants.values(), key=lambda one: (one.document.iat, one.document.id))
        return [Standing(grant, self._state(grant)) for grant in grants]

    def _state(self, grant: Verified[GrantDocument]) -> str:
        try:
            self._account.book.authority.found(grant, self._account.clock())
        except Denied as why:
            return why.code.removeprefix("grant_")
        return "live"

    def find(self, id: str) -> Verified[GrantDocument]:  # noqa: A002 (the document's word)
        """A grant by its id, or by the only beginning of one. Raises NotFound."""
        found = [grant for key, grant in self._account.book.grants.items() if key.startswith(id)]
        if len(found) != 1 or len(id) < 4:
            raise NotFound("grant_unknown", "there is no grant, or more than one, of that id", "privyseal grant list")
        return found[0]

    async def add(
        self,
        principal: Principal,
        permissions: Sequence[Permission],
        scope: Scope,
        *,
        resource: str | None = None,
        days: int | None = None,
        usage: Usage | None = None,
    ) -> Verified[GrantDocument]:
        """Gives permissions over `scope` (or one secret or connector in it, by id) for `days`, for tasks that state `usage`.

        Raises Denied for what the grantor doesn't hold, Malformed for too many days.
        """
        account = self._account

        def make(now: int) -> list[Signable]:
            authority, kid = account.book.authority, account.identity.kid
            parent, until = parent_of(authority, kid, permissions, scope, resource, now, usage)
            return [new_grant(account.id, principal, permissions, scope, resource, parent, days, now, until, usage)]

        return cast(Verified[GrantDocument], (await self._publisher.publish(make))[0])

    async def resource(self, text: str, scope: Scope, here: Scope) -> tuple[Scope, str]:
        """(scope, id) of what a grant is narrowed to: an id in `scope`, or a secret by its reference. Raises NotFound."""
        if re.match(OPAQUE, text):
            return scope, text
        await self._account.sync()
        document = (await self._directory.one(Reference.parse(text, here), fresh=True)).secret.document
        return Scope.parse(document.scope), document.id

    async def connector(self, text: str, path: str | None, here: Scope) -> tuple[Scope, str]:
        """(scope, resource) of a connector by its reference, and of a path that it reads. Raises NotFound, Malformed."""
        await self._account.sync()
        document = (await self._directory.connector(Reference.parse(text, here))).document
        if path is None:
            return Scope.parse(document.scope), document.resource
        if document.type == CUSTOM:
            raise Malformed(
                "path_impossible",
                f"a {CUSTOM} reads no paths: what its script makes of its inputs, nobody can tell",
                "leave the path out: the grant is then for all that the connector can read",
            )
        resource = fetched_resource(document, path)
        if "#" in path:
            raise Malformed(
                "path_malformed", "a grant is for a path, and what is selected there isn't part of it", "leave #KEY out"
            )
        return Scope.parse(document.scope), resource

    async def renew(self, id: str, days: int | None = None) -> Verified[GrantDocument]:  # noqa: A002
        """Lets a grant last `days` from now. Raises Denied, NotFound, Malformed."""
        await self._account.sync(force=True)
        account, grant = self._account, self.find(id)

        def make(now: int) -> list[Signable]:
            old = account.book.grants[grant.document.id]
            document = old.document
            scope = Scope.parse(document.scope)
            authority, kid, usage = account.book.authority, account.identity.kid, document.usage
            parent, until = parent_of(authority, kid, document.permissions, scope, document.resource, now, usage)
            longest = LONGEST_SECONDS[document.principal.type] // DAY
            if days is not None and not 1 <= days <= longest:
                raise Malformed("days_out_of_range", f"the grant may last 1 to {longest} days", "give fewer days")
            exp = now + (days or longest) * DAY
            return [next_revision(old, now, parent=parent, exp=min(exp, until or exp))]

        return cast(Verified[GrantDocument], (await self._publisher.publish(make))[0])

    async def falling(self, id: str) -> Fallen:  # noqa: A002
        """What falls if that grant is revoked. Raises NotFound."""
        await self._account.sync(force=True)
        grant = self.find(id)
        return await self._fallen(self._revoking(grant.document.id, self._account.clock()))

    async def revoke(self, id: str, *, adopt: bool) -> Fallen:  # noqa: A002
        """Revokes a grant in a new status; `adopt` first re-signs, as their next revisions, the documents that fall.

        Gives what fell. Raises NotFound, Denied for anybody but an administrator.
        """
        self._must_administer()
        fallen = await self.falling(id)
        full = self.find(id).document.id
        if adopt:
            await self.adopt(fallen.documents)
        await self._publisher.publish(lambda now: [self._revoking(full, now)])
        return fallen

    async def adopt(self, documents: Sequence[Verified[Revisioned]]) -> int:
        """Re-signs documents, unchanged, as their next revisions; how many."""
        for at in range(0, len(documents), MOST_AT_ONCE):
            part = documents[at : at + MOST_AT_ONCE]
            await self._publisher.publish(lambda now, part=part: [next_revision(one, now) for one in part])  # type: ignore[misc]
        return len(documents)

    async def orphans(self) -> Fallen:
        """What stands on nobody now: the grants that carried it have ended or were revoked."""
        await self._account.sync(force=True)
        return await self._fallen(self._publisher.status().document)

    def _revoking(self, id: str, now: int) -> StatusDocument:  # noqa: A002
        return next_status(self._publisher.status(), now, grants=[id])

    async def _fallen(self, status: StatusDocument) -> Fallen:
        account, now = self._account, self._account.clock()
        after = Authority(account.document.document, status, account.book.grants.values())
        fallen = Fallen()
        for grant in account.book.grants.values():
            if grant.document.id not in status.grants and grant.document.exp > now and _falls(after, grant, now):
                fallen.grants.append(grant)
        for kind, cls, permissions in OWNED:
            async for one in self._directory.documents(kind, cls, ACCOUNT_SCOPE):
                document = one.verified or self._signed(one)
                if document is None or getattr(document.document, "deleted", False):
                    continue
                scope = Scope.parse(getattr(document.document, "scope", "account"))
                resource = None if kind in {"scope", "template"} else _resource(document.document)
                try:
                    for permission in permissions:
                        after.chain(document.kid, permission, scope, resource, now)
                except Denied:
                    fallen.documents.append(document)
        return fallen

    def _signed(self, refused: Listed[Revisioned]) -> Verified[Revisioned] | None:
        """A document that nobody stands behind any more, if it was really signed by whom it says."""
        if not isinstance(refused.refused, Denied):
            return None
        try:
            return cast(Verified[Revisioned], self._account.book.verify(parse(refused.shown.compact)))
        except PrivySealError:
            return None

    def _must_administer(self) -> None:
        if not self._account.is_administrator and self._account.book.account is not None:
            raise Denied(
                "not_administrator", "only an administrator revokes", "ask one: privyseal account show lists them"
            )


def _falls(after: Authority, grant: Verified[GrantDocument], now: int) -> bool:
    try:
        after.found(grant, now)
    except Denied:
        return True
    return False


def principal_of(name: str, key: str, type_: str) -> Principal:
    """The principal of a grant. Raises Malformed for a key that is none."""
    VerifyingKey.of(key)
    return Principal(check_name(name, "principal"), key, "person" if type_ == "person" else "service")


def _resource(document: Revisioned) -> str:
    return document.resource if isinstance(document, ConnectorDocument) else str(getattr(document, "id", ""))
