"""The OIDC issuers of keyrings: which URL each speaks as, what lies there for clouds to read, and whom its tokens name.

Promises: what is published is made of the keyring document that an administrator signed, without excluded generations, and
with a status that still holds; a file is replaced whole. Must not upload anything: the place is the customer's, not the
manager's, for whoever writes there can take every role that trusts the issuer.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import structs

from client.account import Account
from client.directory import Directory
from client.drafts import next_revision
from client.publish import Publisher, Signable
from shared.canonical import unb64u
from shared.connectors.catalogue import Catalogue
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.keyring import ISSUER, LONGEST_ISSUER, KeyringDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, PrivySealError
from shared.names import ACCOUNT_SCOPE
from shared.oidc import DISCOVERY_PATH, JWKS_PATH, discovery, key_id, key_set, subject
from shared.trust.status import live

_ISSUER = re.compile(ISSUER)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that clouds may believe: the generation that it belongs to, its `kid`, its modulus in base64url."""

    generation: int
    kid: str
    n: str

    @property
    def pem(self) -> str:
        """The public key (SubjectPublicKeyInfo), for whoever takes keys inline."""
        public = rsa.RSAPublicNumbers(65537, int.from_bytes(unb64u(self.n), "big")).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return public.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


@dataclass(frozen=True, slots=True)
class Issuer:
    """A keyring as clouds see it; `url` is empty where it has no issuer."""

    keyring: str
    url: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """A connector whose delegates show ID tokens: what a trust policy has to name."""

    connector: ConnectorDocument
    subject: str
    audience: str


@dataclass(frozen=True, slots=True)
class Site:
    """What was written where: the files by the URL that each has to be served at."""

    issuer: Issuer
    files: Mapping[str, Path]


class Issuers:
    """One account's."""

    def __init__(self, account: Account, publisher: Publisher, directory: Directory, kinds: Catalogue) -> None:
        self._account = account
        self._publisher = publisher
        self._directory = directory
        self._kinds = kinds

    async def all(self) -> list[Issuer]:
        """Every keyring's, by name, with the keys that still count."""
        await self._account.sync(force=True)
        book = self._account.book
        return [self._issuer(book.keyrings[name].document) for name in sorted(book.keyrings)]

    async def find(self, keyring: str | None = None) -> Issuer:
        """A keyring's, by default that of the built-in. Raises NotFound."""
        return self._issuer((await self._keyring(keyring)).document)

    async def enable(self, url: str, keyring: str | None = None, *, replace: bool = False) -> Issuer:
        """Gives a keyring an issuer; one that it has already gets no new revision.

        Raises Malformed for what is no issuer's URL, Denied for non-administrators, NotReady for a keyring without a key,
        Conflict where another issuer stands there or another keyring has this one, unless `replace` for the first.
        """
        check_issuer(url)
        name = (await self._keyring(keyring)).document.id
        if not self._account.is_administrator:
            raise Denied(
                "not_administrator",
                "only an administrator gives a keyring an issuer",
                "privyseal account show lists them",
            )

        def make(now: int) -> list[Signable]:
            current = self._account.book.keyrings[name]
            return [next_revision(current, now, oidc=structs.replace(_enabled(current.document), issuer=url))]

        current = self._account.book.keyrings[name].document
        _enabled(current)
        for other in self._account.book.keyrings.values():
            if other.document.issuer == url and other.document.id != name:
                raise Conflict(
                    "issuer_taken",
                    f"the keyring {other.document.id} speaks as this issuer already: its delegates' tokens and those of "
                    f"{name} would be told apart by nobody",
                    "give each keyring an issuer of its own",
                )
        if current.issuer not in {"", url} and not replace:
            raise Conflict(
                "issuer_exists",
                f"the keyring {name} has another issuer, and the trust policies that name it would refuse its tokens",
                "add --replace, once the policies trust the new one",
            )
        if current.issuer != url:
            await self._publisher.publish(make)
        return self._issuer(self._account.book.keyrings[name].document)

    async def publish(self, directory: Path, keyring: str | None = None) -> Site:
        """Writes what clouds read into a directory. Raises NotReady without an issuer, with an expired status or no key.

        Conflict where what another issuer publishes lies there, Malformed where it can't be written.
        """
        document = (await self._keyring(keyring)).document
        live(self._account.book.status, self._account.clock())
        issuer = self._issuer(document)
        if not issuer.url:
            raise NotReady(
                "oidc_unconfigured",
                f"the keyring {document.id} has no OIDC issuer",
                f"privyseal oidc enable --issuer URL --keyring {document.id}",
            )
        if not any(one.generation == document.gen for one in issuer.keys):
            raise _keyless(document)
        _check_free(directory, issuer)
        # The keys first: nobody is to be sent to a file that isn't there yet.
        contents = {JWKS_PATH: key_set(document, self._floor(document)), DISCOVERY_PATH: discovery(issuer.url)}
        files = {}
        for path, content in contents.items():
            _write(directory / path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            files[f"{issuer.url}/{path}"] = directory / path
        return Site(issuer, files)

    async def holders(self, keyring: str | None = None) -> list[Holder]:
        """The living connectors that show ID tokens, of one keyring or of all, by place; only those that are believed."""
        found = []
        async for one in self._directory.documents("connector", ConnectorDocument, ACCOUNT_SCOPE):
            if not one.verified or one.document.deleted or keyring not in {None, one.document.keyring}:
                continue
            # A kind that this client doesn't know yet says nothing of tokens.
            with suppress(PrivySealError):
                audience = self._kinds.settings(one.document.type, one.document.spec).oidc_audience
                if audience is not None:
                    found.append(Holder(one.document, subject(one.document), audience))
        return sorted(found, key=lambda one: (one.connector.scope, one.connector.identifier))

    async def _keyring(self, name: str | None) -> Verified[KeyringDocument]:
        await self._account.sync(force=True)
        name = name or (await self._directory.connector(None)).document.keyring
        keyring = self._account.book.keyrings.get(name)
        if keyring is None:
            raise NotFound("keyring_unknown", "there is no such keyring", "privyseal keyring show")
        return keyring

    def _floor(self, document: KeyringDocument) -> int:
        return self._publisher.status().document.keyrings.get(document.id, 1)

    def _issuer(self, document: KeyringDocument) -> Issuer:
        floor = self._floor(document)
        told = document.oidc.keys if document.oidc else ()
        keys = tuple(Key(one.gen, key_id(one.n), one.n) for one in told if one.gen >= floor)
        return Issuer(document.id, document.issuer, keys)


def check_issuer(url: str) -> str:
    """`url` if it may be an issuer's. Raises Malformed."""
    if len(url) > LONGEST_ISSUER or not _ISSUER.match(url):
        raise Malformed(
            "issuer_malformed",
            "that is no issuer's URL",
            f"https://HOST/PATH in lower case, at most {LONGEST_ISSUER} characters, without query, fragment or a slash at "
            "the end; http:// only for loopback",
        )
    return url


def _enabled(document: KeyringDocument) -> Any:
    """The keyring's OIDC part. Raises NotReady where its generation has no key."""
    if document.oidc is None or all(one.gen != document.gen for one in document.oidc.keys):
        raise _keyless(document)
    return document.oidc


def _keyless(document: KeyringDocument) -> NotReady:
    return NotReady(
        "oidc_key_missing",
        f"generation {document.gen} of the keyring {document.id} has no key for ID tokens: it was made before there were any",
        f"rotate it, which makes one: privyseal keyring rotate {document.id} --keyring-file FILE",
    )


def _check_free(directory: Path, issuer: Issuer) -> None:
    """Raises Conflict where the metadata of another issuer, another's keys, or something else lies in a file's place."""
    discovery, keys = directory / DISCOVERY_PATH, directory / JWKS_PATH
    told = _read(discovery, _Metadata)
    if told is not None:
        if told.issuer != issuer.url:
            raise _occupied(discovery)
        return
    held = _read(keys, _Keys)
    if held is not None and {one.kid for one in held.keys}.isdisjoint(one.kid for one in issuer.keys):
        raise _occupied(keys)


def _read(path: Path, form: type[T]) -> T | None:
    """What lies there, if anything. Raises Conflict for something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except FileNotFoundError:
        return None
    except OSError as why:
        raise _unwritable(path, why) from None
    except (msgspec.MsgspecError, UnicodeError):
        raise _occupied(path) from None


def _occupied(path: Path) -> Conflict:
    return Conflict(
        "site_occupied",
        f"{path} is of another issuer and is not overwritten",
        "name another directory, or move it away",
    )


class _Metadata(msgspec.Struct):
    issuer: str


class _Key(msgspec.Struct):
    kid: str = ""


class _Keys(msgspec.Struct):
    keys: tuple[_Key, ...]


def _write(path: Path, data: bytes) -> None:
    """Replaces a public file in one step."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as why:
        raise _unwritable(path, why) from None


def _unwritable(path: Path, why: OSError) -> Malformed:
    return Malformed(
        "file_unwritable", f"{path} can't be written: {os.strerror(why.errno or 0)}", "check the directory"
    )
