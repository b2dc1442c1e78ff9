"""The kind `VaultTransit`: values in the manager's database, each under a data key that a key of Vault's transit wraps.

Promises: the wrapped key is bound to its place, as associated data and as derivation context, whatever kind of key it is;
the key's name in a record is checked against the connector's before Vault is asked; no key is made by asking for one that
isn't there. Format: Vault's API, secret/transit; the record names `vault-transit/ENGINE/KEY`, without host and namespace, so
that records outlive a move of Vault.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from hvac import Client  # type: ignore[import-untyped]

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.vault import Use, VaultIdentity
from delegate.credentials.vault_calls import garbled, parsed
from delegate.credentials.vault_http import CONNECTIONS
from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, Surroundings
from delegate.secret_managers.vault_rights import check_rights
from shared.aad import Aad
from shared.canonical import sha256
from shared.connectors.kinds import settings
from shared.connectors.vault import VaultTransitSettings, segments
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered
from shared.labels import WRAP

KEY_BYTES = 32

_CIPHERTEXT = re.compile(rb"vault:v[1-9][0-9]{0,9}:[A-Za-z0-9+/]{16,4096}={0,2}\Z")
_NOTHING = "vault:v1:AAAA"
"""A ciphertext that no key has made: what the answer says is whether the key is there."""


class _Encrypted(msgspec.Struct, frozen=True):
    ciphertext: str


class _EncryptAnswer(msgspec.Struct, frozen=True):
    data: _Encrypted


class _Decrypted(msgspec.Struct, frozen=True):
    plaintext: str


class _DecryptAnswer(msgspec.Struct, frozen=True):
    data: _Decrypted


class TransitKeys:
    """One key of a transit engine, and its predecessors, as a key service."""

    concurrency = CONNECTIONS

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("VaultTransit", connector.spec)
        assert isinstance(told, VaultTransitSettings)
        self._engine = "/".join(segments(told.secret_engine_name))
        self._key = told.key_name
        self._names = {self._name(key): key for key in (told.key_name, *told.previous_key_names)}
        self._randomness = surroundings.randomness
        self._identity = VaultIdentity(told, connector, surroundings, secrets)
        self._is_there = False

    def accepts(self, key_name: str) -> bool:
        """The connector's key and those that it lists as previous ones."""
        return key_name in self._names

    async def check(self) -> None:
        """Whether the token has the rights, the key is there, and what it wraps is bound to its place."""
        await self._identity.check()
        place, other = Aad("store", "check", "check", n=1), Aad("store", "check", "check", n=2)
        async with self._identity.use() as use:
            await check_rights(
                use, {f"{self._engine}/{verb}/{self._key}": ("update",) for verb in ("encrypt", "decrypt")}
            )
            self._is_there = False
            made = await self._made(use, place)
            if await self._unwrapped(use, self._key, made.wrapped, place) != made.key:
                raise _forged()
            try:
                await self._unwrapped(use, self._key, made.wrapped, other)
            except Tampered:
                return
        raise NotReady(
            "vault_unbound",
            f"the transit engine {self._engine} ignores associated data, so that a wrapped key could be moved",
            "update Vault: associated data are known to it from 1.9 on; or use a key with derivation",
        )

    async def generate(self, place: Aad) -> DataKey:
        """A key drawn here, since transit's own data keys aren't bound to a place by every server."""
        async with self._identity.use() as use:
            return await self._made(use, place)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered, Denied for a version of the key that Vault no longer uses, NotFound for a key that is gone."""
        key = self._names.get(key_name)
        if key is None or not _CIPHERTEXT.match(wrapped):
            raise _forged()
        async with self._identity.use() as use:
            return await self._unwrapped(use, key, wrapped, place)

    async def close(self) -> None:
        """Revoke and close."""
        await self._identity.close()

    def _name(self, key: str) -> str:
        return f"vault-transit/{self._engine}/{key}"

    async def _made(self, use: Use, place: Aad) -> DataKey:
        await self._see_key(use)
        about, bound = f"update on {self._engine}/encrypt/{self._key}", _bound(place)
        key = Plaintext(self._randomness(KEY_BYTES))

        def call(client: Client) -> Any:
            plaintext = base64.b64encode(key.reveal()).decode("ascii")
            return client.secrets.transit.encrypt_data(
                self._key, plaintext, context=bound, associated_data=bound, mount_point=self._engine
            )

        answer = parsed(await use.ask(about, call, _UNFIT), _EncryptAnswer, about)
        wrapped = answer.data.ciphertext.encode()
        if not _CIPHERTEXT.match(wrapped):
            raise garbled(about)
        return DataKey(key, self._name(self._key), wrapped)

    async def _see_key(self, use: Use) -> None:
        """Whether the key is there, once: to encrypt with one that isn't makes it, where a policy says `create`."""
        if self._is_there:
            return
        try:
            await self._decrypted(use, self._key, _NOTHING, "", _PRESENT)
        except Tampered:
            pass
        self._is_there = True

    async def _unwrapped(self, use: Use, key: str, wrapped: bytes, place: Aad) -> Plaintext:
        about = f"update on {self._engine}/decrypt/{key}"
        answer = await self._decrypted(use, key, wrapped.decode("ascii"), _bound(place))
        try:
            opened = base64.b64decode(parsed(answer, _DecryptAnswer, about).data.plaintext, validate=True)
        except ValueError:
            raise garbled(about) from None
        if len(opened) != KEY_BYTES:
            raise _forged()
        return Plaintext(opened)

    async def _decrypted(
        self, use: Use, key: str, ciphertext: str, bound: str, refusals: Refusals | None = None
    ) -> Any:
        def call(client: Client) -> Any:
            return client.secrets.transit.decrypt_data(
                key, ciphertext, context=bound, associated_data=bound, mount_point=self._engine
            )

        return await use.ask(f"update on {self._engine}/decrypt/{key}", call, refusals or _REFUSALS)


class VaultTransit(Enveloped):
    """The kind `VaultTransit`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        keys = TransitKeys(connector, surroundings, secrets)
        super().__init__(keys, surroundings.zone, surroundings.randomness, surroundings.data_keys)


def _bound(place: Aad) -> str:
    """The place's digest, in the form in which transit takes associated data and contexts."""
    return base64.b64encode(sha256(place.encode(WRAP))).decode("ascii")


def _forged() -> Tampered:
    return Tampered("decryption_failed", "a stored value's key wasn't wrapped by the connector's key for this place")


_UNFIT: Refusals = {
    "key not found": Refusal(
        NotFound,
        "vault_key_missing",
        "there is no key where {place} leads",
        "make it: vault write -f ENGINE/keys/NAME; a key that was deleted takes the values under it along",
    ),
    "non-AEAD": Refusal(
        Malformed,
        "vault_key_unfit",
        "the key's type takes no associated data, at {about}",
        "use a key of the type aes256-gcm96 or chacha20-poly1305",
    ),
    "not support": Refusal(
        Malformed,
        "vault_key_unfit",
        "the key's type can't do {about}",
        "use a key of the type aes256-gcm96 or chacha20-poly1305",
    ),
}
_NOT_OURS = Refusal(
    Tampered, "decryption_failed", "a stored value's key wasn't wrapped by the connector's key for this place", ""
)
_REFUSALS: Refusals = {
    **_UNFIT,
    "too old": Refusal(
        Denied,
        "vault_key_version_disallowed",
        "Vault no longer uses the version of the key that a value is under, at {about}",
        "lower min_decryption_version of the key, or store the secret again",
    ),
    400: _NOT_OURS,
}
# A key of another type fails in its own way at what no key has made.
_PRESENT: Refusals = {**_UNFIT, 400: _NOT_OURS, 500: _NOT_OURS}
