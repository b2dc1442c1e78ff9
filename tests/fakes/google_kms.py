"""Cloud KMS as "Cloud KMS API v1" documents it: symmetric keys with versions, AES-256-GCM, checksums both ways."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1.types import DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse
from grpc import StatusCode

from tests.fakes.crc32c import crc32c
from tests.fakes.google import PROJECT, Call, Refused

if TYPE_CHECKING:
    from tests.fakes.google import Google

_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+\Z")
LARGEST = 65_536
NONCE = 12


@dataclass
class Key:
    """Its versions' material and states by number; the primary one encrypts."""

    versions: dict[int, bytes] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    primary: int = 0
    purpose: str = "ENCRYPT_DECRYPT"

    def rotate(self) -> int:
        """A new primary version."""
        self.primary += 1
        self.versions[self.primary] = secrets.token_bytes(32)
        self.states[self.primary] = "ENABLED"
        return self.primary


class Keys:
    """The service."""

    NAME = "google.cloud.kms.v1.KeyManagementService"
    SCOPES = frozenset({"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/cloudkms"})

    def __init__(self, google: Google) -> None:
        self._google = google
        self.keys: dict[str, Key] = {}

    def methods(self) -> Mapping[str, tuple[Any, Callable[[Call], Any]]]:
        """By name: the request's type, and what serves it."""
        return {"Encrypt": (EncryptRequest, self._encrypt), "Decrypt": (DecryptRequest, self._decrypt)}

    def new_key(self, name: str, purpose: str = "ENCRYPT_DECRYPT") -> str:
        """The resource name of a key with one version."""
        full = f"projects/{PROJECT}/locations/europe-west1/keyRings/ring/cryptoKeys/{name}"
        self.keys[full] = Key(purpose=purpose)
        self.keys[full].rotate()
        return full

    def _encrypt(self, call: Call) -> EncryptResponse:
        asked: EncryptRequest = call.request
        key = self._key(call, "cloudkms.cryptoKeyVersions.useToEncrypt", asked.name)
        if len(asked.plaintext) > LARGEST or len(asked.additional_authenticated_data) > LARGEST:
            raise Refused(StatusCode.INVALID_ARGUMENT, "The plaintext must be no larger than 64KiB.")
        plain = _verified(asked.plaintext, asked.plaintext_crc32c, "plaintext")
        aad = _verified(
            asked.additional_authenticated_data,
            asked.additional_authenticated_data_crc32c,
            "additional_authenticated_data",
        )
        version = self._usable(asked.name, key, key.primary)
        nonce = secrets.token_bytes(NONCE)
        sealed = AESGCM(key.versions[version]).encrypt(nonce, asked.plaintext, asked.additional_authenticated_data)
        ciphertext = version.to_bytes(4, "big") + nonce + sealed
        return EncryptResponse(
            name=f"{asked.name}/cryptoKeyVersions/{version}",
            ciphertext=ciphertext,
            ciphertext_crc32c=crc32c(ciphertext),
            verified_plaintext_crc32c=plain,
            verified_additional_authenticated_data_crc32c=aad,
        )

    def _decrypt(self, call: Call) -> DecryptResponse:
        asked: DecryptRequest = call.request
        key = self._key(call, "cloudkms.cryptoKeyVersions.useToDecrypt", asked.name)
        _verified(asked.ciphertext, asked.ciphertext_crc32c, "ciphertext")
        _verified(
            asked.additional_authenticated_data,
            asked.additional_authenticated_data_crc32c,
            "additional_authenticated_data",
        )
        version, sealed = int.from_bytes(asked.ciphertext[:4], "big"), asked.ciphertext[4:]
        wrong = Refused(
            StatusCode.INVALID_ARGUMENT,
            "Decryption failed: verify that 'name' refers to the correct CryptoKey.",
        )
        if version not in key.versions:
            raise wrong
        self._usable(asked.name, key, version)
        try:
            plain = AESGCM(key.versions[version]).decrypt(
                sealed[:NONCE], sealed[NONCE:], asked.additional_authenticated_data
            )
        except (InvalidTag, ValueError):
            raise wrong from None
        return DecryptResponse(plaintext=plain, plaintext_crc32c=crc32c(plain), used_primary=version == key.primary)

    def _key(self, call: Call, permission: str, name: str) -> Key:
        if not _NAME.match(name):
            raise Refused(StatusCode.INVALID_ARGUMENT, "The name is malformed.")
        self._google.check(call, permission, name)
        key = self.keys.get(name)
        if key is None:
            raise Refused(StatusCode.NOT_FOUND, f"CryptoKey {name} not found.")
        if key.purpose != "ENCRYPT_DECRYPT":
            raise Refused(StatusCode.INVALID_ARGUMENT, f"CryptoKey purpose is {key.purpose}, must be ENCRYPT_DECRYPT.")
        return key

    @staticmethod
    def _usable(name: str, key: Key, version: int) -> int:
        if key.states[version] != "ENABLED":
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                f"{name}/cryptoKeyVersions/{version} is not enabled, current state is: {key.states[version]}.",
                "KEY_DISABLED" if key.states[version] == "DISABLED" else "KEY_DESTROYED",
            )
        return version


def _verified(content: bytes, checksum: Any, what: str) -> bool:
    """Whether there is a checksum, and it is right: "Verifying end-to-end data integrity"."""
    if checksum is None:
        return False
    if checksum != crc32c(content):
        raise Refused(StatusCode.INVALID_ARGUMENT, f"The checksum in field {what}_crc32c did not match the data.")
    return True
