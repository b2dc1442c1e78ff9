"""The kind `Pkcs11`: values in the manager's database, each under a data key that a key of a hardware module wraps.

Promises: the wrapping key stays in the token; the wrapped key is bound to its place, as associated data of AES-GCM, or by a key
that the token's HMAC makes for that place alone; a library is loaded only if this delegate's own policy names its file, and never
in the delegate's process. Formats: PKCS #11 2.40, CKM_AES_GCM and CKM_SHA256_HMAC; a record names `pkcs11-gcm/TOKEN/KEY` or
`pkcs11-hmac/TOKEN/KEY`, percent-encoded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from delegate.credentials.pkcs11 import TokenSession
from delegate.credentials.pkcs11_messages import Ask
from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, Surroundings
from shared.aad import Aad
from shared.canonical import sha256
from shared.connectors.kinds import settings
from shared.connectors.pkcs11 import Pkcs11Settings
from shared.crypto import aead
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import NotReady, Tampered, Unavailable
from shared.labels import WRAP

KEY_BYTES = 32
NONCE_BYTES = 12
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16


class Pkcs11Keys:
    """One key of a token, and its predecessors, as a key service."""

    concurrency = 1

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("Pkcs11", connector.spec)
        assert isinstance(told, Pkcs11Settings)
        self._told = told
        self._randomness = surroundings.randomness
        self._is_mac = told.mechanism == "SHA256_HMAC"
        tokens = [one for one in (told.token_label, told.token_serial) if one]
        # By the label and by the serial number: a connector may come to name the one instead of the other.
        self._names = {self._name(token, key): key for token in tokens for key in (told.key, *told.older_keys)}
        self._own = self._name(tokens[0], told.key)
        self._session = TokenSession(
            told,
            surroundings.policy.library(told.library),
            secrets[told.pin],
            surroundings.refused,
            surroundings.call_seconds,
            os.environ,
        )

    def accepts(self, key_name: str) -> bool:
        """The connector's key and those that it lists as previous ones."""
        return key_name in self._names

    async def check(self) -> None:
        """Whether the token takes the PIN and has the key, and what it wraps opens at its place and at no other."""
        place, other = Aad("store", "check", "check", n=1), Aad("store", "check", "check", n=2)
        made = await self.generate(place)
        if await self.unwrap(made.key_name, made.wrapped, place) != made.key:
            raise _forged()
        try:
            await self.unwrap(made.key_name, made.wrapped, other)
        except Tampered:
            return
        raise NotReady(
            "pkcs11_unbound",
            "the token ignores associated data, so that a wrapped key could be moved",
            "use the mechanism SHA256_HMAC with it",
        )

    async def generate(self, place: Aad) -> DataKey:
        """A key drawn here: few tokens give out one that is bound to a place."""
        key, (label, id) = Plaintext(self._randomness(KEY_BYTES)), self._told.key
        if self._is_mac:
            kek = await self._mac(label, id, place)
            return DataKey(
                key, self._own, aead.encrypt(kek, key, place.encode(WRAP), self._randomness(aead.SALT_BYTES))
            )
        nonce = self._randomness(NONCE_BYTES)
        wrapped = await self._session.ask(Ask("wrap", label, id, _bound(place), key.reveal(), nonce))
        if len(wrapped) != WRAPPED_BYTES or key.reveal() in wrapped:
            raise _garbled()
        return DataKey(key, self._own, wrapped)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered, NotFound for a key that is gone."""
        named = self._names.get(key_name)
        if named is None:
            raise _forged()
        label, id = named
        if self._is_mac:
            opened = aead.decrypt(await self._mac(label, id, place), wrapped, place.encode(WRAP))
        else:
            if len(wrapped) != WRAPPED_BYTES:
                raise _forged()
            opened = Plaintext(await self._session.ask(Ask("unwrap", label, id, _bound(place), wrapped)))
        if len(opened) != KEY_BYTES:
            raise _forged()
        return opened

    async def close(self) -> None:
        """Logs out."""
        await self._session.close()

    async def _mac(self, label: str, id: str, place: Aad) -> bytes:  # noqa: A002 (the standard's word)
        kek = await self._session.ask(Ask("wrap", label, id, place.encode(WRAP)))
        if len(kek) != KEY_BYTES:
            raise _garbled()
        return kek

    def _name(self, token: str, key: tuple[str, str]) -> str:
        label, id = key
        kind = "pkcs11-hmac" if self._is_mac else "pkcs11-gcm"
        return f"{kind}/{quote(token, safe='')}/{quote(label, safe='')}" + (f"#{id}" if id else "")


class Pkcs11(Enveloped):
    """The kind `Pkcs11`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        keys = Pkcs11Keys(connector, surroundings, secrets)
        super().__init__(keys, surroundings.zone, surroundings.randomness, surroundings.data_keys)


def _bound(place: Aad) -> bytes:
    """The place's digest: some tokens take only short associated data."""
    return sha256(place.encode(WRAP))


def _forged() -> Tampered:
    return Tampered("decryption_failed", "a stored value's key wasn't wrapped by the connector's key for this place")


def _garbled() -> Unavailable:
    return Unavailable(
        "pkcs11_garbled",
        "the token's answer isn't what its mechanism makes",
        "look at the token's library, or update it",
    )
