"""Deleting a secret: who names it, its versions at their provider, its last revision.

Promises: nothing that something names is deleted unless who administers its scope insists; what isn't this identity's to delete
is refused before a value is gone; a delegate that is named deletes once. Must not delete what the provider had before.
"""

from __future__ import annotations

from collections.abc import Sequence

from client.account import Account
from client.candidates import candidate
from client.directory import Directory
from client.dispatch import perform
from client.drafts import next_revision
from client.outcomes import raise_first
from client.readers import Readers
from client.tasks import SignedTask, Subject, connectors_in_use, place_of, places_of, sign_task
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.template import TemplateDocument
from shared.documents.usage import TaskUsage
from shared.errors import Conflict
from shared.names import Reference, Scope

Naming = ConnectorDocument | SecretDocument | TemplateDocument
"""What may name a secret."""

_KINDS = {ConnectorDocument: "connector", SecretDocument: "SSHKey", TemplateDocument: "template"}


class Deletion:
    """One account's."""

    def __init__(self, account: Account, directory: Directory, readers: Readers) -> None:
        self._account = account
        self._directory = directory
        self._readers = readers

    async def users(self, secret: SecretDocument) -> list[Naming]:
        """The living connectors, templates and SSHKeys that name a secret, as far as this identity sees them, believed or not."""
        place, found = place_of(secret), list[Naming]()
        for kind, cls in (("connector", ConnectorDocument), ("secret", SecretDocument), ("template", TemplateDocument)):
            async for one in self._directory.documents(kind, cls, place.scope):
                assert isinstance(one.document, Naming)
                if not one.document.deleted and place in places_of(one.document):
                    found.append(one.document)
        return sorted(found, key=lambda one: (one.scope, one.identifier))

    async def delete(
        self, place: Reference, selectors: Sequence[str], *, force: bool, usage: TaskUsage | None, wait_seconds: float
    ) -> Verified[SecretDocument]:
        """(1) Nothing names it, (2) its last revision may be signed, (3) its values go, (4) so does its document."""
        await self._account.sync()
        known = await self._directory.one(place, fresh=True)
        account, secret = self._account, known.secret.document
        await self._check_unused(secret, force)
        # Its last revision is a document: who may not sign that mustn't delete the values first.
        scope = Scope.parse(secret.scope)
        account.book.authority.chain(account.identity.kid, "delete", scope, secret.id, account.clock())
        if secret.type != SSH_KEY:
            await self._delete_values(place, selectors, usage, wait_seconds)
        last = account.identity.sign_document(
            next_revision(self._directory.current(place).secret, account.clock(), deleted=True)
        )
        await account.post([last])
        self._directory.forget([place])
        return known.secret

    async def _delete_values(
        self, place: Reference, selectors: Sequence[str], usage: TaskUsage | None, wait_seconds: float
    ) -> None:
        account, known = self._account, self._directory.current(place)
        used = [known.connector, *connectors_in_use(self._directory.credentials([known.connector]))]
        to = (await candidate(account, used, known.secret.document.scope, selectors)).thumbprint

        def make() -> SignedTask:
            now_known = self._directory.current(place)
            subject = Subject(now_known.secret, now_known.connector)
            return sign_task(
                account.book,
                account.identity,
                "delete",
                [subject],
                self._readers.take(),
                account.clock(),
                selectors=selectors,
                to=to,
                credentials=self._directory.credentials([now_known.connector]),
                usage=usage,
            )

        _, opened = await perform(account, make, self._directory.learn, wait_seconds)
        raise_first(opened)

    async def _check_unused(self, secret: SecretDocument, force: bool) -> None:
        if force:
            account = self._account
            account.book.authority.chain(
                account.identity.kid, "admin", Scope.parse(secret.scope), secret.id, account.clock()
            )
            return
        users = await self.users(secret)
        if users:
            kinds = sorted({_KINDS[type(one)] for one in users})
            what = f"{len(users)} {' or '.join(kinds)}{'s name' if len(users) > 1 else ' names'}"
            raise Conflict(
                "secret_in_use",
                f"{what} the secret {secret.identifier}",
                "change them first; who administers the scope can insist with --force",
                connectors=[name_of(one) for one in users],
            )


def kind_of(one: Naming) -> str:
    """What names a secret, in a word."""
    return _KINDS[type(one)]


def name_of(one: Naming) -> str:
    """Its reference; a template's with the version."""
    label = f"@{one.version}" if isinstance(one, TemplateDocument) else ""
    return f"{Reference(Scope.parse(one.scope), one.identifier)}{label}"
