"""Administrators: who they are is written in the account document, which only a root key signs.

Promises: nothing falls when one is removed; what he signed is adopted first. Must not keep the root key.
"""

from __future__ import annotations

from typing import cast

from msgspec import structs

from client.account import Account
from client.directory import Directory
from client.drafts import next_revision, next_status
from client.grants import MOST_AT_ONCE, OWNED
from client.publish import Publisher, Signable
from shared.crypto.identity import Identity
from shared.documents.account import AccountDocument, Administrator
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified, thumbprint
from shared.errors import Conflict, Denied, Malformed, NotFound
from shared.names import ACCOUNT_SCOPE


class Administrators:
    """One account's."""

    def __init__(self, account: Account, publisher: Publisher, directory: Directory) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory

    async def add(self, name: str, key: str, root: Identity) -> Verified[AccountDocument]:
        """Adds one by his public key. Raises Conflict for a name or key that is there, Denied for a foreign root key."""
        await self._account.sync(force=True)
        for one in self._account.document.document.administrators:
            if one.name == name or one.key == key:
                raise Conflict(
                    "administrator_exists", "there is an administrator of that name or key already", "see account show"
                )

        def make(now: int) -> list[Signable]:
            before = self._account.document.document.administrators
            return [self._revised((*before, Administrator(name, key)), root, now)]

        return cast(Verified[AccountDocument], (await self._publisher.publish(make))[0])

    async def remove(self, name: str, root: Identity) -> int:
        """Removes one, after adopting what he signed; how many documents that were. Raises NotFound, Denied, Malformed."""
        account = self._account
        await account.sync(force=True)
        gone = next((one for one in account.document.document.administrators if one.name == name), None)
        if gone is None:
            raise NotFound(
                "administrator_unknown", "there is no administrator of that name", "see privyseal account show"
            )
        kid = thumbprint(gone.key)
        if kid == account.identity.kid:
            raise Malformed(
                "administrator_self", "nobody removes himself: somebody has to adopt his documents", "let another do it"
            )
        if not account.is_administrator:
            raise Denied(
                "not_administrator", "only an administrator can adopt another's documents", "see privyseal account show"
            )
        signed = await self._signed_by(kid)
        for at in range(0, len(signed), MOST_AT_ONCE):
            part = signed[at : at + MOST_AT_ONCE]
            await self._publisher.publish(lambda now, part=part: [next_revision(one, now) for one in part])  # type: ignore[misc]

        def make(now: int) -> list[Signable]:
            left = tuple(one for one in account.document.document.administrators if one.name != name)
            return [self._revised(left, root, now), next_status(self._publisher.status(), now)]

        await self._publisher.publish(make)
        return len(signed)

    async def _signed_by(self, kid: str) -> list[Verified[Revisioned]]:
        """Documents that he signed and that count: keyrings, groups, grants, scopes, connectors, secrets."""
        book, now = self._account.book, self._account.clock()
        found: list[Verified[Revisioned]] = [one for one in book.keyrings.values() if one.kid == kid]
        found += [one for one in book.groups.values() if one.kid == kid]
        found += [one for one in book.grants.values() if one.kid == kid and one.document.exp > now]
        for kind, cls, _ in OWNED:
            async for one in self._directory.documents(kind, cls, ACCOUNT_SCOPE):
                if one.verified and one.signer == kid and not getattr(one.document, "deleted", False):
                    found.append(one.verified)
        return found

    def _revised(self, administrators: tuple[Administrator, ...], root: Identity, now: int) -> str:
        old = self._account.document
        if root.key not in old.document.roots:
            raise Denied("root_foreign", "that key is no root key of this account", "see privyseal account show")
        new = next_revision(old, now, administrators=administrators)
        return root.sign_document(structs.replace(new, consents={}))
