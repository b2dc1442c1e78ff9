"""Plans for secrets: what descriptions come to against what the account has, and carrying that out.

Promises: everything is checked before anything is published. A secret whose value is ours is made without one, to be set by
itself; what refers to a provider's is fetched there once by a delegate, and isn't made if that fails. What hasn't changed is
left alone. Must not take a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from msgspec import structs

from client.account import Account
from client.changes import Change, described, publish
from client.credentials import Credentials, check_keyring
from client.custom_managers import CustomManagers
from client.directory import Directory, Known
from client.drafts import new_id, next_revision
from client.manifest import Manifest
from client.publish import Publisher
from client.secret_descriptions import INPUTS, SecretDescription, describe_secret, secret_body, secret_yaml
from client.secrets import Secrets
from shared.connectors.local import built_in_disabled
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.template import TemplateDocument
from shared.documents.usage import TaskUsage, Usage
from shared.errors import Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope

_TYPES: Mapping[str, Literal["SecretText", "SecretFile", "SSHKey"]] = {
    "SecretText": "SecretText",
    "SecretFile": "SecretFile",
    "SSHKey": "SSHKey",
}
_FREE = ("name", "description", "tags", "usage")
_BOUND = ("reference", "metadata", "spec", "secrets")
"""What a version is bound to: changing it takes a new one."""


class SecretChange(Change[SecretDescription, SecretDocument]):
    """Of a secret."""

    __slots__ = ()

    @property
    def is_fetched(self) -> bool:
        """Whether a delegate has to fetch it once."""
        if not self.wanted.reference or self.before is None:
            return bool(self.wanted.reference)
        return any(getattr(self.before.document, field) != getattr(self.wanted, field) for field in _BOUND)

    @property
    def lacks_value(self) -> bool:
        """Whether it is a secret whose value is still to be set."""
        return not self.wanted.reference and self.wanted.type != SSH_KEY

    def text(self, document: SecretDocument) -> str:
        """Its YAML, without a value."""
        return secret_yaml(secret_body(document, self.description.connector))


class SecretPlans:
    """One account's."""

    def __init__(
        self,
        account: Account,
        publisher: Publisher,
        directory: Directory,
        secrets: Secrets,
        custom: CustomManagers,
    ) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory
        self._secrets = secrets
        self._custom = custom
        self._credentials = Credentials(account, directory)

    async def plan(
        self,
        manifests: Sequence[Manifest],
        planned: Mapping[Reference, ConnectorDocument],
        templates: Iterable[TemplateDocument] = (),
    ) -> list[SecretChange]:
        """What the manifests come to, in their order. `planned` connectors and `templates` are to be made before.

        Raises Malformed for wrong fields (file, line, path; more in the fact `problems`), Denied, NotFound.
        """
        found = described(manifests, describe_secret, lambda one: one.place)
        if not found:
            return []
        await self._account.sync(force=True)
        known = await self._directory.find([one.place for one in found], fresh=True)
        new = {one.id: one for one in templates}
        return [await self._change(one, there, planned, new) for one, there in zip(found, known, strict=True)]

    async def _change(
        self,
        wanted: SecretDescription,
        found: Known | PrivySealError,
        planned: Mapping[Reference, ConnectorDocument],
        templates: Mapping[str, TemplateDocument],
    ) -> SecretChange:
        if isinstance(found, PrivySealError) and not isinstance(found, NotFound):
            raise found
        connector = planned.get(wanted.connector)
        if connector is None:
            connector = (await self._directory.connector(wanted.connector)).document
        fields: dict[str, Any] = {
            "name": wanted.name,
            "description": wanted.description,
            "tags": wanted.tags,
            "usage": wanted.usage,
            "reference": wanted.refers_to,
            "metadata": wanted.metadata,
            "spec": wanted.spec,
            "secrets": tuple(sorted(set(wanted.named.values()))),
        }
        await self._check_named(wanted, connector)
        await self._check_inputs(wanted, connector, templates)
        if isinstance(found, Known):
            before = found.secret
            self._check_same(wanted, before.document, connector)
            return SecretChange(wanted, before, structs.replace(before.document, **fields))
        await self._directory.must_exist(wanted.place.scope)
        if connector.is_disabled:
            raise built_in_disabled()
        scope = Scope.parse(str(wanted.place.scope))
        document = SecretDocument(
            v=1,
            acct=self._account.id,
            id=new_id(),
            rev=1,
            iat=self._account.clock(),
            scope=str(scope),
            identifier=wanted.place.identifier,
            type=_TYPES[wanted.type],
            connector=connector.id,
            **fields,
        )
        account = self._account
        account.book.authority.chain(account.identity.kid, "edit", scope, document.id, account.clock())
        return SecretChange(wanted, None, document)

    async def _check_named(self, wanted: SecretDescription, holder: ConnectorDocument) -> None:
        """The secrets that an SSHKey names are there, have values that the same delegates can open, and are its signer's to use."""
        for path, text in wanted.named.items():
            field = f"spec.{path}"
            known = await self._credentials.named(wanted, field, Reference.parse(text, wanted.place.scope))
            if known.secret.document.type == SSH_KEY:
                raise wanted.refused(
                    field,
                    f"{text} is an SSHKey itself",
                    "name the secret that holds the value",
                    code="credential_unfit",
                )
            check_keyring(wanted, field, known, holder.keyring)

    async def _check_inputs(
        self, wanted: SecretDescription, connector: ConnectorDocument, templates: Mapping[str, TemplateDocument]
    ) -> None:
        """What the secret says of its value is in the words of its secret manager's kind, and is what that asks for."""
        if wanted.type == SSH_KEY:
            return
        is_custom = connector.type == CUSTOM
        if (wanted.inputs is not None) != is_custom and (not is_custom or wanted.refers_to):
            raise wanted.refused(
                "spec.valueType",
                f"a secret at a {CUSTOM} has inputs" if is_custom else f"{connector.type} takes no inputs",
                f"give {INPUTS}" if is_custom else "give Inline or Reference",
            )
        if not is_custom:
            return
        content = await self._custom.content_of(connector, templates)
        if wanted.inputs is None and not content.write:
            raise wanted.refused(
                "spec.valueType",
                f"the template of {connector.identifier} only reads: no value can be kept there",
                f"give {INPUTS}, and the inputs as value",
            )
        try:
            # The inputs of a value that is written are its metadata.
            self._custom.check_inputs(content, connector, wanted.metadata if wanted.inputs is None else wanted.inputs)
        except Malformed as why:
            raise wanted.refused(
                "spec.value", why.detail, "say each that is asked for, and nothing else", code=why.code
            ) from None

    @staticmethod
    def _check_same(wanted: SecretDescription, before: SecretDocument, connector: ConnectorDocument) -> None:
        told = {
            "type": (wanted.type, before.type),
            "spec.secretManagerIdentifier": (connector.id, before.connector),
            "spec.valueType": (bool(wanted.refers_to), bool(before.reference)),
        }
        for path, (now, then) in told.items():
            if now != then:
                raise wanted.refused(
                    path,
                    "this can't change once the secret is made",
                    "delete the secret and make a new one, or give it another identifier",
                    code="field_immutable",
                )

    async def drafted(self, changes: Sequence[SecretChange]) -> dict[Reference, Known]:
        """What SSHKeys come to, by their places, for what is to name them before they are published."""
        account, found = self._account, dict[Reference, Known]()
        for one in changes:
            holder = await self._directory.connector(one.description.connector)
            fields = {name: getattr(one.wanted, name) for name in _FREE + _BOUND}
            document = next_revision(one.before, account.clock(), **fields) if one.before else one.wanted
            compact = account.identity.sign_document(document)
            secret = cast("Verified[SecretDocument]", account.book.draft().admit(compact, account.clock()))
            found[one.description.place] = Known(secret, holder)
        return found

    async def apply(self, changes: Sequence[SecretChange]) -> None:
        """Carries a plan out: what needs no delegate in one batch, then what refers to a provider's, one by one."""
        due = [one for one in changes if one.action != "none" and not one.is_fetched]
        await publish(self._publisher, due, _FREE + _BOUND)
        self._directory.forget([one.description.place for one in due])
        for one in changes:
            if one.action != "none" and one.is_fetched:
                await self._refer(one)

    async def _refer(self, change: SecretChange) -> None:
        wanted = change.description
        await self._secrets.store(
            wanted.place,
            Plaintext(b""),
            type="SecretText",
            name=wanted.name,
            description=wanted.description,
            tags=wanted.tags,
            connector=str(wanted.connector),
            refers_to=wanted.refers_to,
            metadata=wanted.metadata,
            labels=wanted.usage,
            usage=_first_of(wanted.usage),
        )


def _first_of(usage: Usage | None) -> TaskUsage | None:
    """What the fetch of a secret states that is for some usage alone: the first of them, which its signer has to be granted."""
    if usage is None:
        return None
    return TaskUsage(application=next(iter(usage.applications), None), environment=next(iter(usage.environments), None))
