"""The kind `AwsKms`: each value under a data key that a KMS key wraps; records are kept by the manager.

Promises: a data key is asked for and opened with the encryption context of its place, under exactly the key that the
connector names; what KMS answers is held against what it was asked; an ARN that is held as a secret is in no record, error or
log line. Must not keep a data key: that is `Enveloped`'s and its cache's business. Formats: AWS KMS API reference,
GenerateDataKey and Decrypt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delegate.credentials import aws
from delegate.credentials.aws_session import CONNECTIONS
from delegate.credentials.refusals import Refusal, Refusals
from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, Surroundings
from shared.aad import Aad
from shared.connectors.aws_kms import KEY_ARN, AwsKmsSettings, region_of
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered, Unavailable
from shared.labels import WRAP

KEY_BYTES = 32
CHECKED = "check"
"""In place of a secret's id, in the encryption context of a check."""


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key or alias by its ARN. `about` names it in errors; `secret` tells that the ARN itself must not be shown."""

    arn: str
    about: str
    secret: bool

    @property
    def is_alias(self) -> bool:
        """Whether the ARN is an alias's, that can come to mean another key."""
        return ":alias/" in self.arn

    def name_of(self, arn: str) -> str:
        """What a record calls the key of that ARN; the same as a secret, where only who knows the ARN recognises it."""
        return hidden(arn) if self.secret else arn

    def may_mean(self, name: str) -> bool:
        """Whether a record may call this key so, whether or not its ARN was a secret then; of an alias only KMS knows."""
        if not self.is_alias:
            return name in {self.arn, hidden(self.arn)}
        return name.startswith((HIDDEN, self.arn.partition(":alias/")[0] + ":key/"))


HIDDEN = "sha256:"


def hidden(arn: str) -> str:
    """The name of a key whose ARN is a secret; its id is random, so nobody finds it by trying."""
    return HIDDEN + hashlib.sha256(arn.encode("ascii")).hexdigest()


class AwsKeys:
    """The keys of one connector, as a key service."""

    concurrency = CONNECTIONS

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("AwsKms", connector.spec)
        assert isinstance(told, AwsKmsSettings)
        self._key = _key(told, secrets)
        previous = [KmsKey(arn, f"the key {arn}", secret=False) for arn in told.previous_kms_arns]
        # An alias comes last: it may mean any key, and one that is listed is asked by its own ARN.
        self._keys = sorted([self._key, *previous], key=lambda key: key.is_alias)
        identity = aws.identity(told.credential, told.region, connector, surroundings, secrets)
        self._calls = aws.calls("kms", identity, told.region, surroundings, _REFUSALS)
        self._checked = Aad(
            "store", connector.acct, connector.keyring, connector.scope, CHECKED, connector=connector.id
        )

    def accepts(self, key_name: str) -> bool:
        """The configured key and the previous ones; where an alias is configured KMS has the last word, at `unwrap`."""
        return self._named(key_name) is not None

    async def check(self) -> None:
        """A data key is asked for and dropped."""
        await self.generate(self._checked)

    async def generate(self, place: Aad) -> DataKey:
        """A new data key, bound to that place. Raises Denied, NotFound, NotReady, Malformed, Unavailable, Overloaded."""
        answer = await self._calls.ask(
            "GenerateDataKey",
            self._key.about,
            KeyId=self._key.arn,
            KeySpec="AES_256",
            EncryptionContext=place.encryption_context(WRAP),
        )
        plaintext, wrapped, arn = _answered(answer, "Plaintext", "CiphertextBlob", "KeyId")
        if not self._is_of(self._key, arn) or not wrapped or len(plaintext) != KEY_BYTES:
            raise _garbled("kms:GenerateDataKey")
        return DataKey(Plaintext(plaintext), self._key.name_of(arn), wrapped)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered for what wasn't wrapped at that place under that key, and what `generate` raises."""
        key = self._named(key_name)
        if key is None:
            raise Denied(*_UNLISTED)
        answer = await self._calls.ask(
            "Decrypt",
            key.about,
            _REFUSALS_OF_ALIAS if key.is_alias else None,
            KeyId=key.arn,
            CiphertextBlob=wrapped,
            EncryptionContext=place.encryption_context(WRAP),
            EncryptionAlgorithm="SYMMETRIC_DEFAULT",
        )
        plaintext, arn = _answered(answer, "Plaintext", "KeyId")
        if not self._is_of(key, arn) or len(plaintext) != KEY_BYTES:
            raise _garbled("kms:Decrypt")
        if key_name not in {arn, hidden(arn)}:
            raise Denied(*_UNLISTED)
        return Plaintext(plaintext)

    async def close(self) -> None:
        """Close the clients; credentials are forgotten."""
        await self._calls.close()

    def _named(self, key_name: str) -> KmsKey | None:
        return next((key for key in self._keys if key.may_mean(key_name)), None)

    @staticmethod
    def _is_of(key: KmsKey, arn: str) -> bool:
        """Whether KMS answered for the key that it was asked for."""
        if key.is_alias:
            return KEY_ARN.match(arn) is not None and key.may_mean(arn)
        return arn == key.arn


class AwsKms(Enveloped):
    """The kind `AwsKms`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        keys = AwsKeys(connector, surroundings, secrets)
        super().__init__(keys, surroundings.zone, surroundings.randomness, surroundings.data_keys)


def _key(told: AwsKmsSettings, secrets: Mapping[str, Plaintext]) -> KmsKey:
    if told.kms_arn_in_plain_text is not None:
        return KmsKey(told.kms_arn_in_plain_text, f"the key {told.kms_arn_in_plain_text}", secret=False)
    assert told.kms_arn is not None
    arn = secrets[told.kms_arn].reveal().decode("ascii", "replace").strip()
    if not KEY_ARN.match(arn) or region_of(arn) != told.region:
        raise Malformed(
            "credential_malformed",
            f"the secret {told.kms_arn} isn't the ARN of a key in the region {told.region}",
            "store it again: arn:aws:kms:REGION:ACCOUNT:key/ID",
        )
    return KmsKey(arn, f"the key that the secret {told.kms_arn} names", secret=True)


def _answered(answer: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    try:
        return tuple(answer[name] for name in names)
    except KeyError:
        raise _garbled("kms") from None


def _garbled(action: str) -> Unavailable:
    return Unavailable(
        "aws_garbled",
        f"what answers {action} doesn't answer what it was asked",
        "look at what stands between the delegate and AWS, and at the delegate's aws_endpoints",
    )


_UNLISTED = (
    "key_unlisted",
    "a record is wrapped with another key than its connector names, or its alias means by now",
    "list the key in previousKmsArns of the connector, or store the secret again",
)

# What KMS's own codes mean, without "Exception" at their end.
_REFUSALS: Refusals = {
    "AccessDenied": Refusal(
        Denied,
        "aws_denied",
        "AWS doesn't allow {action} on {about} to {who}",
        "allow {action} on the key in the IAM policy of who calls, and in the key's own policy: docs/secret-managers/aws-kms.md",
    ),
    "NotFound": Refusal(
        NotFound,
        "key_not_found",
        "there is no {about} in the connector's region",
        "look at its ARN, account and region",
    ),
    "Disabled": Refusal(NotReady, "key_disabled", "{about} is disabled", "enable it: aws kms enable-key"),
    "KMSInvalidState": Refusal(
        NotReady,
        "key_unusable",
        "{about} is pending deletion, or in another state in which it can't be used",
        "see its state: aws kms describe-key; a deletion can be taken back while it is pending: aws kms cancel-key-deletion",
    ),
    "InvalidKeyUsage": Refusal(
        Malformed, "key_unfit", "{about} isn't for encrypting", "use a symmetric key with the usage ENCRYPT_DECRYPT"
    ),
    "InvalidCiphertext": Refusal(
        Tampered, "decryption_failed", "a record's data key wasn't wrapped at this place by {about}", ""
    ),
    "IncorrectKey": Refusal(
        Tampered, "decryption_failed", "a record's data key wasn't wrapped at this place by {about}", ""
    ),
    "InvalidArn": Refusal(Malformed, "key_malformed", "KMS doesn't take the ARN of {about}", "look at the ARN"),
    "KeyUnavailable": Refusal(Unavailable, "aws_unavailable", "KMS can't use {about} for now", "try again"),
    "DependencyTimeout": Refusal(
        Unavailable, "aws_unavailable", "KMS was too slow for itself at {action}", "try again"
    ),
    "KMSInternal": Refusal(Unavailable, "aws_unavailable", "KMS fails at {action}", "try again"),
}
_REFUSALS_OF_ALIAS: Refusals = {"IncorrectKey": Refusal(Denied, *_UNLISTED)}
