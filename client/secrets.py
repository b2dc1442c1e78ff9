"""Secrets: stored by sealing them here, revealed by opening them here, deleted by one named delegate.

Promises: a value is sealed before it leaves and opened only from a delegate's signed answer; limits are told before
anything is sent. A store that is refused leaves nothing behind: its documents are published together with its outcome.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from msgspec import UNSET, UnsetType, structs

from client.account import Account
from client.defaults import Defaults
from client.deletion import Deletion, Naming
from client.directory import Directory, Known
from client.dispatch import WAIT_SECONDS, perform
from client.drafts import changed_fields, moved_fields, new_id, next_revision
from client.limits import too_long
from client.listed import Listed
from client.meanings import NOTHING, meaning, stored
from client.outcomes import Opened, raise_first
from client.readers import Readers
from client.reveals import Reveals
from client.search import wanted
from client.tasks import SignedTask, Subject, sign_task
from client.versions import Version, versions_of
from shared.connectors.local import built_in_disabled
from shared.crypto.identity import Identity
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import LARGEST_VALUE_BYTES, SSH_KEY, SecretDocument
from shared.documents.usage import TaskUsage, Usage
from shared.errors import Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope, check_name
from shared.references import DirectReference
from shared.trust.book import Book

MOST_IN_A_TASK = 1_000
_MOST_TASKS_AT_ONCE = 4

SecretType = Literal["SecretText", "SecretFile"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store came to: the secret's document, its new version, and the delegate that stored it."""

    secret: Verified[SecretDocument]
    n: int
    version: str
    delegate: str
    created: bool


class Secrets:
    """One account's. `here` is where bare names live."""

    def __init__(self, account: Account, directory: Directory, readers: Readers, here: Scope) -> None:
        self._account = account
        self._directory = directory
        self._readers = readers
        self.here = here
        self.wait_seconds = WAIT_SECONDS
        self._reveals = Reveals(account, directory, readers)
        self._defaults = Defaults(account, directory)
        self._deletion = Deletion(account, directory, readers)

    def reference(self, text: str) -> Reference:
        """The stored secret that `account.x`, `org.x`, `x` or an expression means here. Raises Malformed."""
        return stored(text, self.here)

    # ---- store

    async def store(
        self,
        reference: str | Reference,
        value: Plaintext,
        *,
        type: SecretType | None = None,  # noqa: A002 (the document's word)
        name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        filename: str = "",
        connector: str | None = None,
        selectors: Sequence[str] = (),
        refers_to: str = "",
        metadata: Mapping[str, str] | None = None,
        usage: TaskUsage | None = None,
        labels: Usage | UnsetType | None = UNSET,
    ) -> Stored:
        """Stores `value` as a new secret or as the next version of an existing one.

        With `refers_to` the secret is one that the provider has already (`path` or `path#key`): the value is empty, and a
        delegate fetches it once to see that it can. `metadata` is what the provider needs besides.
        `usage` is what the task is for; `labels` what the secret is to be for from now on (None: anything).

        A new one without a `connector` goes to the default one of its scope, else of those above, else to the built-in.
        `type` is by default what the secret is; for a new one, a file where there is a filename. Raises Malformed for a
        value of more than 10,000,000 bytes or another type than the secret has, Denied (`built_in_disabled`
        among others), NotReady when no delegate takes it, Conflict when others keep changing it.
        """
        check_size(value)
        if refers_to and len(value):
            raise Malformed("reference_with_value", "a secret that refers to another has no value", "leave one out")
        place = reference if isinstance(reference, Reference) else self.reference(reference)
        await self._account.sync()
        (found,) = await self._directory.find([place], fresh=True)
        if isinstance(found, PrivySealError) and not isinstance(found, NotFound):
            raise found
        if isinstance(found, Known) and found.secret.document.type == SSH_KEY:
            raise Malformed(
                "secret_is_login", f"{place} is an SSHKey: it has no value", "change it with: privyseal apply"
            )
        created = isinstance(found, PrivySealError)
        wanted = Reference.parse(connector, place.scope) if connector else None
        new = changed = None
        if isinstance(found, Known):
            via = found.connector
        else:
            via = await (self._directory.connector(wanted) if wanted else self._defaults.of(place.scope))
        if via.document.is_disabled and not (isinstance(found, Known) and found.n):
            raise built_in_disabled()
        if isinstance(found, Known):
            await self._check_same(found, type, wanted, refers_to)
            changed = changed_fields(found.secret.document, name, description, tags, filename)
            changed |= moved_fields(found.secret.document, refers_to, metadata)
            changed |= {} if labels in (UNSET, found.secret.document.usage) else {"usage": labels}
        else:
            await self._directory.must_exist(place.scope)
            kind: SecretType = type or ("SecretFile" if filename else "SecretText")
            new = self._new_document(place, via, kind, name, description, tags, filename)
            new = structs.replace(new, reference=refers_to, metadata=dict(metadata or {}), usage=labels or None)

        def make() -> SignedTask:
            account, now, reader = self._account, self._account.clock(), self._readers.take()
            draft = account.book.draft()
            if new is not None:
                subject = Subject(_admitted(draft, account.identity, new, now), via, 1)
            else:
                known = self._directory.current(place)
                secret = known.secret
                if changed:
                    secret = _admitted(draft, account.identity, next_revision(secret, now, **changed), now)
                subject = Subject(secret, known.connector, known.n + 1, known.version)
            assert subject.secret is not None
            documents = [subject.secret.compact] if new or changed else []
            return sign_task(
                draft,
                account.identity,
                "store",
                [subject],
                reader,
                now,
                values=[value],
                selectors=selectors,
                credentials=self._directory.credentials([subject.connector]),
                documents=documents,
                usage=usage,
                lasting_seconds=self._account.patience.lasting_seconds,
            )

        task, opened = await perform(self._account, make, self._directory.learn, self.wait_seconds)
        raise_first(opened)
        return self._stored(place, task, opened, via, created)

    def _stored(
        self, place: Reference, task: SignedTask, opened: Opened, via: Verified[ConnectorDocument], created: bool
    ) -> Stored:
        for compact in task.documents:
            self._account.believe(compact)
        target = task.document.targets[0]
        known = self._directory.current(place) if not created else None
        pin = next(pin for pin in task.document.pins if pin.kind == "secret")
        found = self._account.book.find(pin.digest)
        assert found is not None
        assert isinstance(found.document, SecretDocument)
        assert target.secret is not None
        secret: Verified[SecretDocument] = found  # type: ignore[assignment]
        self._account.state.take_version(target.secret, target.n, task.digest)
        self._directory.remember(place, Known(secret, known.connector if known else via, target.n, task.digest))
        self._account.state.save()
        return Stored(secret, target.n, task.digest, opened.name, created)

    async def _check_same(
        self, found: Known, type_: SecretType | None, wanted: Reference | None, refers_to: str
    ) -> None:
        if found.n and bool(found.secret.document.reference) != bool(refers_to):
            raise Malformed(
                "value_type_differs",
                "the secret refers to one at its provider"
                if found.secret.document.reference
                else "the secret has values of its own, and can't come to refer to another",
                "change what it refers to with --refers-to"
                if found.secret.document.reference
                else "delete the secret first",
            )
        if type_ is not None and found.secret.document.type != type_:
            raise Malformed(
                "secret_type_differs",
                f"the secret exists as {found.secret.document.type}, and its type can't change",
                "give the same type, or delete the secret first",
            )
        if wanted is not None and (await self._directory.connector(wanted)).document.id != found.connector.document.id:
            raise Malformed(
                "secret_connector_differs",
                "the secret exists at another connector",
                "leave --connector out, or delete the secret first",
            )

    def _new_document(
        self,
        place: Reference,
        via: Verified[ConnectorDocument],
        type_: SecretType,
        name: str | None,
        description: str | None,
        tags: Mapping[str, str] | None,
        filename: str,
    ) -> SecretDocument:
        return SecretDocument(
            v=1,
            acct=self._account.id,
            id=new_id(),
            rev=1,
            iat=self._account.clock(),
            scope=str(place.scope),
            identifier=place.identifier,
            name=check_name(name or place.identifier, "name"),
            description=description or "",
            tags=dict(tags or {}),
            type=type_,
            connector=via.document.id,
            filename=filename if type_ == "SecretFile" else "",
        )

    # ---- reveal

    async def reveal(
        self,
        reference: str,
        *,
        version: int | None = None,
        selectors: Sequence[str] = (),
        excluded: bool = False,
        usage: TaskUsage | None = None,
        variables: Mapping[str, str] = NOTHING,
    ) -> Plaintext:
        """The value of a secret: its newest version, or the given one. Raises its error.

        The reference may name what a connector reads without a secret (`client.meanings`); `variables` are those of expressions.
        `excluded` accepts a value that was stored under an excluded generation of its keyring: whoever has that generation
        may have forged it. Without, such a value raises Denied (`generation_excluded`).
        """
        if version is not None:
            place = stored(reference, self.here, variables)
            return await self._reveals.version(place, version, selectors, excluded=excluded, usage=usage)
        meant = meaning(reference, self.here, variables)
        (item,) = await self._reveals.newest([meant], selectors, excluded=excluded, usage=usage)
        if isinstance(item, PrivySealError):
            raise item
        return item

    async def reveal_all(
        self,
        references: Sequence[str],
        *,
        selectors: Sequence[str] = (),
        excluded: bool = False,
        usage: TaskUsage | None = None,
        variables: Mapping[str, str] = NOTHING,
    ) -> list[Item]:
        """The newest value of each, in order; what couldn't be revealed is an error in its place.

        Those of one keyring and one set of selectors travel as one task, a thousand at most. `excluded` is as in `reveal`.
        """
        places = [meaning(text, self.here, variables) for text in references]
        return await self._reveals.newest(places, selectors, excluded=excluded, usage=usage)

    async def read_direct(
        self, wanted: Sequence[DirectReference], *, selectors: Sequence[str] = (), usage: TaskUsage | None = None
    ) -> list[Item]:
        """What connectors read without a secret document, in order, as in `reveal_all`; takes `fetch` besides `reveal`."""
        return await self._reveals.newest(wanted, selectors, usage=usage)

    # ---- looking

    async def find(self, reference: str) -> Known:
        """A secret's documents and its newest version. Raises NotFound."""
        await self._account.sync()
        return await self._directory.one(self.reference(reference), fresh=True)

    async def all(
        self, scope: Scope, *, below: bool, search: str = "", types: Collection[str] = ()
    ) -> list[Listed[SecretDocument]]:
        """The living secrets at `scope`, or at it and below it, by place; those of `types` whose words or tags have `search`."""
        await self._account.sync()
        living = [
            one
            async for one in self._directory.documents("secret", SecretDocument, scope, below=below)
            if not one.document.deleted and wanted(one.document, search, types)
        ]
        return sorted(living, key=lambda one: (one.document.scope, one.document.identifier))

    async def versions(self, reference: str) -> list[Version]:
        """All versions of a secret, oldest first. Raises NotFound, Tampered."""
        return await versions_of(self._account, await self.find(reference))

    # ---- delete

    async def users(self, secret: SecretDocument) -> list[Naming]:
        """The living connectors, templates and SSHKeys that name a secret, as far as this identity sees them, believed or not."""
        return await self._deletion.users(secret)

    async def delete(
        self,
        reference: str,
        *,
        selectors: Sequence[str] = (),
        force: bool = False,
        usage: TaskUsage | None = None,
    ) -> Verified[SecretDocument]:
        """Has one named delegate delete every version, then publishes the secret's last revision.

        What the provider had before (a reference) stays there; an SSHKey has nothing but its document. Raises Conflict (with
        the fact `connectors`) while something names it, unless who administers its scope says `force`; NotReady, Denied.
        """
        place = self.reference(reference)
        return await self._deletion.delete(place, selectors, force=force, usage=usage, wait_seconds=self.wait_seconds)


def check_size(value: Plaintext) -> None:
    """Raises Malformed for a value that is too long to be stored."""
    if len(value) > LARGEST_VALUE_BYTES:
        raise too_long()


def _admitted(draft: Book, identity: Identity, document: SecretDocument, now: int) -> Verified[SecretDocument]:
    """The document, signed, as everybody else will judge it. Raises Denied where nobody would believe it."""
    return cast(Verified[SecretDocument], draft.admit(identity.sign_document(document), now))
