"""The kind `AzureKeyVault`: values live in a vault, under names of ours or under names that others gave.

Promises: nothing of others is deleted or gets a version of ours; what carries any secret's tags isn't read by reference; a
value is read by Key Vault's own id of its version, so that what somebody adds there isn't taken for ours; a soft-deleted
secret of the same name and account is recovered and then written. Key Vault has no conditional writes: each write is a
version of its own, and which one counts the manager decides. Source: Key Vault REST API reference, secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar

import structlog
from azure.core.rest import HttpRequest
from azure.keyvault.secrets import KeyVaultSecret
from azure.keyvault.secrets.aio import SecretClient

from delegate.credentials.azure_calls import AzureCalls
from delegate.credentials.azure_http import CONNECTIONS
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.azure_names import CHECKED, SEPARATOR, name_of
from delegate.secret_managers.azure_references import VERSION, chosen, expiry
from delegate.secret_managers.direct import Direct, Found, value_too_long
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.ownership import (
    CREATOR,
    CREATOR_TAG,
    check_owner,
    check_referable,
    inline_name,
    is_of_account,
    is_own,
    tags_of,
)
from delegate.secret_managers.texts import MARK, foreign, text, value_of
from shared.connectors.azure_key_vault import AzureKeyVaultSettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Denied, NotFound, NotReady, PrivySealError, Unavailable

LONGEST_VALUE = 25_000
"""Bytes (Key Vault: "25k bytes"); what isn't text takes a third more of them."""
LONGEST_BYTES = (LONGEST_VALUE - len(MARK)) // 4 * 3

TASK_TAG = "privyseal-version"
"""Tells which store task made a version: its digest."""
NUMBER_TAG = "privyseal-number"

POLL_SECONDS = 0.5
SETTLE_SECONDS = 30.0
"""How long a deletion or recovery may take to be seen."""


R = TypeVar("R")

_log = structlog.get_logger()


class _Kept(NamedTuple):
    """A version at Key Vault; `value` is None where it is disabled."""

    version: str
    tags: Mapping[str, str]
    value: str | None


class AzureSecrets:
    """The secrets of one vault, as a secret store."""

    concurrency = CONNECTIONS
    read_only = False
    longest_value = LONGEST_VALUE

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("AzureKeyVault", connector.spec)
        assert isinstance(told, AzureKeyVaultSettings)
        self._settings = told
        self._clock = surroundings.clock
        self._calls = AzureCalls(SecretClient, told, connector, surroundings, secrets, _REFUSALS)

    def locator(self, secret: SecretVersion) -> str:
        """`ID`, `ORG.ID` or `ORG.PROJECT.ID` in Key Vault's alphabet."""
        return name_of(inline_name(secret, SEPARATOR))

    async def check(self) -> None:
        """A secret that can't be there is asked for; that Key Vault doesn't find it is the answer that is wanted."""
        try:
            await self._get(CHECKED, "")
        except NotFound as why:
            if why.code != SECRET_NOT_FOUND:
                raise

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """Of ours exactly that version; of others' the one that reference or metadata say, the newest where they say none."""
        if not secret.secret.reference:
            kept = await self._get(locator, version)
            if kept.version != version:
                raise _garbled(locator)
            return Found(value_of(kept.value or ""), version)
        expiry(secret)
        name, version = chosen(locator, secret.secret.metadata.get("version", ""))
        kept = await self._get(name, version)
        if version not in {"", kept.version}:
            raise _garbled(name)
        check_referable(kept.tags)
        return Found(foreign(kept.value or ""), kept.version)

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """A further version of the secret, or its first one. Repeating a store task finds what it wrote."""
        kept = text(value)
        if len(kept.encode()) > LONGEST_VALUE:
            raise value_too_long(secret, LONGEST_BYTES)
        expires = expiry(secret)
        newest = await self._newest(locator)
        if newest is not None:
            check_owner(secret, newest.tags)
            done = await self._done(locator, secret, newest)
            if done is not None:
                if done.value != kept:
                    raise Conflict(*_VERSION_EXISTS)
                return done.version
        try:
            return await self._set(locator, secret, kept, expires)
        except Conflict as why:
            if why.code != SECRET_DELETED:
                raise
        return await self._renewed(locator, secret, kept, expires)

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Delete the secret, with `enablePurge` for good. What is another's under that name isn't ours."""
        if version:
            raise Denied(
                "version_kept",
                "Key Vault deletes no single versions, only a secret with all of them",
                "delete the secret; a single version can be disabled: az keyvault secret set-attributes --enabled false",
            )
        newest = await self._newest(locator)
        if newest is not None:
            if not is_own(secret, newest.tags):
                return
            await self._delete(locator)
        if self._settings.enable_purge:
            await self._purge(locator, secret, was_there=newest is not None)

    async def close(self) -> None:
        """Close the connections; tokens are forgotten."""
        await self._calls.close()

    async def _get(self, name: str, version: str) -> _Kept:
        async def call(client: SecretClient) -> KeyVaultSecret:
            return await client.get_secret(name, version)

        return _kept(name, await self._calls.ask("secrets/get", f"the secret {name}", call))

    async def _newest(self, name: str) -> _Kept | None:
        """The newest version; None where there is no such secret."""
        try:
            return await self._get(name, "")
        except NotFound as why:
            if why.code != SECRET_NOT_FOUND:
                raise
            return None
        except NotReady as why:
            if why.code != "azure_disabled":
                raise
        # What is disabled shows its tags in the list only.
        versions = await self._versions(name)
        if not versions:
            raise _garbled(name)
        return max(versions, key=lambda one: one[0])[1]

    async def _versions(self, name: str) -> list[tuple[datetime, _Kept]]:
        async def call(client: SecretClient) -> list[tuple[datetime, _Kept]]:
            return [
                (one.created_on, _Kept(one.version or "", one.tags or {}, None))
                async for one in client.list_properties_of_secret_versions(name)
                if one.created_on is not None and (one.name or "").lower() == name.lower()
            ]

        return await self._calls.ask("secrets/list", f"the versions of the secret {name}", call)

    async def _done(self, name: str, secret: SecretVersion, newest: _Kept) -> _Kept | None:
        """What this very store task wrote before; it is looked for only where a later one may have come after it."""
        if newest.tags.get(TASK_TAG) == secret.aad.version:
            return newest if newest.value is not None else None
        number = newest.tags.get(NUMBER_TAG, "")
        if not is_own(secret, newest.tags) or not number.isdecimal() or int(number) < secret.n:
            return None
        for _, one in await self._versions(name):
            if one.tags.get(TASK_TAG) == secret.aad.version and is_own(secret, one.tags):
                return await self._get(name, one.version)
        return None

    async def _set(self, name: str, secret: SecretVersion, kept: str, expires: datetime | None) -> str:
        tags = {
            CREATOR_TAG: CREATOR,
            **tags_of(secret),
            TASK_TAG: secret.aad.version,
            NUMBER_TAG: str(secret.n),
        }

        async def call(client: SecretClient) -> KeyVaultSecret:
            return await client.set_secret(name, kept, tags=tags, expires_on=expires)

        return _kept(name, await self._calls.ask("secrets/set", f"the secret {name}", call)).version

    async def _renewed(self, name: str, secret: SecretVersion, kept: str, expires: datetime | None) -> str:
        """A version of what is soft-deleted, which is recovered before."""
        tags = await self._deleted(name)
        if tags is None:
            # It was recovered or purged meanwhile.
            raise _changing(name)
        if not is_of_account(secret, tags):
            check_owner(secret, tags)
        # The library's own way waits without an end.
        try:
            await self._send("POST", f"deletedsecrets/{name}/recover", "secrets/recover", name)
        except NotFound as why:
            # A try whose answer was lost has recovered it.
            if why.code != SECRET_NOT_FOUND:
                raise
        await self._settled(lambda: self._newest(name), name)
        try:
            return await self._set(name, secret, kept, expires)
        except PrivySealError:
            await self._deleted_again(name)
            raise

    async def _deleted_again(self, name: str) -> None:
        """What was recovered in vain goes back to where it was."""
        try:
            await self._delete(name)
        except PrivySealError as why:
            _log.error("secret.left_restored", code=why.code, error_type=type(why).__name__)

    async def _delete(self, name: str) -> None:
        try:
            await self._send("DELETE", f"secrets/{name}", "secrets/delete", name)
        except NotFound as why:
            if why.code != SECRET_NOT_FOUND:
                raise

    async def _purge(self, name: str, secret: SecretVersion, *, was_there: bool) -> None:
        async def call(client: SecretClient) -> None:
            await client.purge_deleted_secret(name)

        try:
            tags = await self._deleted(name)
            if tags is None and was_there:
                tags = await self._settled(lambda: self._deleted(name), name)
            if tags is not None and is_own(secret, tags):
                await self._calls.ask("secrets/purge", f"the deleted secret {name}", call)
        except NotFound as why:
            if why.code != SECRET_NOT_FOUND:
                raise
        except PrivySealError as why:
            raise type(why)(
                why.code,
                f"Failed to complete the purge, and the secret is deleted but recoverable: {why.detail}",
                why.hint,
                **why.facts,
            ) from None

    async def _deleted(self, name: str) -> Mapping[str, str] | None:
        """The tags of what is soft-deleted under that name."""

        async def call(client: SecretClient) -> Mapping[str, str]:
            found = await client.get_deleted_secret(name)
            if (found.name or "").lower() != name.lower():
                raise _garbled(name)
            return found.properties.tags or {}

        try:
            return await self._calls.ask("secrets/get", f"the deleted secret {name}", call)
        except NotFound as why:
            if why.code != SECRET_NOT_FOUND:
                raise
            return None

    async def _send(self, method: str, path: str, right: str, name: str) -> None:
        async def call(client: SecretClient) -> None:
            (await client.send_request(HttpRequest(method, path))).raise_for_status()

        await self._calls.ask(right, f"the secret {name}", call)

    async def _settled(self, probe: Callable[[], Awaitable[R | None]], name: str) -> R:
        """What `probe` finds, once it finds something: Key Vault deletes and recovers a little later than it says so."""
        ends = self._clock.monotonic() + SETTLE_SECONDS
        while (found := await probe()) is None:
            if self._clock.monotonic() > ends:
                raise _changing(name)
            await asyncio.sleep(POLL_SECONDS)
        return found


class AzureKeyVault(Direct):
    """The kind `AzureKeyVault`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(AzureSecrets(connector, surroundings, secrets), surroundings.zone)


def _kept(name: str, found: KeyVaultSecret) -> _Kept:
    told = found.properties
    if not VERSION.match(told.version or "") or (told.name or "").lower() != name.lower():
        raise _garbled(name)
    return _Kept(told.version or "", told.tags or {}, found.value)


def _garbled(name: str) -> Unavailable:
    return Unavailable(
        "azure_garbled",
        f"what answers for the secret {name} doesn't answer what it was asked",
        "look at what stands between the delegate and Azure, and at the delegate's azure_endpoints",
    )


def _changing(name: str) -> Unavailable:
    return Unavailable(
        "secret_changing", f"the secret {name} is being deleted or recovered at Key Vault", "try again in a minute"
    )


SECRET_NOT_FOUND = "secret_not_found"  # noqa: S105 (a code)
SECRET_DELETED = "secret_deleted"  # noqa: S105
_VERSION_EXISTS = (
    "version_exists",
    "Key Vault has a version of that store task already, with another value",
    "store the secret again",
)
_CHANGING = Refusal(
    Unavailable, "secret_changing", "{about} is being deleted or recovered at Key Vault", "try again in a minute"
)

# Key Vault's codes for secrets.
_REFUSALS: Refusals = {
    "SecretNotFound": Refusal(
        NotFound,
        SECRET_NOT_FOUND,
        "Key Vault doesn't have {about}, or not the version of it that is asked for",
        "look at its name, and whether it is soft-deleted: az keyvault secret list-deleted",
    ),
    "ObjectIsDeletedButRecoverable": Refusal(
        Conflict, SECRET_DELETED, "{about} is soft-deleted", "recover or purge it: az keyvault secret recover"
    ),
    "ObjectIsBeingDeleted": _CHANGING,
    "ObjectIsBeingRecovered": _CHANGING,
    "PurgeProtection": Refusal(
        Denied,
        "purge_protected",
        "the vault is protected against purging, so that {about} stays until its retention is over",
        "leave out enablePurge: the retention can't be cut short",
    ),
}
