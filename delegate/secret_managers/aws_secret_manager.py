"""The kind `AwsSecretManager`: values live in AWS Secrets Manager, under names of ours or under names that others gave.

Promises: nothing is overwritten or deleted there that doesn't carry the tags of exactly this secret, and what carries any
secret's tags isn't read by reference; a version's id is the digest of its store task, so that storing again is harmless;
an earlier secret of the same name and account, deleted and still recoverable, is restored and then written. Must not keep
a value longer than the call. Formats: AWS Secrets Manager API reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from delegate.credentials import aws
from delegate.credentials.aws_calls import garbled
from delegate.credentials.aws_session import CONNECTIONS
from delegate.credentials.refusals import Refusal, Refusals
from delegate.pair import both
from delegate.secret_managers.direct import Direct, Found, value_too_long
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.ownership import (
    CREATOR,
    CREATOR_TAG,
    check_owner,
    check_referable,
    inline_name,
    is_of_account,
    is_ours,
    is_own,
    tags_of,
)
from delegate.secret_managers.texts import foreign, text_or_bytes, value_of
from shared.canonical import is_digest
from shared.connectors.aws_secret_manager import ARN, NAME, AwsSecretManagerSettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, PrivySealError, Unavailable

LONGEST_VALUE = 65_536
"""Bytes, text or binary: AWS Secrets Manager quotas, "Secret value"."""

CHECKED = "privyseal-check"
"""Ends the name that a check asks for. No secret of ours can have it: identifiers have no hyphen."""

_METADATA = frozenset({"version", "kms_key_id"})
_SHORTEST_ID, _LONGEST_ID = 32, 64
"""Characters of a version's id; a staging label of that length can't be told from one."""

_log = structlog.get_logger()


class AwsSecrets:
    """The secrets of one account and region, as a secret store."""

    concurrency = CONNECTIONS
    read_only = False
    longest_value = LONGEST_VALUE

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("AwsSecretManager", connector.spec)
        assert isinstance(told, AwsSecretManagerSettings)
        self._settings = told
        who = aws.identity(told.credential, told.region, connector, surroundings, secrets)
        self._calls = aws.calls("secretsmanager", who, told.region, surroundings, _REFUSALS)

    def locator(self, secret: SecretVersion) -> str:
        """The prefix and `ID`, `ORG.ID` or `ORG.PROJECT.ID`."""
        return self._settings.name(inline_name(secret, "."))

    async def check(self) -> None:
        """A secret that can't be there is asked for; that AWS doesn't find it is the answer that is wanted."""
        name = self._settings.name(CHECKED)
        for action in ("DescribeSecret", "GetSecretValue"):
            try:
                await self._ask(action, name, {})
            except NotFound:
                pass

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """Of ours exactly that version; of others' the one that the metadata say, AWSCURRENT where they say none."""
        if not secret.secret.reference:
            found = await self._value(locator, {"VersionId": version})
            if found["VersionId"] != version:
                raise garbled("secretsmanager:GetSecretValue")
            return Found(value_of(_kept(found)), version)
        _check_metadata(secret)
        self._check_reference(locator)
        described, found = await both(
            self._described(locator), self._value(locator, _chosen(secret.secret.metadata.get("version", "")))
        )
        # The ARN of what was made anew under a name is another one.
        if described.get("ARN") != found.get("ARN"):
            raise Conflict("secret_changing", f"the secret {locator} is being changed by others", "try again")
        check_referable(_tags(described))
        return Found(foreign(_kept(found)), str(found["VersionId"]))

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Create the secret, or add a version to it; the version's id is the digest of the store task."""
        _check_metadata(secret)
        kept = text_or_bytes(value)
        if isinstance(kept, str) and len(kept.encode()) > LONGEST_VALUE:
            raise value_too_long(secret, LONGEST_VALUE)
        form = "SecretString" if isinstance(kept, str) else "SecretBinary"
        content = {form: kept, "ClientRequestToken": secret.aad.version}
        # The first version costs one call where nothing stands in its way, and any later one two.
        version = await self._created(locator, secret, content) if secret.n == 1 else None
        if version is not None:
            return version
        try:
            described = await self._described(locator)
        except NotFound:
            version = await self._created(locator, secret, content)
            if version is not None:
                return version
            described = await self._described(locator)
        return await self._renewed(locator, secret, content, described)

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Delete the secret, at once or with the connector's window. What is another's under that name isn't ours."""
        if version:
            raise Denied(
                "version_kept",
                "AWS Secrets Manager deletes no single versions, only a secret with all of them",
                "delete the secret; AWS itself drops versions without a label when there are more than 100",
            )
        try:
            described = await self._described(locator)
        except NotFound:
            return
        if not is_own(secret, _tags(described)):
            # Versions with ids of ours, and no tags: somebody took the tags off. Nobody else's versions look so.
            if not is_ours(_tags(described)) and any(map(is_digest, described.get("VersionIdsToStages", {}))):
                check_owner(secret, {})
            return
        if "DeletedDate" not in described or self._settings.recovery_days is None:
            await self._delete(locator)

    async def close(self) -> None:
        """Close the clients; credentials are forgotten."""
        await self._calls.close()

    async def _created(self, locator: str, secret: SecretVersion, content: Mapping[str, Any]) -> str | None:
        """The version of a new secret; None where there is something of that name."""
        tags = {CREATOR_TAG: CREATOR, **tags_of(secret)}
        parameters = {"Name": locator, "Tags": _pairs(tags), **_key(secret), **content}
        try:
            answer = await self._ask("CreateSecret", locator, parameters, _TAKEN)
        except Conflict as why:
            if why.code != NAME_TAKEN:
                raise
            return None
        return _version(answer, content)

    async def _renewed(
        self, locator: str, secret: SecretVersion, content: Mapping[str, Any], described: Mapping[str, Any]
    ) -> str:
        """A further version; what is deleted and can be recovered is restored before."""
        tags = _tags(described)
        if "DeletedDate" not in described:
            check_owner(secret, tags)
            return await self._put(locator, secret, content, described)
        if not is_of_account(secret, tags):
            check_owner(secret, tags)
        await self._ask("RestoreSecret", locator, {})
        try:
            if not is_own(secret, tags):
                await self._ask("TagResource", locator, {"Tags": _pairs(tags_of(secret))})
            return await self._put(locator, secret, content, described)
        except (PrivySealError, asyncio.CancelledError):
            await self._deleted_again(locator)
            raise

    async def _deleted_again(self, locator: str) -> None:
        """What was restored in vain goes back to where it was."""
        try:
            await self._delete(locator, days=self._settings.recovery_days or 7)
        except PrivySealError as why:
            _log.error("secret.left_restored", code=why.code, error_type=type(why).__name__)

    async def _put(
        self, locator: str, secret: SecretVersion, content: Mapping[str, Any], described: Mapping[str, Any]
    ) -> str:
        key = _key(secret)
        try:
            if not self._settings.use_put_secret:
                return _version(await self._ask("UpdateSecret", locator, {**key, **content}), content)
            if key and described.get("KmsKeyId") != key["KmsKeyId"]:
                await self._ask("UpdateSecret", locator, key)
            return _version(await self._ask("PutSecretValue", locator, content), content)
        except Conflict as why:
            # A store task that is done a second time: fine where it wrote the same.
            if why.code != VERSION_EXISTS or not await self._has(locator, content):
                raise
        return str(content["ClientRequestToken"])

    async def _has(self, locator: str, content: Mapping[str, Any]) -> bool:
        found = await self._value(locator, {"VersionId": content["ClientRequestToken"]})
        return all(found.get(form) == content.get(form) for form in ("SecretString", "SecretBinary"))

    async def _delete(self, locator: str, days: int | None = None) -> None:
        days = days or self._settings.recovery_days
        how = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        try:
            await self._ask("DeleteSecret", locator, how, _UNDELETABLE)
        except NotFound:
            pass

    async def _described(self, locator: str) -> Mapping[str, Any]:
        return await self._ask("DescribeSecret", locator, {})

    async def _value(self, locator: str, which: Mapping[str, str]) -> Mapping[str, Any]:
        found = await self._ask("GetSecretValue", locator, which)
        if "VersionId" not in found or not {"SecretString", "SecretBinary"} & found.keys():
            raise garbled("secretsmanager:GetSecretValue")
        return found

    async def _ask(
        self, action: str, locator: str, parameters: Mapping[str, Any], refusals: Refusals | None = None
    ) -> Mapping[str, Any]:
        """An action on the secret of that name."""
        of = {} if action == "CreateSecret" else {"SecretId": locator}
        return await self._calls.ask(action, f"the secret {locator}", refusals, **of, **parameters)

    def _check_reference(self, locator: str) -> None:
        arn = ARN.match(locator)
        if arn is None and not NAME.match(locator):
            raise Malformed(
                "reference_malformed",
                "the secret's reference is neither a name nor an ARN of AWS Secrets Manager",
                "a name has up to 512 letters, digits and / _ + = . @ -; what follows a # selects a key of a JSON value",
            )
        if arn is not None and arn["region"] != self._settings.region:
            raise Malformed(
                "reference_elsewhere",
                f"the secret's reference is an ARN of another region than the connector's, {self._settings.region}",
                "use a connector of that region",
            )


class AwsSecretManager(Direct):
    """The kind `AwsSecretManager`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(AwsSecrets(connector, surroundings, secrets), surroundings.zone)


def _check_metadata(secret: SecretVersion) -> None:
    if not secret.secret.metadata.keys() <= _METADATA:
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to AwsSecretManager",
            "known are " + ", ".join(sorted(_METADATA)),
        )


def _chosen(version: str) -> dict[str, str]:
    """Which version: an id, a staging label, or the current one."""
    if version in {"", "latest"}:
        return {}
    by_id = _SHORTEST_ID <= len(version) <= _LONGEST_ID
    return {"VersionId": version} if by_id else {"VersionStage": version}


def _key(secret: SecretVersion) -> dict[str, str]:
    key = secret.secret.metadata.get("kms_key_id", "")
    return {"KmsKeyId": key} if key else {}


def _version(answer: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The id of the version that was written: what was asked for, and absent where it was there already."""
    return str(answer.get("VersionId") or content["ClientRequestToken"])


def _kept(found: Mapping[str, Any]) -> str | bytes:
    kept: str | bytes = found["SecretString"] if "SecretString" in found else found["SecretBinary"]
    return kept


def _tags(described: Mapping[str, Any]) -> dict[str, str]:
    return {str(one.get("Key")): str(one.get("Value", "")) for one in described.get("Tags") or ()}


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


NAME_TAKEN = "name_taken"
VERSION_EXISTS = "version_exists"
_PAGE = "docs/secret-managers/aws-secret-manager.md"

# What the codes of Secrets Manager mean, without "Exception" at their end.
_REFUSALS: Refusals = {
    "AccessDenied": Refusal(
        Denied,
        "aws_denied",
        "AWS doesn't allow {action} on {about} to {who}",
        "allow {action} there; where it has a customer key, the key must allow kms:Decrypt and kms:GenerateDataKey too: "
        + _PAGE,
    ),
    "ResourceNotFound": Refusal(
        NotFound,
        "secret_not_found",
        "AWS doesn't have {about}, or not the version of it that is asked for",
        "look at its name, account and region, and at the versions: aws secretsmanager list-secret-version-ids",
    ),
    "ResourceExists": Refusal(
        Conflict,
        VERSION_EXISTS,
        "{about} has a version of that id already, with another value",
        "store the secret again",
    ),
    "InvalidRequest": Refusal(
        NotReady,
        "secret_unusable",
        "{about} is scheduled for deletion, or managed by another service",
        "see it: aws secretsmanager describe-secret; a deletion can be taken back: aws secretsmanager restore-secret",
    ),
    "DecryptionFailure": Refusal(
        NotReady,
        "key_unusable",
        "AWS can't decrypt {about}: its KMS key is disabled, or gone",
        "look at the key: aws kms describe-key",
    ),
    "EncryptionFailure": Refusal(
        NotReady,
        "key_unusable",
        "AWS can't encrypt {about}: its KMS key is disabled, gone, or not for encrypting",
        "look at the key: aws kms describe-key; kms_key_id in additionalMetadata names another",
    ),
    "PreconditionNotMet": Refusal(
        Conflict, "secret_changing", "{about} is being changed by others, at {action}", "store it again"
    ),
    "LimitExceeded": Refusal(
        NotReady,
        "aws_quota",
        "AWS takes no more secrets, or no more versions of {about}",
        "see the quotas of AWS Secrets Manager; versions younger than a day count too",
    ),
    "InternalServiceError": Refusal(Unavailable, "aws_unavailable", "AWS fails at {action}", "try again"),
}
_TAKEN_REFUSAL = Refusal(
    Conflict, NAME_TAKEN, "AWS has something under the name of {about}", "take another prefix or identifier"
)
_TAKEN: Refusals = {"ResourceExists": _TAKEN_REFUSAL, "InvalidRequest": _TAKEN_REFUSAL}
_UNDELETABLE: Refusals = {
    "InvalidRequest": Refusal(
        Conflict,
        "secret_undeletable",
        "AWS doesn't delete {about}: it has replicas in other regions, or is managed by another service",
        "remove its replicas: aws secretsmanager remove-regions-from-replication",
    )
}
