"""A secret manager made of a provider that keeps the values itself.

Promises: where a value lives is computed from signed documents, never believed from what the manager returns; a
reference that was forged, moved or changed is refused before the provider is asked, and so is one of an excluded
generation without consent; what the secret's document refers to is only read, never written or deleted. Must not keep a
value longer than the call. What is kept is `shared.values.Reference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from delegate.secret_managers.interface import SecretVersion
from delegate.secret_managers.selection import select, split
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.crypto.reference import is_authentic, make
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Conflict, Denied, Malformed, Tampered
from shared.values import LONGEST_LOCATOR, Reference, Stored


@dataclass(frozen=True, slots=True)
class Found:
    """What a provider has: the value and its own id of the version that it is, "" where it knows no versions."""

    value: Plaintext
    version: str


class SecretStore(Protocol):
    """A provider's secrets. `secret.secret.reference` and `metadata` are those of the signed document.

    Names and tags of inline secrets are those of `ownership`; values that can't stand as they are, of `texts`.
    """

    @property
    def concurrency(self) -> int: ...

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written or deleted."""

    @property
    def longest_value(self) -> int:
        """What the provider takes, in bytes."""

    def locator(self, secret: SecretVersion) -> str:
        """Where an inline secret lives, from signed documents only. Raises Malformed."""

    async def check(self) -> None:
        """As `SecretManager.check`."""

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """The value there. `version` is the provider's own; "" is the newest, or what the secret's metadata say.

        For a reference (`secret.secret.reference`), what another secret of ours owns is Denied. Raises NotFound.
        """

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Keep a value as the newest; the provider's version of it. Nothing that others own is overwritten: Conflict.

        To repeat the store task (`secret.aad.version`) is harmless, also after a newer one.
        """

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Remove one version, or all where it is "". What isn't there is no error; what others own is Conflict."""

    async def close(self) -> None:
        """Free what was opened."""


class ReadStore:
    """The half of a store that only reads: `Direct` asks it for nothing else."""

    read_only = True

    def locator(self, secret: SecretVersion) -> str:
        """There is none. Raises Denied."""
        raise _read_only()

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Raises Denied."""
        raise _read_only()

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Raises Denied."""
        raise _read_only()


class Direct:
    """Values at `store`, references with an HMAC of the zone's keyring."""

    def __init__(self, store: SecretStore, zone: Zone) -> None:
        self._store = store
        self._zone = zone

    @property
    def concurrency(self) -> int:
        """As many as the provider takes."""
        return self._store.concurrency

    async def check(self) -> None:
        """Whether the provider answers and the keyring is current."""
        self._zone.current()
        await self._store.check()

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Reference:
        """Write the value, or, where the document refers to one that is there, read that one to see that it can be.

        Raises Malformed for a value that is too long, or one that comes with a reference; Denied for a read-only connector.
        """
        generation = self._zone.current()
        locator = self._locator(secret)
        if secret.secret.reference:
            if len(plaintext):
                raise Malformed("reference_with_value", "a secret that is a reference takes no value", "send none")
            version = (await self._read(secret, "")).version
        else:
            self._check_writable()
            if len(plaintext) > self._store.longest_value:
                raise value_too_long(secret, self._store.longest_value)
            version = await self._store.write(locator, secret, plaintext)
        return make(generation, secret.aad, locator, _metadata(secret), version)

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        """A reference's value: of an inline secret the version that was stored, of a document's reference the newest."""
        reference = self._authenticated(secret, stored)
        return (await self._read(secret, "" if secret.secret.reference else reference.version)).value

    async def look_up(self, secret: SecretVersion) -> Plaintext:
        """What a reference means now; there is no record of it that could be forged."""
        self._zone.current()
        return (await self._read(secret, "")).value

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        """Remove what was written; where the document refers to what was there before, nothing is done.

        Of a whole secret `stored` is its newest record, as far as it is shown. Raises Conflict where that is elsewhere.
        """
        if secret.secret.reference:
            return
        self._check_writable()
        if secret.n == 0:
            self._check_unmoved(secret, stored)
            await self._store.remove(self._locator(secret), secret, "")
        elif stored is not None:
            reference = self._authenticated(secret, stored)
            await self._store.remove(reference.locator, secret, reference.version)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def _read(self, secret: SecretVersion, version: str) -> Found:
        reference = secret.secret.reference
        path, key = split(reference) if reference else (self._store.locator(secret), None)
        found = await self._store.read(path, version, secret)
        value = found.value if key is None else select(found.value, key)
        if len(value) > LARGEST_VALUE_BYTES:
            raise Malformed(
                "value_too_large",
                f"what the provider has for the secret {secret.secret.identifier} is longer than a secret may be: 10 MB",
                "select a part of a JSON object with #key",
            )
        return Found(value, found.version)

    def _locator(self, secret: SecretVersion) -> str:
        locator = secret.secret.reference or self._store.locator(secret)
        if len(locator) > LONGEST_LOCATOR:
            raise Malformed("locator_too_long", "the secret's place at the provider has too long a name")
        return locator

    def _authenticated(self, secret: SecretVersion, stored: Stored) -> Reference:
        # A generation that no document speaks of can only be made up; an honest lag would have asked for the document.
        if not isinstance(stored, Reference) or not stored.generation <= self._zone.current().number:
            raise _forged()
        if not is_authentic(stored, self._zone.made_with(stored.generation).mac_key, secret.aad):
            raise _forged()
        if not secret.excluded and not self._zone.counts(stored.generation):
            raise Denied(
                "generation_excluded",
                f"the value was stored under generation {stored.generation} of the keyring {self._zone.name}, which the "
                "account has excluded: whoever has the old keyring may have made it",
                "store a new value; to read the old one once: privyseal reveal --excluded",
            )
        if (stored.locator, stored.metadata) != (self._locator(secret), _metadata(secret)):
            raise Conflict(
                "locator_changed",
                f"version {secret.n} of the secret {secret.secret.identifier} was stored at another place of the provider "
                "than its document and its connector name now",
                "store the secret again, or change the prefix, reference or metadata back",
            )
        return stored

    def _check_unmoved(self, secret: SecretVersion, stored: Stored | None) -> None:
        # Its newest record comes by the manager's word, and can't be authenticated without its version: it only refuses.
        if isinstance(stored, Reference) and stored.locator != self._locator(secret):
            raise Conflict(
                "locator_changed",
                f"the secret {secret.secret.identifier} is kept at another place of the provider than its document and its "
                "connector name now: nothing would be deleted there",
                "change the connector's prefix or base path back and delete it then; or store it once more and delete it: what "
                "lies at the old place then stays there",
            )

    def _check_writable(self) -> None:
        if self._store.read_only:
            raise _read_only()


def _read_only() -> Denied:
    return Denied(
        "connector_read_only",
        "the connector is read-only: it keeps no values of ours",
        "refer to a secret that is there (valueType: Reference), or use another connector",
    )


def value_too_long(secret: SecretVersion, longest: int) -> Malformed:
    """The error for a value that a provider doesn't take; `longest` in bytes."""
    kind = secret.connector.type
    return Malformed(
        "value_too_large",
        f"the value is longer than a {kind} connector may keep: at most {longest:,} bytes",
        "use a connector whose values the manager keeps, such as the built-in one or AwsKms: up to 10 MB",
        longest=longest,
    )


def _metadata(secret: SecretVersion) -> dict[str, str]:
    """What decides what is read. For an inline secret that is its version alone."""
    return secret.secret.metadata if secret.secret.reference else {}


def _forged() -> Tampered:
    return Tampered("record_forged", "a stored record isn't one that this keyring made for this place")
