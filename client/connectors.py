"""Connectors: described in YAML, planned against what the account has, published as signed documents, tested by a delegate.

Promises: everything is checked before anything is published, and then all of it is published or nothing; what hasn't changed
gets no new revision; nobody signs a connector that names a secret which he may not use. Must not reach a provider.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from msgspec import structs

from client.account import Account
from client.built_in import check_switch
from client.changes import MOST_AT_ONCE, Change, described, publish
from client.credentials import NO_LOGINS, Credentials, references
from client.custom_managers import NOTHING, CustomManagers
from client.defaults import Defaults
from client.descriptions import Description, body_of, describe, yaml_of
from client.directory import Directory, Known
from client.dispatch import WAIT_SECONDS, perform
from client.drafts import new_id, next_revision
from client.listed import Listed
from client.manifest import Manifest
from client.placement import check_keyring, check_unchanged, keyring_for, usual_keyring
from client.publish import Publisher
from client.readers import Readers
from client.search import wanted
from client.tasks import SignedTask, Subject, place_of, sign_task
from client.templates import Planned
from shared.connectors.catalogue import Catalogue
from shared.documents.connector import BUILT_IN, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.usage import TaskUsage
from shared.errors import Conflict, Denied, NotFound, PrivySealError
from shared.names import ACCOUNT_SCOPE, Reference, Scope

FIELDS = ("name", "description", "tags", "selectors", "where", "secrets", "spec", "usage", "template")


@dataclass(frozen=True, slots=True)
class ConnectorChange(Change[Description, ConnectorDocument]):
    """Of a connector. `default_keyring` is the one that its YAML needn't name."""

    default_keyring: str

    def text(self, document: ConnectorDocument) -> str:
        """Its YAML."""
        bound = f"# runs the content {document.template.content}\n" if document.template else ""
        return bound + yaml_of(body_of(document, self.default_keyring))


@dataclass(frozen=True, slots=True)
class Tested:
    """A delegate's signed word that a connector works from where it is."""

    connector: Verified[ConnectorDocument]
    delegate: str
    name: str
    milliseconds: int


class Connectors:
    """One account's. `here` is where bare names live."""

    def __init__(
        self,
        account: Account,
        publisher: Publisher,
        directory: Directory,
        readers: Readers,
        here: Scope,
        kinds: Catalogue,
        custom: CustomManagers,
    ) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory
        self._readers = readers
        self._kinds = kinds
        self._custom = custom
        self._credentials = Credentials(account, directory)
        self._defaults = Defaults(account, directory)
        self.here = here

    # ---- planning and publishing

    async def plan(
        self,
        manifests: Sequence[Manifest],
        *,
        keyring: str | None = None,
        templates: Planned = NOTHING,
        logins: Mapping[Reference, Known] = NO_LOGINS,
    ) -> list[ConnectorChange]:
        """What the manifests come to, in their order; `keyring` is for new connectors whose description names none.

        `templates` and the SSHKeys `logins` are to be made before. A custom secret manager comes to run the content that is looked at here.

        Raises Malformed for wrong fields (file, line, path; more of them in the fact `problems`), Denied for what this
        identity may not sign or use, NotFound for a secret or keyring that isn't there.
        """
        found = described(manifests, self._describe, lambda one: one.place, most=MOST_AT_ONCE)
        await self._account.sync(force=True)
        own = await self.default_keyring()
        changes = [await self._change(one, own, keyring, templates) for one in found]
        wanted = {one.wanted.id: (one.description, one.wanted) for one in changes}
        # What gives the flag up comes behind, so that each of the manifests finds its change at its place.
        changes += [
            ConnectorChange(one.description, one.before, one.wanted, self._usual(one.wanted, own))
            for one in await self._defaults.demoted(wanted, self._kinds)
        ]
        planned = {one.wanted.id: one.wanted for one in changes}
        for one in changes:
            await self._check(one, planned, logins)
        return changes

    async def apply(self, changes: Sequence[ConnectorChange]) -> list[Verified[ConnectorDocument]]:
        """Publishes what a plan changes, in one batch; the documents as they are now, in the plan's order.

        Raises Conflict when somebody else changed one of them meanwhile: plan again.
        """
        return await publish(self._publisher, changes, FIELDS)

    async def default_keyring(self) -> str:
        """The keyring of connectors that name none: the built-in's."""
        return (await self._directory.connector(None)).document.keyring

    def _usual(self, document: ConnectorDocument, own: str) -> str:
        return usual_keyring(self._account.book, runs_on_delegate=document.runs_on_delegate, own=own)

    async def bodies(self, documents: Iterable[ConnectorDocument]) -> list[dict[str, Any]]:
        """Connectors in the words of their YAML; a keyring is named where `plan` wouldn't take it by itself."""
        own = await self.default_keyring()
        return [body_of(one, self._usual(one, own)) for one in documents]

    def _describe(self, manifest: Manifest) -> Description:
        return describe(manifest, self._kinds)

    async def _change(self, wanted: Description, own: str, keyring: str | None, templates: Planned) -> ConnectorChange:
        try:
            before: Verified[ConnectorDocument] | None = await self._directory.connector(wanted.place)
        except NotFound:
            before = None
        fields: dict[str, Any] = {
            "name": wanted.name,
            "description": wanted.description,
            "tags": wanted.tags,
            "selectors": wanted.settings.selectors(),
            "where": wanted.settings.condition(),
            "secrets": references(wanted, wanted.place.scope),
            "spec": wanted.spec,
            "usage": wanted.usage,
            **await self._custom.bound(wanted, templates),
        }
        if before is not None:
            check_unchanged(wanted, before.document)
            changed = structs.replace(before.document, **fields)
            return ConnectorChange(wanted, before, changed, self._usual(changed, own))
        document = ConnectorDocument(
            v=1,
            acct=self._account.id,
            id=new_id(),
            rev=1,
            iat=self._account.clock(),
            scope=str(wanted.place.scope),
            identifier=wanted.place.identifier,
            type=wanted.type,
            keyring=keyring_for(self._account.book, wanted, wanted.keyring or keyring, own),
            **fields,
        )
        return ConnectorChange(wanted, None, document, self._usual(document, own))

    async def _check(
        self, change: ConnectorChange, planned: Mapping[str, ConnectorDocument], logins: Mapping[Reference, Known]
    ) -> None:
        """(1) Its keyring may serve it, (2) it switches nothing on or off, (3) the identity may sign it and use what it names."""
        account, wanted = self._account, change.wanted
        if change.action == "none":
            return
        check_keyring(account.book, change.description, wanted)
        check_switch(change.description, change.before.document if change.before else None, wanted)
        scope = Scope.parse(wanted.scope)
        account.book.authority.chain(account.identity.kid, "edit", scope, wanted.resource, account.clock())
        await self._credentials.check(change.description, wanted, planned, logins)

    # ---- looking

    async def find(self, reference: str) -> Verified[ConnectorDocument]:
        """A connector by `account.x`, `org.x` or `x`. Raises NotFound."""
        await self._account.sync()
        return await self._directory.connector(Reference.parse(reference, self.here))

    async def plan_of(self, reference: str) -> list[dict[str, Any]]:
        """How a delegate comes to the connector's credentials: a row for each secret that it names, then for what holds those.

        `state` is `ok`, or why the secret can't be had: the code of the error.
        """
        await self._account.sync()
        return await self._credentials.plan_of(await self._directory.connector(Reference.parse(reference, self.here)))

    async def all(
        self, scope: Scope, *, below: bool, search: str = "", types: Collection[str] = ()
    ) -> list[Listed[ConnectorDocument]]:
        """The living connectors at `scope`, or at it and below it, by place; those of `types` whose words or tags have `search`."""
        await self._account.sync()
        living = [
            one
            async for one in self._directory.documents("connector", ConnectorDocument, scope, below=below)
            if not one.document.deleted and wanted(one.document, search, types)
        ]
        return sorted(living, key=lambda one: (one.document.scope, one.document.identifier))

    async def text(self, document: ConnectorDocument) -> str:
        """The connector's YAML, as `plan` takes it."""
        (body,) = await self.bodies([document])
        return yaml_of(body)

    async def users(self, connector: Verified[ConnectorDocument]) -> list[SecretDocument]:
        """The living secrets at a connector, as far as this identity sees them, believed or not."""
        document = connector.document
        found = [
            one.document
            async for one in self._directory.documents("secret", SecretDocument, Scope.parse(document.scope))
            if one.document.connector == document.id and not one.document.deleted
        ]
        return sorted(found, key=lambda one: (one.scope, one.identifier))

    # ---- delete and test

    async def delete(self, reference: str) -> Verified[ConnectorDocument]:
        """Publishes a connector's last revision.

        Raises NotFound, Denied for the built-in, Conflict (with the fact `secrets`) while secrets are at it.
        """
        connector = await self.find(reference)
        document = connector.document
        if (document.scope, document.identifier) == (str(ACCOUNT_SCOPE), BUILT_IN):
            raise Denied("connector_built_in", "the built-in secret manager can't be deleted", "leave it unused")
        users = [str(place_of(one)) for one in await self.users(connector)]
        if users:
            raise Conflict(
                "connector_in_use",
                f"{len(users)} secret{'s are' if len(users) > 1 else ' is'} at the connector {document.identifier}",
                "delete them first, or store them anew at another connector",
                secrets=users,
            )
        await self._publisher.publish(lambda now: [next_revision(connector, now, deleted=True)])
        return connector

    async def test(self, reference: str, *, selectors: Sequence[str] = (), usage: TaskUsage | None = None) -> Tested:
        """Has a delegate try the connector, by a bounded probe that writes nothing. Raises the delegate's signed error.

        NotReady `no_delegate` says for each delegate why it couldn't take it.
        """
        return await self.test_document(await self.find(reference), selectors=selectors, usage=usage)

    async def test_document(
        self,
        connector: Verified[ConnectorDocument],
        *,
        selectors: Sequence[str] = (),
        usage: TaskUsage | None = None,
    ) -> Tested:
        """`test` of a connector at hand."""
        account = self._account
        await account.sync()
        if connector.document.secrets:
            await self._directory.connector(place_of(connector.document))

        def make() -> SignedTask:
            newest = self._newest(connector)
            return sign_task(
                account.book,
                account.identity,
                "check",
                [Subject(None, newest)],
                self._readers.take(),
                account.clock(),
                selectors=selectors,
                credentials=self._directory.credentials([newest]),
                usage=usage,
                lasting_seconds=account.patience.lasting_seconds,
            )

        began = time.monotonic()
        _, opened = await perform(account, make, self._directory.learn, WAIT_SECONDS)
        for item in opened.items:
            if isinstance(item, PrivySealError):
                raise item
        return Tested(connector, opened.delegate, opened.name, round((time.monotonic() - began) * 1000))

    def _newest(self, one: Verified[ConnectorDocument]) -> Verified[ConnectorDocument]:
        newest = self._account.book.newest(one.document)
        found = self._account.book.find(newest[1]) if newest else None
        return cast("Verified[ConnectorDocument] | None", found) or one
