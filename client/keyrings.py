"""Keyrings: made here, written to a file that its owner guards, published by their public half only.

Promises: a generation's seed is on disk before its public key is published, and the file before it is kept beside it; an
interrupted rotation goes on where it stopped. Must not send a seed anywhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from client.account import Account
from client.directory import Directory
from client.drafts import built_in_connector, next_revision, next_status
from client.home import only_one, read_private, write_private
from client.publish import Publisher, Signable
from shared.crypto.issuer import IssuerKey
from shared.crypto.keyring import SEED_BYTES, Keyring
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument, Oidc
from shared.documents.secret import SecretDocument
from shared.errors import Conflict, Denied, Malformed, NotFound
from shared.names import ACCOUNT_SCOPE, check_identifier


def new_keyring(account: str, name: str) -> Keyring:
    """A keyring of one generation, from fresh randomness. Takes some tenths of a second: not for an event loop."""
    seed = os.urandom(SEED_BYTES)
    return Keyring(account, check_identifier(name, "keyring"), [(1, seed)], {1: IssuerKey.generate()})


class Keyrings:
    """One account's."""

    def __init__(self, account: Account, publisher: Publisher, directory: Directory) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory

    async def all(self) -> list[Verified[KeyringDocument]]:
        """Every keyring, by name."""
        await self._account.sync(force=True)
        return [self._account.book.keyrings[name] for name in sorted(self._account.book.keyrings)]

    async def create(self, name: str, out: Path, *, platform: bool = False) -> Keyring:
        """Makes a keyring, writes its file to `out` and publishes it with a built-in connector of its own.

        `platform`: its delegates are the platform's own, for connectors with `executeOnDelegate: false` and no others.

        Raises Conflict when there is one of that name, Malformed when `out` exists, Denied for non-administrators.
        """
        check_identifier(name, "keyring")
        self._must_administer(await self.all())
        if name in self._account.book.keyrings:
            raise Conflict("keyring_exists", f"there is a keyring {name} already", "choose another name, or rotate it")
        if out.exists():  # noqa: ASYNC240 (a local file, once)
            keyring = self._resumed(out, name)
        else:
            keyring = await asyncio.to_thread(new_keyring, self._account.id, name)
            write_private(out, keyring.text(), once=True)

        def make(now: int) -> list[Signable]:
            connector = built_in_connector(self._account.id, name, now)
            named = structs.replace(
                connector,
                identifier=f"local_{name}"[:128],
                name=f"Built-in of keyring {name}"[:128],
                spec={"executeOnDelegate": False} if platform else {},
            )
            return [keyring.document(1, None, now, platform=platform), named]

        await self._publisher.publish(make)
        return keyring

    async def rotate(self, name: str, path: Path, *, compromised: bool) -> Keyring:
        """Adds a generation to the keyring `name`, whose file is at `path`, and publishes it; the old file stays beside it.

        `compromised` also excludes the older generations in the status. A rotation that stopped half-way is completed.
        """
        self._must_administer(await self.all())
        oidc = await asyncio.to_thread(IssuerKey.generate)
        # From reading to writing nobody else: whoever wrote second would put another seed in the place of a published one.
        with only_one(path):
            new = self._rotated(name, path, oidc)
        newest = new.newest.number

        def make(now: int) -> list[Signable]:
            old = self._account.book.keyrings[new.name]
            self._check_file(new, old.document)
            floor = newest if compromised else self._publisher.status().document.keyrings.get(new.name, 1)
            document = new.document(
                old.document.rev + 1,
                old.digest,
                now,
                floor,
                platform=old.document.platform,
                issuer=old.document.issuer,
            )
            payloads: list[Signable] = [document]
            if compromised:
                payloads.append(next_status(self._publisher.status(), now, keyrings={new.name: newest}))
            return payloads

        await self._publisher.publish(make)
        return new

    def _rotated(self, name: str, path: Path, oidc: IssuerKey) -> Keyring:
        """The keyring in the file with one generation more than the published ones, in the file by now."""
        keyring = Keyring.parse(read_private(path, "keyring file"))
        published = self._account.book.keyrings.get(keyring.name)
        if keyring.account != self._account.id or keyring.name != name or published is None:
            raise NotFound(
                "keyring_foreign",
                f"the file doesn't belong to a keyring {name} of this account",
                "check --context and the file",
            )
        self._check_file(keyring, published.document)
        if keyring.newest.number == published.document.gen:
            backup = path.with_name(f"{path.name}.generation-{keyring.newest.number}")
            if not backup.exists():
                write_private(backup, keyring.text(), once=True)
            keyring = keyring.rotated(os.urandom(SEED_BYTES), oidc)
            write_private(path, keyring.text())
        return keyring

    @staticmethod
    def _check_file(keyring: Keyring, published: KeyringDocument) -> None:
        """Raises Conflict unless the published keyring is the file's, in its newest generation or in the one before."""
        newest = keyring.newest.number
        same = keyring.matches(published) and keyring.signs_for(published)
        if same and published.gen in {newest, newest - 1}:
            return
        raise Conflict(
            "keyring_file_differs",
            f"the keyring file ends with generation {keyring.newest.number}, the published one is {published.gen} "
            "and perhaps another",
            "use the newest keyring file; if two people rotated at once, that of who was told that it was published",
        )

    async def exclude(self, name: str) -> int:
        """Excludes all generations of a keyring but the current one; the floor. Raises NotFound, Denied."""
        self._must_administer(await self.all())
        keyring = self._account.book.keyrings.get(name)
        if keyring is None:
            raise NotFound("keyring_unknown", f"there is no keyring {name}", "privyseal keyring show")
        floor = keyring.document.gen

        def make(now: int) -> list[Signable]:
            current = self._account.book.keyrings[name]
            # A floor binds delegates and clients. Clouds know of none: what they are told to believe must say it.
            shorter = [next_revision(current, now, **without_below(current.document, floor))]
            changed = shorter if current.document.oidc != shorter[0].oidc else []
            return [*changed, next_status(self._publisher.status(), now, keyrings={name: floor})]

        await self._publisher.publish(make)
        return floor

    async def dependents(self, name: str) -> list[Verified[SecretDocument]]:
        """The living secrets whose connector belongs to a keyring: their values are to be rotated when it leaks."""
        connectors = {
            one.document.id
            async for one in self._directory.documents("connector", ConnectorDocument, ACCOUNT_SCOPE)
            if one.verified and one.document.keyring == name
        }
        return [
            one.verified
            async for one in self._directory.documents("secret", SecretDocument, ACCOUNT_SCOPE)
            if one.verified and not one.document.deleted and one.document.connector in connectors
        ]

    def _resumed(self, out: Path, name: str) -> Keyring:
        """The keyring that an interrupted `create` left in its file. Raises Malformed for any other file."""
        keyring = Keyring.parse(read_private(out, "keyring file"))
        if (keyring.account, keyring.name, keyring.numbers) != (self._account.id, name, (1,)):
            raise Malformed("file_exists", f"{out} exists and is not overwritten", "name another file, or move it away")
        return keyring

    def _must_administer(self, _synced: Sequence[object]) -> None:
        if not self._account.is_administrator:
            raise Denied(
                "not_administrator", "only an administrator publishes keyrings", "privyseal account show lists them"
            )


def without_below(document: KeyringDocument, floor: int) -> dict[str, object]:
    """The fields of a keyring document without what generations below `floor` brought."""
    keys = tuple(one for one in (document.oidc.keys if document.oidc else ()) if one.gen >= floor)
    return {
        "certifiers": tuple(one for one in document.certifiers if one.gen >= floor),
        "oidc": Oidc(keys, document.issuer) if keys else None,
    }
