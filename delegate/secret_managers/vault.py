"""The kind `Vault`: values live in a KV engine of HashiCorp Vault or OpenBao, under paths of ours or under those of others.

Promises: an entry of ours says in itself whose it is and which store task wrote it, so that nothing else is overwritten,
deleted, or read for it, and storing again is harmless; KV version 2 is written by check-and-set, so that of two writers
none is lost; an engine of version 1 keeps the newest value alone, and an earlier version is told to be gone. A check looks
at rights and writes nothing. Formats: Vault's API, secret/kv/kv-v1 and kv-v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.vault import Use, VaultIdentity
from delegate.credentials.vault_calls import parsed
from delegate.credentials.vault_http import CONNECTIONS
from delegate.secret_managers.direct import Direct, Found
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.ownership import check_owner, check_referable, inline_name, is_ours, is_own, tags_of
from delegate.secret_managers.selection import select, split
from delegate.secret_managers.texts import text, value_of
from delegate.secret_managers.vault_entry import (
    VALUE,
    VERSION_TAG,
    Entry,
    OfOne,
    OfTwo,
    Written,
    entry_of,
    version_tag,
)
from delegate.secret_managers.vault_rights import check_engine, check_rights
from shared.connectors.kinds import settings
from shared.connectors.vault import VaultSettings, segments
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Malformed, NotFound, Tampered

LONGEST_VALUE = 750_000
"""Bytes: with base64 and the entry's other members this fits the 1 MiB of Vault's integrated storage."""

CHECKED = "privyseal-check"
"""Ends the path whose rights are looked at. No secret of ours can have it: identifiers have no hyphen."""

_WRITES = 4
_FARTHEST = 20
"""Versions that are looked back through; an engine keeps ten unless told otherwise."""


class VaultEntries:
    """The entries of one engine, as a secret store."""

    concurrency = CONNECTIONS
    longest_value = LONGEST_VALUE

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("Vault", connector.spec)
        assert isinstance(told, VaultSettings)
        self._settings = told
        self._engine = "/".join(segments(told.secret_engine_name))
        self._versioned = told.secret_engine_version == 2
        self._identity = VaultIdentity(told, connector, surroundings, secrets)

    @property
    def read_only(self) -> bool:
        """As the connector says."""
        return not self._settings.writable

    def locator(self, secret: SecretVersion) -> str:
        """The base path and `ID`, `ORG.ID` or `ORG.PROJECT.ID`; the engine isn't part of it."""
        return "/".join((*segments(self._settings.base_path), inline_name(secret, ".")))

    async def check(self) -> None:
        """Whether the token holds, the engine is there in the version that is said, and the token's rights suffice."""
        await self._identity.check()
        async with self._identity.use() as use:
            await check_engine(use, self._engine, self._settings.secret_engine_version)
            await check_rights(use, self._needed())

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """Of ours exactly that version; of others' the one that the metadata say, the newest where they say none."""
        if not secret.secret.reference:
            async with self._identity.use() as use:
                entry = await self._entry(use, locator, _number(version))
                if self._versioned and not version:
                    entry = await self._written(use, locator, secret, entry) or entry
            return Found(self._own_value(entry, secret, version), version)
        number = self._chosen(secret)
        async with self._identity.use() as use:
            entry = await self._entry(use, "/".join(segments(locator)), number)
        if entry.json is None:
            raise _gone(secret)
        check_referable({**entry.enveloped, **entry.members})
        # A key is selected by who asks; without one, an engine of version 1 has a customary one, and 2 gives the object.
        keyless = split(secret.secret.reference)[1] is None
        value = select(entry.json, VALUE) if keyless and not self._versioned else entry.json
        return Found(value, str(entry.version) if entry.version else "")

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """A further version of the entry; the number that Vault gave it, "" in an engine without versions."""
        _check_metadata(secret)
        content = {VALUE: text(value), **tags_of(secret), VERSION_TAG: version_tag(secret)}
        async with self._identity.use() as use:
            if not self._versioned:
                await self._replace(use, locator, secret, content)
                return ""
            for _ in range(_WRITES):
                newest = await self._newest(use, locator)
                kept = await self._kept(use, locator, secret, newest)
                if kept is not None:
                    return str(kept.version)
                try:
                    return await self._append(use, locator, content, newest.version if newest else 0)
                except Conflict as why:
                    # Somebody was faster: look at what is there now, since it may be ours, by an answer that was lost.
                    if why.code != "vault_changed":
                        raise
        raise Conflict(
            "vault_changed", f"others keep writing at {self._path('data', locator)} at the same time", "try again later"
        )

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Remove the entry with all versions, or destroy one. What is another secret's under that path isn't ours."""
        async with self._identity.use() as use:
            if version:
                entry = await self._existing(use, locator, _number(version))
            else:
                entry = await self._newest(use, locator)
                if entry is not None and entry.json is None:
                    entry = await self._looked_back(use, locator, entry, lambda one: one.json is not None) or entry
            if entry is None or (not is_own(secret, entry.members) and is_ours(entry.members)):
                return
            if entry.json is not None:
                check_owner(secret, entry.members)
            if self._versioned and secret.n and not version:
                written = await self._written(use, locator, secret, entry)
                if written is not None:
                    await self._destroy(use, locator, str(written.version))
            elif self._versioned:
                await self._destroy(use, locator, version)
            elif not secret.n or entry.is_of(secret):
                about = f"delete on {self._path('', locator)}"
                await use.ask(
                    about, lambda client: client.secrets.kv.v1.delete_secret(locator, mount_point=self._engine)
                )

    async def close(self) -> None:
        """Revoke and close."""
        await self._identity.close()

    def _needed(self) -> dict[str, tuple[str, ...]]:
        """The rights that the connector uses, by path."""
        needed: dict[str, tuple[str, ...]] = {}
        if self._settings.writable:
            base = "/".join((*segments(self._settings.base_path), CHECKED))
            if self._versioned:
                needed[self._path("data", base)] = ("create", "read", "update")
                needed[self._path("metadata", base)] = ("delete",)
            else:
                needed[self._path("", base)] = ("create", "read", "update", "delete")
        for path in self._settings.test_paths:
            needed[self._path("data", "/".join(segments(split(path)[0])))] = ("read",)
        return needed

    def _path(self, of: str, locator: str) -> str:
        return "/".join(part for part in (self._engine, of if self._versioned else "", locator) if part)

    def _chosen(self, secret: SecretVersion) -> int:
        """The version that a reference's metadata name, 0 for the newest."""
        _check_metadata(secret)
        version = secret.secret.metadata.get("version", "")
        if version in {"", "latest"}:
            return 0
        if not self._versioned or not (version.isascii() and version.isdigit() and 0 < int(version) < 2**31):
            raise Malformed(
                "version_malformed",
                "the version in additionalMetadata isn't one that Vault could have",
                "give a number from 1 on, or latest; an engine of version 1 has only the latest",
            )
        return int(version)

    def _own_value(self, entry: Entry, secret: SecretVersion, version: str) -> Plaintext:
        if entry.json is None:
            raise _gone(secret)
        if entry.is_of(secret):
            return value_of(str(entry.members.get(VALUE, "")))
        if is_own(secret, entry.members) and not version:
            raise NotFound(
                "version_replaced",
                f"version {secret.n} of the secret {secret.secret.identifier} was replaced: it was stored in an engine of "
                "version 1, which keeps the newest value alone",
                "read the newest version, or use an engine of version 2",
            )
        raise Tampered(
            "value_replaced",
            f"what Vault has under the path of the secret {secret.secret.identifier} isn't what was stored there",
            "store it again",
        )

    async def _entry(self, use: Use, locator: str, number: int) -> Entry:
        """What is there, in that version, the newest for 0. Raises NotFound."""
        if self._versioned:
            about = f"read on {self._path('data', locator)}"
            answer = await use.ask(
                about,
                lambda client: client.secrets.kv.v2.read_secret_version(
                    locator, version=number or None, mount_point=self._engine, raise_on_deleted_version=True
                ),
                _MISSING,
            )
            found = parsed(answer, OfTwo, about).data
            return entry_of(found.metadata.version, found.data, about)
        about = f"read on {self._path('', locator)}"
        answer = await use.ask(
            about, lambda client: client.secrets.kv.v1.read_secret(locator, mount_point=self._engine), _MISSING
        )
        return entry_of(0, parsed(answer, OfOne, about).data, about)

    async def _existing(self, use: Use, locator: str, number: int) -> Entry | None:
        try:
            return await self._entry(use, locator, number)
        except NotFound as why:
            if why.code != "vault_missing":
                raise
            return None

    async def _newest(self, use: Use, locator: str) -> Entry | None:
        return await self._existing(use, locator, 0)

    async def _kept(self, use: Use, locator: str, secret: SecretVersion, newest: Entry | None) -> Entry | None:
        """What this very store task wrote before, if it did. Raises Conflict for what others own, or where a newer one came."""
        if newest is None or newest.json is None:
            return None
        if newest.is_of(secret):
            return newest
        check_owner(secret, newest.members)
        if newest.n < secret.n:
            return None
        older = await self._written(use, locator, secret, newest) if self._versioned else None
        if older is None and newest.n > secret.n:
            raise Conflict(
                "version_superseded",
                f"a newer version than {secret.n} of the secret {secret.secret.identifier} has been stored",
                "store the secret again",
            )
        return older

    async def _written(self, use: Use, locator: str, secret: SecretVersion, newest: Entry) -> Entry | None:
        """What this store task wrote, in an engine that keeps versions: its number is looked for."""
        if newest.is_of(secret):
            return newest
        return await self._looked_back(use, locator, newest, lambda one: one.is_of(secret))

    async def _looked_back(self, use: Use, locator: str, newest: Entry, wanted: Any) -> Entry | None:
        """The nearest version before `newest` that is wanted, among those that there are."""
        for number in range(newest.version - 1, max(0, newest.version - 1 - _FARTHEST), -1):
            entry = await self._existing(use, locator, number)
            if entry is None:
                return None
            if wanted(entry):
                return entry
        return None

    async def _append(self, use: Use, locator: str, content: Mapping[str, str], newest: int) -> str:
        about = f"create or update on {self._path('data', locator)}"
        answer = await use.ask(
            about,
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                locator, content, cas=newest, mount_point=self._engine
            ),
        )
        return str(parsed(answer, Written, about).data.version)

    async def _replace(self, use: Use, locator: str, secret: SecretVersion, content: Mapping[str, str]) -> None:
        """In an engine without versions and check-and-set: look, write, and look whether it is there."""
        newest = await self._newest(use, locator)
        if newest is not None and await self._kept(use, locator, secret, newest) is not None:
            return
        if newest is not None and newest.n == secret.n:
            raise _raced(secret)
        about = f"create or update on {self._path('', locator)}"
        await use.ask(
            about,
            lambda client: client.secrets.kv.v1.create_or_update_secret(
                locator, content, method="POST", mount_point=self._engine
            ),
        )
        written = await self._newest(use, locator)
        if written is None or not written.is_of(secret):
            raise _raced(secret)

    async def _destroy(self, use: Use, locator: str, version: str) -> None:
        if version:
            await use.ask(
                f"update on {self._path('destroy', locator)}",
                lambda client: client.secrets.kv.v2.destroy_secret_versions(
                    locator, [_number(version)], mount_point=self._engine
                ),
            )
            return
        await use.ask(
            f"delete on {self._path('metadata', locator)}",
            lambda client: client.secrets.kv.v2.delete_metadata_and_all_versions(locator, mount_point=self._engine),
        )


class Vault(Direct):
    """The kind `Vault`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(VaultEntries(connector, surroundings, secrets), surroundings.zone)


def _check_metadata(secret: SecretVersion) -> None:
    if not secret.secret.metadata.keys() <= {"version"}:
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to Vault",
            "known is version",
        )


def _number(version: str) -> int:
    """The number in a reference of ours; 0 for an engine without versions."""
    return int(version) if version.isascii() and version.isdigit() else 0


def _gone(secret: SecretVersion) -> NotFound:
    return NotFound(
        "version_deleted",
        f"the version of the secret {secret.secret.identifier} that is asked for is deleted in Vault, or was destroyed",
        "take the deletion back: vault kv undelete; or store the secret again",
    )


def _raced(secret: SecretVersion) -> Conflict:
    return Conflict(
        "vault_changed",
        f"somebody else stores version {secret.n} of the secret {secret.secret.identifier} too, and the connector's engine of "
        "version 1 keeps one value",
        "read it; where it was never recorded, delete the entry in Vault and store again",
    )


_MISSING: Refusals = {
    404: Refusal(
        NotFound,
        "vault_missing",
        "Vault has nothing at {place}, or no longer the version that is asked for",
        "look at the path, at secretEngineName, secretEngineVersion and namespace of the connector, and at max_versions",
    )
}
