"""The kind `AzureKeyVaultKey`: each value under a data key that an RSA key of a vault wraps; records are kept by the manager.

Promises: a data key is wrapped in the vault, never here with a copy of the public key, so that rights and states count; the
record names the very version of the key, and only versions that the connector names are asked to unwrap. RSA-OAEP-256 takes
no associated data: the place's digest is wrapped beside the data key, and what authenticates it is the record's HMAC and the
data key's commitment (`Enveloped`). Source: Key Vault REST API reference, wrapKey and unwrapKey.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from azure.core.rest import HttpRequest
from azure.keyvault.keys.aio import KeyClient

from delegate.credentials.azure_calls import AzureCalls
from delegate.credentials.azure_http import CONNECTIONS
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, Surroundings
from shared.aad import Aad
from shared.canonical import b64u, sha256, unb64u
from shared.connectors.azure_key_vault_key import AzureKeyVaultKeySettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered, Unavailable
from shared.labels import WRAP

KEY_BYTES, DIGEST_BYTES = 32, 32
ALGORITHM = "RSA-OAEP-256"
CHECKED = "check"
"""In place of a secret's id, where a check wraps."""

_NAME = re.compile(r"(?P<host>[a-z0-9.\-]+)/keys/(?P<key>[A-Za-z0-9\-]{1,127})/(?P<version>[0-9a-f]{32})\Z")
_SMALLEST, _LARGEST = 256, 512
"""Bytes of what RSA keys of 2,048 to 4,096 bits make."""


class _Answer(msgspec.Struct, frozen=True):
    kid: str
    value: str


_answer = msgspec.json.Decoder(_Answer)


class AzureKeys:
    """The keys of one connector, as a key service."""

    concurrency = CONNECTIONS

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("AzureKeyVaultKey", connector.spec)
        assert isinstance(told, AzureKeyVaultKeySettings)
        self._host = told.host
        self._key, self._version = told.key_name, told.key_version
        current = f"{told.key_name}/{told.key_version}".rstrip("/")
        self._named = frozenset(one.lower() for one in (current, *told.previous_keys))
        self._randomness = surroundings.randomness
        self._calls = AzureCalls(KeyClient, told, connector, surroundings, secrets, _REFUSALS)
        self._checked = Aad(
            "store", connector.acct, connector.keyring, connector.scope, CHECKED, connector=connector.id
        )

    def accepts(self, key_name: str) -> bool:
        """The connector's key, in its one version or any, and those that it lists as previous ones; of this vault."""
        found = _NAME.match(key_name)
        if found is None or found["host"] != self._host:
            return False
        key = found["key"].lower()
        return bool({key, f"{key}/{found['version']}"} & self._named)

    async def check(self) -> None:
        """A data key is wrapped and dropped."""
        await self.generate(self._checked)

    async def generate(self, place: Aad) -> DataKey:
        """A key drawn here and wrapped there. Raises Denied, NotFound, NotReady, Malformed, Unavailable, Overloaded."""
        key = Plaintext(self._randomness(KEY_BYTES))
        answer = await self._ask("wrapkey", "keys/wrapKey", self._key, self._version, key.reveal() + _bound(place))
        name = self._name(answer.kid)
        wrapped = _bytes(answer.value)
        if name is None or not self._is_asked(name) or not _SMALLEST <= len(wrapped) <= _LARGEST:
            raise _garbled("wrapKey")
        return DataKey(key, name, wrapped)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered for what wasn't wrapped for that place or by that version, and what `generate` raises."""
        found = _NAME.match(key_name)
        if found is None or not self.accepts(key_name):
            raise Denied(
                "key_unlisted",
                "a record is wrapped with another key than its connector names",
                "list the key in previousKeys of the connector, or store the secret again",
            )
        if not _SMALLEST <= len(wrapped) <= _LARGEST:
            raise _forged()
        answer = await self._ask("unwrapkey", "keys/unwrapKey", found["key"], found["version"], wrapped, _UNWRAPPED)
        if self._name(answer.kid) != key_name:
            raise _garbled("unwrapKey")
        opened = _bytes(answer.value)
        if len(opened) != KEY_BYTES + DIGEST_BYTES or not hmac.compare_digest(opened[KEY_BYTES:], _bound(place)):
            raise _forged()
        return Plaintext(opened[:KEY_BYTES])

    async def close(self) -> None:
        """Close the connections; tokens are forgotten."""
        await self._calls.close()

    async def _ask(
        self, action: str, right: str, key: str, version: str, value: bytes, refusals: Refusals | None = None
    ) -> _Answer:
        async def call(client: KeyClient) -> _Answer:
            # The library's own client fetches the public key and wraps by itself where it may.
            request = HttpRequest(
                "POST", f"keys/{key}/{version}/{action}", json={"alg": ALGORITHM, "value": b64u(value)}
            )
            response: Any = await client.send_request(request)
            response.raise_for_status()
            try:
                return _answer.decode(response.content)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                raise _garbled(action) from None

        return await self._calls.ask(right, f"the key {key}", call, refusals)

    def _name(self, kid: str) -> str | None:
        """What a record calls the key of that identifier: host, name and version. None for what is none."""
        try:
            path = urlsplit(kid).path
        except ValueError:
            return None
        name = f"{self._host}{path}"
        return name if _NAME.match(name) else None

    def _is_asked(self, name: str) -> bool:
        """Whether it is a version of the key that was asked to wrap."""
        found = _NAME.match(name)
        assert found is not None
        return found["key"].lower() == self._key.lower() and self._version in {"", found["version"]}


class AzureKeyVaultKey(Enveloped):
    """The kind `AzureKeyVaultKey`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        keys = AzureKeys(connector, surroundings, secrets)
        super().__init__(keys, surroundings.zone, surroundings.randomness, surroundings.data_keys)


def _bound(place: Aad) -> bytes:
    return sha256(place.encode(WRAP))


def _bytes(value: str) -> bytes:
    try:
        return unb64u(value)
    except Malformed:
        raise _garbled("wrapKey or unwrapKey") from None


def _forged() -> Tampered:
    return Tampered("decryption_failed", "a stored value's key wasn't wrapped by the connector's key for this place")


def _garbled(action: str) -> Unavailable:
    return Unavailable(
        "azure_garbled",
        f"what answers {action} doesn't answer what it was asked",
        "look at what stands between the delegate and Azure, and at the delegate's azure_endpoints",
    )


_UNFIT = Refusal(
    Malformed,
    "key_unfit",
    "{about} can't do {right} with RSA-OAEP-256",
    "use an RSA key (or RSA-HSM) of 2,048 bits or more, whose permitted operations have wrapKey and unwrapKey",
)

# Key Vault's codes for keys.
_REFUSALS: Refusals = {
    "KeyNotFound": Refusal(
        NotFound,
        "key_not_found",
        "Key Vault doesn't have {about}, or not that version of it",
        "look at keyName and keyVersion; a deleted key can be recovered: az keyvault key recover",
    ),
    "KeyNotYetValid": Refusal(
        NotReady, "key_not_yet_valid", "{about} isn't valid yet", "wait, or change its activation date"
    ),
    "KeyExpired": Refusal(
        NotReady, "key_expired", "{about} has expired", "make a new version of it, or extend its expiry"
    ),
    "KeyOperationForbidden": _UNFIT,
    "KeyOperationNotAllowed": _UNFIT,
    "BadParameter": _UNFIT,
}
_FORGED = Refusal(
    Tampered, "decryption_failed", "a stored value's key wasn't wrapped by the connector's key for this place", ""
)
_UNWRAPPED: Refusals = {"BadParameter": _FORGED}
