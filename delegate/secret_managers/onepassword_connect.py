"""The kind `OnePasswordConnect`: fields and files of 1Password items, read through a Connect server. Nothing is written.

Promises: what a name means is decided here, by comparing it letter by letter with what the server lists, so that no name can
be more than a name in the server's filter or path; two things of one name are an error, never a choice; an answer about
another vault or item than the one that was asked for isn't believed. Must not keep a value longer than the call.
Formats: 1Password Connect Server API reference; references as in "Secret reference syntax" (`op://VAULT/ITEM/SECTION/FIELD`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest import CONNECTIONS, Answer, Rest, encoded
from delegate.credentials.rest_refusals import OTHER, refusal
from delegate.secret_managers.direct import Direct, Found, ReadStore
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.tries import Tries
from shared.connectors.kinds import settings
from shared.connectors.onepassword_connect import OnePasswordConnectSettings
from shared.connectors.servers import parts_of
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Overloaded, Unavailable

SCHEME = "op://"
_ID = re.compile(r"[0-9a-z]{26}\Z")
_TOKEN = re.compile(rb"[!-~]{1,8192}\Z")
_UNFILTERED = re.compile(r"[\"\\]")
_GONE = frozenset({"ARCHIVED", "DELETED"})


class _Part(msgspec.Struct, frozen=True):
    id: str = ""


class _Vault(msgspec.Struct, frozen=True):
    id: str
    name: str = ""


class _Section(msgspec.Struct, frozen=True):
    id: str
    label: str | None = ""


class _Field(msgspec.Struct, frozen=True):
    id: str
    label: str | None = ""
    value: str | None = None
    section: _Part | None = None


class _File(msgspec.Struct, frozen=True):
    id: str
    name: str | None = ""
    section: _Part | None = None


class _Summary(msgspec.Struct, frozen=True):
    id: str
    vault: _Part
    title: str = ""
    state: str | None = None


class _Item(_Summary, frozen=True):
    version: int = 0
    sections: tuple[_Section, ...] | None = None
    fields: tuple[_Field, ...] | None = None
    files: tuple[_File, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Where:
    """The parts of a reference; `section` is None for anywhere in the item."""

    vault: str
    item: str
    section: str | None
    field: str


T = TypeVar("T", _Vault, _Section, _Field, _File, _Summary)
F = TypeVar("F", _Field, _File)


class OnePasswordItems(ReadStore):
    """What one access token may read, as a secret store."""

    concurrency = CONNECTIONS
    longest_value = LARGEST_VALUE_BYTES

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("OnePasswordConnect", connector.spec)
        assert isinstance(told, OnePasswordConnectSettings)
        origin, self._base = parts_of(told.url)
        self._rest = Rest(
            origin,
            surroundings.policy,
            surroundings.call_seconds,
            authorities=told.ca_certificate,
            largest=LARGEST_VALUE_BYTES,
            name="1Password Connect",
            code="onepassword",
        )
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._bearer = _bearer(told.token, secrets[told.token])

    async def check(self) -> None:
        """Whether the server takes the token, and the token gives it a vault."""
        if not await self._listed(_Vault, "the list of vaults", ("vaults",), {}):
            raise NotReady(
                "onepassword_no_vaults",
                "the access token is taken by 1Password Connect and gives no vault to read",
                "give the token, and the Connect server, access to the vaults that are meant",
            )

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """The field or file as it is now: Connect knows no earlier ones."""
        where = _parsed(locator)
        if secret.secret.metadata:
            raise Malformed(
                "metadata_unknown",
                "additionalMetadata of the secret has a value that means nothing to OnePasswordConnect",
                "leave it out: Connect gives what is newest",
            )
        vault = await self._vault(where.vault)
        item = await self._item(vault, where.item)
        found = _field(item, where)
        if isinstance(found, _Field):
            if not found.value:
                raise NotFound(
                    "value_missing",
                    f"the field {where.field} of the item {where.item} is empty",
                    "fill it in, or refer to another field",
                )
            return Found(Plaintext(found.value.encode()), str(item.version))
        about = f"the file {where.field} of the item {where.item}"
        answer = await self._ask(about, ("vaults", vault, "items", item.id, "files", found.id, "content"), {})
        return Found(Plaintext(answer.body), str(item.version))

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def _vault(self, named: str) -> str:
        """The id of a vault."""
        if _ID.match(named):
            return named
        about = f"the vault {named}"
        vaults = await self._listed(_Vault, about, ("vaults",), _filter("name", named))
        return self._checked(_one(vaults, lambda one: one.name == named, about, _VAULT_HINT).id, about)

    async def _item(self, vault: str, named: str) -> _Item:
        about = f"the item {named}"
        by_id = _ID.match(named) is not None
        id = named if by_id else await self._item_id(vault, named, about)
        answer = await self._ask(about, ("vaults", vault, "items", id), {})
        item = self._rest.parsed(answer, _Item, about)
        if (item.id, item.vault.id) != (id, vault):
            raise self._rest.garbled(about)
        if item.state in _GONE:
            raise NotFound("item_archived", f"{about} is archived or deleted", "restore it, or refer to another item")
        if not by_id and item.title != named:
            raise Conflict("secret_changing", f"{about} is being renamed", "try again, or refer to it by its id")
        return item

    async def _item_id(self, vault: str, title: str, about: str) -> str:
        items = await self._listed(_Summary, about, ("vaults", vault, "items"), _filter("title", title))
        if any(one.vault.id != vault for one in items):
            raise self._rest.garbled(about)
        return self._checked(
            _one(items, lambda one: one.title == title and one.state not in _GONE, about, _ITEM_HINT).id, about
        )

    def _checked(self, id: str, about: str) -> str:
        if not _ID.match(id):
            raise self._rest.garbled(about)
        return id

    async def _listed(self, form: type[T], about: str, path: tuple[str, ...], query: Mapping[str, str]) -> list[T]:
        answer = await self._ask(about, path, query)
        found: list[T] = self._rest.parsed(answer, list[form], about)  # type: ignore[valid-type]
        return found

    async def _ask(self, about: str, path: tuple[str, ...], query: Mapping[str, str]) -> Answer:
        async def once() -> Answer:
            answer = await self._rest.ask(
                "GET",
                self._base + encoded("v1", *path),
                headers={"Authorization": self._bearer, "Accept": "*/*"},
                query=query,
                about=about,
            )
            if answer.status != 200:
                raise refusal(answer.status, "", about, REFUSALS)
            return answer

        return await self._tries.of(once, lambda: self._rest.slow(about))


class OnePasswordConnect(Direct):
    """The kind `OnePasswordConnect`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(OnePasswordItems(connector, surroundings, secrets), surroundings.zone)


def _bearer(reference: str, token: Plaintext) -> str:
    value = token.reveal().strip()
    if not _TOKEN.match(value):
        raise Malformed(
            "credential_malformed",
            f"the secret {reference} isn't an access token of 1Password Connect",
            "store it again: privyseal secret set",
        )
    return f"Bearer {value.decode('ascii')}"


def _parsed(locator: str) -> _Where:
    parts = locator.removeprefix(SCHEME).split("/")
    if len(parts) not in {3, 4} or any(one in {"", ".", ".."} or not one.isprintable() for one in parts):
        raise Malformed(
            "reference_malformed",
            "the secret's reference isn't VAULT/ITEM/FIELD or VAULT/ITEM/SECTION/FIELD",
            "give names or ids, op:// before them or not; what has / or # in its name is given by its id",
        )
    section = parts[2] if len(parts) == 4 else None
    return _Where(parts[0], parts[1], section, parts[-1])


def _filter(attribute: str, name: str) -> dict[str, str]:
    """The server's own search. Whether it knows escapes nobody says: for what would need one, everything is listed."""
    return {} if _UNFILTERED.search(name) else {"filter": f'{attribute} eq "{name}"'}


def _one(found: Iterable[T], meant: Callable[[T], bool], about: str, hint: str) -> T:
    """The only one that is meant. Raises NotFound, Conflict."""
    fitting = [one for one in found if meant(one)]
    if not fitting:
        raise NotFound(
            "secret_not_found", f"1Password Connect doesn't have {about}, or not for this access token", hint
        )
    if len(fitting) > 1:
        raise Conflict(
            "reference_ambiguous",
            f"{len(fitting)} things of 1Password fit {about}",
            "name the section too, or give ids in place of names: op item get, or the app's Copy Secret Reference",
        )
    return fitting[0]


def _field(item: _Item, where: _Where) -> _Field | _File:
    """The field that is meant, or else the file. Raises NotFound, Conflict."""
    about = f"the field {where.field} of the item {where.item}"
    sections: set[str] | None = None
    if where.section is not None:
        told = f"the section {where.section} of the item {where.item}"
        known = item.sections or ()
        by_id = {one.id for one in known if one.id == where.section}
        sections = by_id or {one.id for one in known if one.label == where.section}
        if not sections:
            _one((), lambda _: False, told, _ITEM_HINT)
    fields = _narrowed(item.fields or (), sections, where.field, lambda one: one.label)
    if fields:
        return _one(fields, lambda _: True, about, _ITEM_HINT)
    files = _narrowed(item.files or (), sections, where.field, lambda one: one.name)
    return _one(files, lambda _: True, about, _ITEM_HINT)


def _narrowed(found: tuple[F, ...], sections: set[str] | None, named: str, name: Callable[[F], str | None]) -> list[F]:
    """Those of that id, else of that name; where no section is meant, those in none come first."""
    if sections is not None:
        tiers = [[one for one in found if one.section is not None and one.section.id in sections]]
    else:
        tiers = [[one for one in found if not (one.section and one.section.id)], list(found)]
    for tier in tiers:
        fitting = [one for one in tier if one.id == named] or [one for one in tier if name(one) == named]
        if fitting:
            return fitting
    return []


_VAULT_HINT = "compare the name, letter by letter, with the vaults that the access token names"
_ITEM_HINT = "compare vault, item, section and field, letter by letter, with the item: op item get"

# By HTTP status.
REFUSALS: Refusals = {
    400: Refusal(
        Malformed,
        "onepassword_invalid",
        "1Password Connect doesn't take the request for {about}",
        "look at the reference",
    ),
    401: Refusal(
        Denied,
        "onepassword_token_refused",
        "1Password Connect doesn't take the access token, for {about}",
        "look whether it is revoked or has expired, and of this Connect server; make another one and store it again",
    ),
    403: Refusal(
        Denied,
        "onepassword_denied",
        "the access token doesn't give {about}",
        "give the token access to that vault, or use another connector",
    ),
    404: Refusal(NotFound, "secret_not_found", "1Password Connect doesn't have {about}", _ITEM_HINT),
    413: Refusal(
        Malformed, "value_too_large", "{about} is larger than 1Password Connect gives away", "keep it elsewhere"
    ),
    429: Refusal(
        Overloaded,
        "onepassword_throttled",
        "1Password Connect takes no more calls for now, for {about}",
        "try again later; calls_per_minute keeps a connector below its limit",
    ),
    500: Refusal(
        Unavailable,
        "onepassword_unavailable",
        "1Password Connect fails at {about}",
        "try again; look at the logs of connect-api and connect-sync: it fails until it has synchronised",
    ),
    OTHER: Refusal(
        Denied,
        "onepassword_refused",
        "1Password Connect refuses {about}",
        "look whether the connector's URL is that of connect-api, and at what stands before it",
    ),
}
