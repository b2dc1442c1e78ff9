"""What a kind of secret manager promises.

A manager gets a value with its place and gives back what has to be kept (`Wrapped`, or a `Reference` to what the provider
keeps), and the value again for that. The place binds: what is moved doesn't come back. Errors are those of
`shared.errors` and never carry a value; each call to a provider has a timeout. The delegate calls a manager only after a
task's warrant was checked, so no kind decides who may do what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from delegate.clock import Clock
from delegate.credentials.refused import RefusedCredentials
from delegate.data_keys import DataKeys
from delegate.endpoints import Endpoints
from delegate.mask_patterns import MaskPatterns
from delegate.policy import LocalPolicy
from delegate.zone import Zone
from shared.aad import Aad
from shared.canonical import decode, encode
from shared.crypto import record
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import SecretDocument
from shared.documents.template import TemplateDocument
from shared.errors import Malformed
from shared.values import Reference, Stored, Wrapped

Randomness = Callable[[int], bytes]
"""So many random bytes: `secrets.token_bytes`."""

REFERENCE_VERSION = b"\x02"


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """Version `n` of a secret and the place `aad` that binds it; n is 0 for the whole secret (delete).

    `excluded`: who asks has signed that he takes a record of an excluded generation, which its thief may have made.
    """

    secret: SecretDocument
    connector: ConnectorDocument
    n: int
    aad: Aad
    excluded: bool = False


class SecretManager(Protocol):
    """One configured instance. `concurrency` is how many calls of one task may run at once: 1 where nothing waits."""

    @property
    def concurrency(self) -> int: ...

    async def check(self) -> None:
        """A bounded, authenticated probe that writes nothing."""

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Stored:
        """Keep a value; storing the same version twice is harmless."""

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        """The value. Raises Tampered, NotFound, Denied, NotReady, Unavailable.

        What an excluded generation made is Denied unless `secret.excluded`.
        """

    async def look_up(self, secret: SecretVersion) -> Plaintext:
        """What `secret.secret.reference` names, for whoever may have it without a secret document of ours.

        Raises as `fetch`, and Malformed where no value lives at the provider.
        """

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        """Remove what the provider keeps, all versions where n is 0; what isn't there is no error.

        `stored` is the record of that version, or of the newest where n is 0, as far as the manager shows one.
        """

    async def close(self) -> None:
        """Give connections back; nothing else is called afterwards. Twice is harmless."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A fresh key of 32 bytes, what wraps it (by the name that a record says) and its wrapped form."""

    key: Plaintext
    key_name: str
    wrapped: bytes


class KeyService(Protocol):
    """What wraps keys; `Enveloped` makes a secret manager of it."""

    @property
    def concurrency(self) -> int: ...

    def accepts(self, key_name: str) -> bool:
        """Whether a record may name that key: the current one, or one that the connector lists as a previous one."""

    async def check(self) -> None:
        """As `SecretManager.check`."""

    async def generate(self, place: Aad) -> DataKey:
        """A key for one value, wrapped with the current key at that place."""

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """What was wrapped there. Raises Tampered."""

    async def close(self) -> None:
        """As `SecretManager.close`."""


class Tokens(Protocol):
    """Makes ID tokens that clouds believe by the keyring's published keys."""

    async def mint(self, connector: ConnectorDocument, audience: str) -> str:
        """A token of ten minutes that says which connector it is for. Raises NotReady."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a kind may use of the delegate that it runs in.

    Each host that it calls must pass `policy.allows_host`; `call_seconds` bounds one try of a call. `template` is the verified
    template that the connector names, for the one kind that runs one; `refused` what must not be shown to a provider again.
    `ssh_known_hosts` is the path of the delegate's own known hosts, empty for none; `variables` are those of its own that what it
    starts may get; `mask_patterns` its owner's for what that prints.
    """

    zone: Zone
    policy: LocalPolicy
    randomness: Randomness
    clock: Clock = field(default_factory=Clock)
    delegate: str = "delegate"
    endpoints: Endpoints = field(default_factory=Endpoints)
    gcp_endpoints: Endpoints = field(default_factory=Endpoints)
    azure_endpoints: Endpoints = field(default_factory=Endpoints)
    tokens: Tokens | None = None
    data_keys: DataKeys = field(default_factory=lambda: DataKeys(Clock()))
    call_seconds: float = 15.0
    ssh_known_hosts: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    mask_patterns: MaskPatterns | None = None
    template: TemplateDocument | None = None
    refused: RefusedCredentials = field(default_factory=RefusedCredentials)


class Kind(Protocol):
    """Makes a secret manager from a verified connector. Raises Malformed for a `spec` that the kind doesn't take.

    `secrets` has the value of each of `connector.secrets`, by its text. Nothing is called yet.
    """

    def __call__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> SecretManager: ...


_reference = msgspec.json.Decoder(Reference)


def stored_bytes(stored: Stored) -> bytes:
    """A stored value's bytes: a record begins with 01; a reference is 02, then canonical JSON."""
    return stored.raw if isinstance(stored, Wrapped) else REFERENCE_VERSION + encode(stored)


def stored_value(raw: bytes) -> Stored:
    """What `stored_bytes` was given, not yet authenticated. Raises Malformed."""
    match raw[:1]:
        case record.VERSION:
            return Wrapped(raw)
        case b"\x02":
            return decode(raw[1:], _reference, "stored reference")
    raise Malformed("record_malformed", "a stored record has an unknown version")
