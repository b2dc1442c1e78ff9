"""Templates: described in YAML, planned against what the account has, published as signed documents, found by name and label.

Promises: a label stands for one content: what is there under it is never replaced, only told apart by a diff; nobody signs a
template that names a secret which he may not use; everything is checked before anything is published. Must not run a script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import structs

from client.account import Account
from client.changes import MOST_AT_ONCE, Change, described, publish
from client.credentials import Credentials
from client.directory import Directory
from client.drafts import new_id, next_revision
from client.listed import Listed
from client.manifest import Manifest
from client.publish import Publisher
from client.tasks import place_of
from client.template_descriptions import TemplateDescription, describe_template, template_body, template_yaml
from client.yaml_texts import unified
from shared.canonical import digest
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SSH_KEY
from shared.documents.template import TemplateDocument, content_digest
from shared.errors import Conflict, NotFound, Tampered
from shared.names import Reference, Scope, check_version_label
from shared.trust.uses import TEMPLATE_PERMISSIONS

_FREE = ("name", "description", "tags")
"""What may change of a version: nothing of it decides what a script does."""


class TemplateChange(Change[TemplateDescription, TemplateDocument]):
    """Of a template's version."""

    __slots__ = ()

    @property
    def place_name(self) -> str:
        """NAME@LABEL."""
        return self.wanted.place_name

    def text(self, document: TemplateDocument) -> str:
        """Its YAML."""
        return template_yaml(template_body(document))


class Templates:
    """One account's. `here` is where bare names live."""

    def __init__(self, account: Account, publisher: Publisher, directory: Directory, here: Scope) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory
        self._credentials = Credentials(account, directory)
        self.here = here

    # ---- planning and publishing

    async def plan(self, manifests: Sequence[Manifest]) -> list[TemplateChange]:
        """What the manifests come to, in their order.

        Raises Malformed for wrong fields (file, line, path; more of them in the fact `problems`), Conflict (with the fact
        `diff`) for another content under a label that is there, Denied for what this identity may not sign or use, NotFound.
        """
        found = described(
            manifests, describe_template, lambda one: (one.place, one.version), "versionLabel", MOST_AT_ONCE
        )
        if not found:
            return []
        await self._account.sync(force=True)
        changes = [await self._change(one) for one in found]
        for one in changes:
            await self._check(one)
        return changes

    async def apply(self, changes: Sequence[TemplateChange]) -> list[Verified[TemplateDocument]]:
        """Publishes what a plan changes, in one batch; the documents as they are now, in the plan's order. Raises Conflict."""
        return await publish(self._publisher, changes, _FREE)

    async def _change(self, wanted: TemplateDescription) -> TemplateChange:
        before = await self.at(wanted.place, wanted.version)
        fields: dict[str, Any] = {name: getattr(wanted, name) for name in _FREE}
        if before is None:
            await self._directory.must_exist(wanted.place.scope)
            document = TemplateDocument(
                v=1,
                acct=self._account.id,
                id=new_id(),
                rev=1,
                iat=self._account.clock(),
                scope=str(wanted.place.scope),
                identifier=wanted.place.identifier,
                version=wanted.version,
                content=wanted.content,
                **fields,
            )
            return TemplateChange(wanted, None, document)
        if before.document.content != wanted.content:
            other = structs.replace(before.document, content=wanted.content, **fields)
            manifest = wanted.manifest
            diff = template_diff(before.document, other, f"{manifest.source}:{manifest.line}")
            placed = wanted.refused(
                "versionLabel",
                f"the version {wanted.version} of {wanted.place.identifier} is there with another content, which never changes",
                "give it another versionLabel; connectors go on with theirs until they name the new one",
            )
            raise Conflict("template_version_taken", placed.detail, placed.hint, **placed.facts, diff=diff)
        return TemplateChange(wanted, before, structs.replace(before.document, **fields))

    async def _check(self, change: TemplateChange) -> None:
        """The identity may sign it, and may use the secrets that it names, which are there."""
        account, wanted, scope = self._account, change.wanted, Scope.parse(change.wanted.scope)
        if change.action == "none":
            return
        for permission in TEMPLATE_PERMISSIONS:
            account.book.authority.chain(account.identity.kid, permission, scope, None, account.clock())
        for reference in wanted.content.secrets:
            field = change.description.path_of(reference)
            known = await self._credentials.named(change.description, field, Reference.parse(reference, scope))
            if known.secret.document.type == SSH_KEY:
                raise change.description.refused(
                    field,
                    f"{reference} is an SSHKey, and a script would be given its private key",
                    "name it in the connectorRef of the connector",
                    code="credential_unfit",
                )

    # ---- looking

    async def at(self, place: Reference, version: str) -> Verified[TemplateDocument] | None:
        """One version at exactly that place; None where there is none, or it isn't shown.

        Raises why it isn't believed, Tampered where something else is shown for it.
        """
        name = f"{place.identifier}@{version}"
        query = {"scope": str(place.scope), "identifier": name}
        compacts = (await self._account.ask("GET", "documents/template", query=query)).json().get("documents") or ()
        for why in self._account.believe_all(compacts).values():
            raise why
        found: Verified[TemplateDocument] | None = None
        for compact in compacts:
            known = self._account.book.find(digest(compact))
            document = known.document if known is not None else None
            if not isinstance(document, TemplateDocument):
                raise _unasked()
            if (document.scope, document.place_name) != (str(place.scope), name):
                raise _unasked()
            newest = self._account.book.head("template", document.id)
            one = cast("Verified[TemplateDocument]", newest or known)
            if not one.document.deleted:
                if found is not None and found.document.id != one.document.id:
                    raise Tampered(
                        "template_doubled",
                        f"the manager shows two templates {name} in {place.scope}",
                        "don't trust this manager until you know why",
                    )
                found = one
        return found

    async def find(self, reference: str) -> Verified[TemplateDocument]:
        """A version by `account.NAME@LABEL`, `org.NAME@LABEL`, `NAME@LABEL`; without a label the newest. Raises NotFound."""
        name, at, label = reference.partition("@")
        place = Reference.parse(name, self.here)
        await self._account.sync()
        if at:
            return await self.version(place, check_version_label(label))
        versions = await self.versions(place)
        if not versions:
            raise _unknown(place, "")
        return versions[0]

    async def version(self, place: Reference, label: str) -> Verified[TemplateDocument]:
        """One version at exactly that place. Raises NotFound."""
        found = await self.at(place, label)
        if found is None:
            raise _unknown(place, label)
        return found

    async def versions(self, place: Reference) -> list[Verified[TemplateDocument]]:
        """The living versions that are believed of one template, the newest first: by their labels, numbers by their value."""
        found = await self.all(place.scope, below=False)
        mine = [one.verified for one in found if one.verified and one.document.identifier == place.identifier]
        return sorted(mine, key=lambda one: order_of(one.document.version), reverse=True)

    async def all(self, scope: Scope, *, below: bool, search: str = "") -> list[Listed[TemplateDocument]]:
        """The living versions at `scope`, or at it and below it, by place; those whose names or description have `search`."""
        await self._account.sync()
        living = [
            one
            async for one in self._directory.documents("template", TemplateDocument, scope, below=below)
            if not one.document.deleted and _has(one.document, search)
        ]
        return sorted(
            living, key=lambda one: (one.document.scope, one.document.identifier, order_of(one.document.version))
        )

    async def users(self, template: TemplateDocument) -> list[ConnectorDocument]:
        """The living connectors that run it, as far as this identity sees them, believed or not."""
        found = [
            one.document
            async for one in self._directory.documents("connector", ConnectorDocument, Scope.parse(template.scope))
            if not one.document.deleted and one.document.template and one.document.template.id == template.id
        ]
        return sorted(found, key=lambda one: (one.scope, one.identifier))

    # ---- delete

    async def delete(self, reference: str) -> Verified[TemplateDocument]:
        """Publishes a version's last revision. Raises NotFound, Conflict (fact `connectors`) while connectors run it."""
        template = await self.find(reference)
        users = [str(place_of(one)) for one in await self.users(template.document)]
        if users:
            raise Conflict(
                "template_in_use",
                f"{len(users)} connector{'s run' if len(users) > 1 else ' runs'} the template {template.document.place_name}",
                "reconcile them with another version first, or delete them",
                connectors=users,
            )
        await self._publisher.publish(lambda now: [next_revision(template, now, deleted=True)])
        return template


def template_place(document: TemplateDocument) -> Reference:
    """Where a template lives, whatever its version."""
    return Reference(Scope.parse(document.scope), document.identifier)


def template_diff(before: TemplateDocument | None, after: TemplateDocument, source: str) -> str:
    """A unified diff of two versions' YAML; `source` says where the second comes from."""
    old = template_yaml(template_body(before)) if before else ""
    left = f"{before.scope}/{before.place_name}" if before else "/dev/null"
    if before and content_digest(before) == content_digest(after):
        left += f" (revision {before.rev})"
    right = f"{after.scope}/{after.place_name}" + (f" ({source})" if source else "")
    return unified(old, template_yaml(template_body(after)), left, right)


def order_of(label: str) -> tuple[tuple[int, int, str], ...]:
    """What labels are sorted by: v2 comes before v10. When one was signed says nothing: it may be described anew, or adopted."""
    parts = re.findall(r"[0-9]+|[^0-9]+", label)
    return (*((0, int(one), one) if one[0] in "0123456789" else (1, 0, one) for one in parts), (-1, 0, label))


def _has(document: TemplateDocument, search: str) -> bool:
    words = (document.identifier, document.name, document.version, document.description, *document.tags)
    return search.casefold() in " ".join(words).casefold()


def _unknown(place: Reference, label: str) -> NotFound:
    what = f"the version {label} of the template" if label else "a template"
    return NotFound(
        "template_unknown",
        f"there is no {what.removeprefix('the ').removeprefix('a ')} {place.identifier} in {place.scope}",
        "look which there are: privyseal template list --all",
    )


def _unasked() -> Tampered:
    return Tampered("template_unasked", "the manager answered with another template than was asked for")


Planned = Mapping[tuple[Reference, str], TemplateDocument]
"""Templates that are to be made before, by place and label."""


def planned(changes: Sequence[TemplateChange]) -> Planned:
    """What a plan makes."""
    return {(one.description.place, one.description.version): one.wanted for one in changes}
