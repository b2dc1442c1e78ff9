"""Copies of secrets: a value that is at one connector is stored anew at another, under another name.

Promises: nothing is revealed before it is clear that the copy may have a place; the value is in this client's memory alone, on
its way from a sealed answer into a sealed task, and nowhere on disk. The secret that is copied stays as it is. Must not copy
what has no value of its own here: references and SSHKeys are described anew instead.
"""

from __future__ import annotations

from typing import cast

from client.account import Account
from client.directory import Directory
from client.secrets import Secrets, SecretType, Stored
from shared.connectors.local import built_in_disabled
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.usage import TaskUsage
from shared.errors import Conflict, Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope


class Copies:
    """One account's."""

    def __init__(self, account: Account, directory: Directory, secrets: Secrets) -> None:
        self._account = account
        self._directory = directory
        self._secrets = secrets

    async def copy(
        self, reference: str, connector: str, to: str | None = None, *, usage: TaskUsage | None = None
    ) -> tuple[SecretDocument, ConnectorDocument, Stored]:
        """The secret, the connector where its copy is, and the copy: its newest value, with name, description, tags and usage.

        `to` is the copy's reference, by default the secret's with the connector's identifier behind it. Raises Malformed for
        what has no value of its own, Conflict where there is a secret of that name, and what revealing and storing raise.
        """
        known = await self._secrets.find(reference)
        secret = known.secret.document
        scope = Scope.parse(secret.scope)
        _check_has_value(secret)
        via = (await self._directory.connector(Reference.parse(connector, self._secrets.here))).document
        if via.id == secret.connector:
            raise Conflict(
                "connector_same", f"{secret.identifier} is at {via.identifier} already", "name another connector"
            )
        if via.is_disabled:
            raise built_in_disabled()
        if via.type == CUSTOM:
            raise Malformed(
                "copy_needs_inputs",
                f"{via.identifier} keeps a value by inputs of its own, which a copy doesn't have",
                "store it there with: privyseal secret set --connector REF --input NAME=VALUE",
            )
        place = self._secrets.reference(to) if to else Reference(scope, f"{secret.identifier}_{via.identifier}"[:128])
        await self._check_free(place)
        value = await self._secrets.reveal(str(Reference(scope, secret.identifier)), usage=usage)
        stored = await self._secrets.store(
            place,
            value,
            type=cast(SecretType, secret.type),
            name=secret.name,
            description=secret.description,
            tags=secret.tags,
            filename=secret.filename,
            connector=str(Reference(Scope.parse(via.scope), via.identifier)),
            usage=usage,
            labels=secret.usage,
        )
        return secret, via, stored

    async def _check_free(self, place: Reference) -> None:
        (found,) = await self._directory.find([place], fresh=True)
        if isinstance(found, NotFound):
            return
        if isinstance(found, PrivySealError):
            raise found
        raise Conflict("secret_exists", f"there is a secret {place} already", "give the copy another name with --as")


def _check_has_value(secret: SecretDocument) -> None:
    if secret.type == SSH_KEY:
        raise Malformed(
            "secret_is_login",
            f"{secret.identifier} is an SSHKey: it has no value",
            "copy the secrets that it names, and describe another with: privyseal apply",
        )
    if secret.reference:
        raise Malformed(
            "copy_of_reference",
            f"{secret.identifier} refers to what its provider has: there is no value of ours to copy",
            "make another secret that refers to it: privyseal secret set --refers-to",
        )
