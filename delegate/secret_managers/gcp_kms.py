"""The kind `GcpKms`: each value under a data key that a key of Google Cloud KMS wraps; records are kept by the manager.

Promises: a data key is made here, wrapped and opened with the AAD of its place, under exactly the keys that the connector
names; both directions are checked by CRC32C, and that the answer names a version of the key that was asked. Must not keep a
data key: that is `Enveloped`'s and its cache's business. Formats: Cloud KMS API v1, `cryptoKeys.encrypt` and `decrypt`;
"Verifying end-to-end data integrity".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.cloud.kms_v1 import KeyManagementServiceAsyncClient
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcAsyncIOTransport
from google.cloud.kms_v1.types import DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse
from grpc import StatusCode, aio

from delegate.credentials import gcp
from delegate.credentials.gcp_calls import CONNECTIONS, Refusals, astray, corrupted
from delegate.credentials.gcp_crc32c import crc32c
from delegate.credentials.refusals import Refusal
from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, Surroundings
from shared.aad import Aad
from shared.connectors.gcp_kms import GcpKmsSettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered
from shared.labels import WRAP

KEY_BYTES = 32
CHECKED = "check"
"""In place of a secret's id, in the AAD of a check."""
SCOPE = "https://www.googleapis.com/auth/cloudkms"
_VERSION = re.compile(r"/cryptoKeyVersions/[1-9][0-9]{0,18}\Z")
_BY_NUMBER = re.compile(r"projects/[0-9]+/")


class GcpKeys:
    """The keys of one connector, as a key service."""

    concurrency = CONNECTIONS

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("GcpKms", connector.spec)
        assert isinstance(told, GcpKmsSettings)
        self._key = told.key
        self._keys = frozenset({told.key, *told.previous})
        self._randomness = surroundings.randomness
        who = gcp.identity(told.identity(), SCOPE, connector, surroundings, secrets)
        self._calls = gcp.calls("cloudkms", _client, who, surroundings, _REFUSALS)
        self._checked = Aad(
            "store", connector.acct, connector.keyring, connector.scope, CHECKED, connector=connector.id
        )

    def accepts(self, key_name: str) -> bool:
        """The configured key and the previous ones; KMS knows which of its versions."""
        return key_name in self._keys

    async def check(self) -> None:
        """Random bytes are wrapped, and the result dropped."""
        await self.generate(self._checked)

    async def generate(self, place: Aad) -> DataKey:
        """A new data key, bound to that place. Raises Denied, NotFound, NotReady, Malformed, Unavailable, Overloaded."""
        key, aad = self._randomness(KEY_BYTES), place.encode(WRAP)

        def check(answer: EncryptResponse) -> None:
            if not _is_of(self._key, answer.name) or not answer.ciphertext:
                raise astray(_ENCRYPT)
            if not (
                answer.verified_plaintext_crc32c
                and answer.verified_additional_authenticated_data_crc32c
                and answer.ciphertext_crc32c == crc32c(answer.ciphertext)
            ):
                raise corrupted(_ENCRYPT)

        request = EncryptRequest(
            name=self._key,
            plaintext=key,
            plaintext_crc32c=crc32c(key),
            additional_authenticated_data=aad,
            additional_authenticated_data_crc32c=crc32c(aad),
        )
        answer = await self._calls.ask("encrypt", _ENCRYPT, f"the key {self._key}", request, check)
        return DataKey(Plaintext(key), self._key, answer.ciphertext)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered for what wasn't wrapped at that place under that key, and what `generate` raises."""
        if not self.accepts(key_name):
            raise Denied(
                "key_unlisted",
                "a record is wrapped with another key than its connector names",
                "list the key in previousKeyNames of the connector, or store the secret again",
            )
        aad = place.encode(WRAP)

        def check(answer: DecryptResponse) -> None:
            if answer.plaintext_crc32c != crc32c(answer.plaintext):
                raise corrupted(_DECRYPT)
            if len(answer.plaintext) != KEY_BYTES:
                raise astray(_DECRYPT)

        request = DecryptRequest(
            name=key_name,
            ciphertext=wrapped,
            ciphertext_crc32c=crc32c(wrapped),
            additional_authenticated_data=aad,
            additional_authenticated_data_crc32c=crc32c(aad),
        )
        answer = await self._calls.ask("decrypt", _DECRYPT, f"the key {key_name}", request, check, _REFUSALS_OF_DECRYPT)
        return Plaintext(answer.plaintext)

    async def close(self) -> None:
        """Close the channel; the access token is forgotten."""
        await self._calls.close()


class GcpKms(Enveloped):
    """The kind `GcpKms`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        keys = GcpKeys(connector, surroundings, secrets)
        super().__init__(keys, surroundings.zone, surroundings.randomness, surroundings.data_keys)


def _client(channel: aio.Channel, host: str) -> Any:
    return KeyManagementServiceAsyncClient(
        transport=KeyManagementServiceGrpcAsyncIOTransport(channel=channel, host=host)
    )


def _is_of(key: str, version: str) -> bool:
    """Whether that is a version of that key. A project that is named by its number may be answered by its id."""
    found = _VERSION.search(version)
    if found is None:
        return False
    name = version[: found.start()]
    if _BY_NUMBER.match(key) and not _BY_NUMBER.match(name):
        return name.split("/", 2)[2:] == key.split("/", 2)[2:]
    return name == key


_ENCRYPT = "cloudkms.cryptoKeyVersions.useToEncrypt"
_DECRYPT = "cloudkms.cryptoKeyVersions.useToDecrypt"
_PAGE = "docs/secret-managers/gcp-kms.md"

# What the status codes of Cloud KMS mean.
_REFUSALS: Refusals = {
    StatusCode.PERMISSION_DENIED: Refusal(
        Denied,
        "gcp_denied",
        "Google doesn't allow {permission} on {about} to {who}, or there is no such key",
        "grant roles/cloudkms.cryptoKeyEncrypterDecrypter on that key; look at projectId, region, keyRing and keyName: "
        + _PAGE,
    ),
    StatusCode.NOT_FOUND: Refusal(
        NotFound, "key_not_found", "there is no {about}", "look at projectId, region, keyRing and keyName"
    ),
    StatusCode.FAILED_PRECONDITION: Refusal(
        NotReady,
        "key_unusable",
        "{about} can't be used: the version that is needed is disabled, or (scheduled to be) destroyed",
        "enable it: gcloud kms keys versions enable; to encrypt, the key's primary version is needed, to decrypt, the one "
        "that the record was made with",
    ),
    StatusCode.INVALID_ARGUMENT: Refusal(
        Malformed,
        "key_unfit",
        "{about} isn't for encrypting and decrypting, or its names are malformed",
        "use a key with the purpose ENCRYPT_DECRYPT; look at projectId, region, keyRing and keyName",
    ),
}
_REFUSALS_OF_DECRYPT: Refusals = {
    StatusCode.INVALID_ARGUMENT: Refusal(
        Tampered, "decryption_failed", "a record's data key wasn't wrapped at this place by {about}", ""
    ),
}
