"""The kind `AwsParameterStore`: values live in AWS Systems Manager Parameter Store, as SecureString parameters.

Promises: nothing is overwritten or deleted there that doesn't carry the tags of exactly this secret, and what carries any
secret's tags isn't read by reference; a value is read by the label that its store task put on it, never by a number, which
AWS counts anew after a deletion; storing again finds that label and writes nothing. What AWS lists of Secrets Manager under
a name of its own isn't read through it. Must not keep a value longer than the call.
Formats: AWS Systems Manager API reference; user guide, "Working with parameter versions" and "Working with parameter labels".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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
    is_ours,
    is_own,
    tags_of,
)
from delegate.secret_managers.texts import MARK, foreign, marked, text, value_of
from shared.connectors.aws_parameter_store import ARN, NAME, AwsParameterStoreSettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Overloaded, Unavailable

CHECKED = "privyseal-check"
"""Ends the name that a check asks for. No parameter of ours can have it: identifiers have no hyphen."""

LABEL = "privyseal-"
"""Begins the label of a version; the digest of its store task follows."""

SECRETS_MANAGER = "/aws/reference/secretsmanager"
"""Names under which AWS gives secrets of Secrets Manager, and no tags with them."""

_METADATA = frozenset({"version"})
_SELECTOR = re.compile(r"[A-Za-z0-9_.\-]{1,100}\Z")
_UNTAKEN = re.compile(r"\{\{|[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What AWS would take for a reference to another parameter, and control characters."""

_MOST_PAGES = 20


class AwsParameters:
    """The parameters of one account and region, as a secret store."""

    concurrency = CONNECTIONS
    read_only = False

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("AwsParameterStore", connector.spec)
        assert isinstance(told, AwsParameterStoreSettings)
        self._settings = told
        self.longest_value = told.longest_value
        who = aws.identity(told.credential, told.region, connector, surroundings, secrets)
        self._calls = aws.calls("ssm", who, told.region, surroundings, _REFUSALS)

    def locator(self, secret: SecretVersion) -> str:
        """The path and `ID`, `ORG.ID` or `ORG.PROJECT.ID`."""
        return self._settings.name(inline_name(secret, "."))

    async def check(self) -> None:
        """A parameter that can't be there is asked for; that AWS doesn't find it is the answer that is wanted."""
        name = self._settings.name(CHECKED)
        for ask in (self._tags, self._value):
            try:
                await ask(name)
            except NotFound:
                pass

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """Of ours exactly that version; of others' the one that the metadata say, the newest where they say none."""
        if not secret.secret.reference:
            found = await self._value(locator, LABEL + version)
            return Found(value_of(found["Value"]), version)
        which = _chosen(secret)
        name = self._referred(locator)
        tags, found = await both(self._tags(name), self._value(name, which))
        if ARN.match(locator) and found.get("ARN") != locator:
            raise _elsewhere("of another account than the connector's")
        check_referable(tags)
        return Found(foreign(found["Value"]), str(found["Version"]))

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Create the parameter, or add a version to it, and label it; the label tells the store task's digest."""
        _check_metadata(secret)
        kept = text(value)
        if not kept.startswith(MARK) and _UNTAKEN.search(kept):
            kept = marked(value)
        if len(kept.encode()) > self.longest_value:
            longest = self.longest_value
            raise value_too_long(secret, (longest - len(MARK)) // 4 * 3 if kept.startswith(MARK) else longest)
        number = await self._created(locator, secret, kept) if secret.n == 1 else None
        if number is None:
            number = await self._renewed(locator, secret, kept)
        if number:
            labels = [LABEL + secret.aad.version]
            told = await self._ask("LabelParameterVersion", locator, {"ParameterVersion": number, "Labels": labels})
            if told.get("InvalidLabels"):
                raise garbled("ssm:LabelParameterVersion")
        return secret.aad.version

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Delete the parameter, for good. What is another's under that name isn't ours."""
        if version:
            raise Denied(
                "version_kept",
                "AWS Parameter Store deletes no single versions, only a parameter with all of them",
                "delete the secret; AWS itself drops the oldest version when there are more than 100",
            )
        try:
            tags = await self._tags(locator)
            if is_own(secret, tags):
                await self._ask("DeleteParameter", locator, {})
            # Versions with labels of ours, and no tags: somebody took the tags off.
            elif not is_ours(tags) and any(map(_own_labels, await self._history(locator))):
                check_owner(secret, {})
        except NotFound:
            pass

    async def close(self) -> None:
        """Close the clients; credentials are forgotten."""
        await self._calls.close()

    async def _created(self, locator: str, secret: SecretVersion, kept: str) -> int | None:
        """The version of a new parameter; None where there is one of that name."""
        tags = {CREATOR_TAG: CREATOR, **tags_of(secret)}
        try:
            return await self._put(locator, kept, Overwrite=False, Tags=_pairs(tags))
        except Conflict as why:
            if why.code != NAME_TAKEN:
                raise
            return None

    async def _renewed(self, locator: str, secret: SecretVersion, kept: str) -> int:
        """A further version, or a first one where there is none; 0 where the store task's own is there and labelled."""
        try:
            tags, found = await both(self._tags(locator), self._labelled(locator, secret.aad.version))
        except NotFound:
            number = await self._created(locator, secret, kept)
            if number is None:
                raise _taken(locator) from None
            return number
        if not tags:
            # Nobody's, or nothing at all: only a call that overwrites nothing tells.
            number = await self._created(locator, secret, kept)
            if number is not None:
                return number
        check_owner(secret, tags)
        if found is not None:
            if found["Value"] != kept:
                raise _differs(locator)
            return 0
        try:
            number = await self._put(locator, kept, Overwrite=True)
        except Conflict as why:
            if why.code != VERSIONS_FULL:
                raise
            await self._release(locator)
            number = await self._put(locator, kept, Overwrite=True)
        if number == 1:
            # Somebody deleted it since: it was made anew by this call, and AWS takes no tags with an overwriting one.
            tags = {CREATOR_TAG: CREATOR, **tags_of(secret)}
            await self._ask("AddTagsToResource", locator, {"Tags": _pairs(tags)})
        return number

    async def _release(self, locator: str) -> None:
        """AWS drops the oldest version for a new one, unless it has a label: ours is taken off."""
        oldest = min(await self._history(locator), key=lambda one: int(one["Version"]), default={})
        if labels := _own_labels(oldest):
            told = {"ParameterVersion": oldest["Version"], "Labels": labels}
            await self._ask("UnlabelParameterVersion", locator, told)

    async def _put(self, locator: str, kept: str, **more: Any) -> int:
        told = self._settings
        key = {"KeyId": told.kms_key_id} if told.kms_key_id else {}
        content = {"Value": kept, "Type": "SecureString", "Tier": told.tier, **key}
        number = (await self._ask("PutParameter", locator, {**content, **more})).get("Version")
        if not isinstance(number, int) or number < 1:
            raise garbled("ssm:PutParameter")
        return number

    async def _labelled(self, locator: str, task: str) -> Mapping[str, Any] | None:
        try:
            return await self._value(locator, LABEL + task)
        except NotFound:
            return None

    async def _value(self, name: str, which: str = "") -> Mapping[str, Any]:
        asked = f"{name}:{which}" if which else name
        told = await self._ask("GetParameter", name, {"Name": asked, "WithDecryption": True})
        found = told.get("Parameter") or {}
        named = str(found.get("Name", ""))
        if (
            named.lstrip("/") != name.lstrip("/")
            or not isinstance(found.get("Value"), str)
            or not isinstance(found.get("Version"), int)
            or (which and found.get("Selector", f":{which}") != f":{which}")
        ):
            raise garbled("ssm:GetParameter")
        return found

    async def _tags(self, name: str) -> dict[str, str]:
        told = await self._ask("ListTagsForResource", name, {})
        return {str(one.get("Key")): str(one.get("Value", "")) for one in told.get("TagList") or ()}

    async def _history(self, locator: str) -> list[Mapping[str, Any]]:
        """The versions of a parameter, without their values."""
        versions: list[Mapping[str, Any]] = []
        page: dict[str, Any] = {"MaxResults": 50}
        for _ in range(_MOST_PAGES):
            told = await self._ask("GetParameterHistory", locator, page)
            versions += told.get("Parameters") or ()
            if not told.get("NextToken"):
                return versions
            page["NextToken"] = told["NextToken"]
        raise garbled("ssm:GetParameterHistory")

    async def _ask(self, action: str, name: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """An action on the parameter of that name."""
        of = {"ResourceType": "Parameter", "ResourceId": name} if action in _OF_RESOURCES else {"Name": name}
        return await self._calls.ask(action, f"the parameter {name}", **{**of, **parameters})

    def _referred(self, locator: str) -> str:
        """The name of the parameter that a reference means."""
        arn = ARN.match(locator)
        if arn is None and not NAME.match(locator):
            raise Malformed(
                "reference_malformed",
                "the secret's reference is neither a name nor an ARN of a parameter",
                "a name is NAME or /PATH/NAME, of letters, digits and _ . -; a version goes into additionalMetadata, and what "
                "follows a # selects a key of a JSON value",
            )
        if arn is not None and arn["region"] != self._settings.region:
            raise _elsewhere(f"of another region than the connector's, {self._settings.region}")
        path = locator if arn is None else arn["path"]
        name = f"/{path}" if arn is not None and "/" in path else path
        if f"{name.lower()}/".startswith(f"{SECRETS_MANAGER}/"):
            raise Denied(
                "reference_to_secrets_manager",
                f"what is under {SECRETS_MANAGER} are secrets of AWS Secrets Manager, without their tags",
                "use a connector of the kind AwsSecretManager",
            )
        return name


class AwsParameterStore(Direct):
    """The kind `AwsParameterStore`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(AwsParameters(connector, surroundings, secrets), surroundings.zone)


def _check_metadata(secret: SecretVersion) -> None:
    if not secret.secret.metadata.keys() <= _METADATA:
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to AwsParameterStore",
            "known is " + ", ".join(sorted(_METADATA)),
        )


def _chosen(secret: SecretVersion) -> str:
    """Which version: a number, a label, or "" for the newest."""
    _check_metadata(secret)
    which = secret.secret.metadata.get("version", "")
    if which in {"", "latest"}:
        return ""
    if not _SELECTOR.match(which):
        raise Malformed(
            "version_malformed",
            "the version in additionalMetadata of the secret is neither a number nor a label",
            "give the number of a version, a label of up to 100 letters, digits and _ . -, or latest",
        )
    return which


def _own_labels(version: Mapping[str, Any]) -> list[str]:
    return [one for one in version.get("Labels") or () if str(one).startswith(LABEL)]


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _elsewhere(what: str) -> Malformed:
    return Malformed(
        "reference_elsewhere",
        f"the secret's reference is an ARN {what}",
        "use a connector of that account and region; parameters that another account shares can't be referred to",
    )


def _taken(locator: str) -> Conflict:
    return Conflict(
        NAME_TAKEN,
        f"AWS has the parameter {locator}, and yet doesn't find it",
        "store it again: for half a minute after a deletion AWS gives a name to nobody",
    )


def _differs(locator: str) -> Conflict:
    return Conflict(
        "version_exists",
        f"the parameter {locator} has a version with this store task's label already, and another value",
        "store the secret again",
    )


NAME_TAKEN = "name_taken"
VERSIONS_FULL = "versions_full"
_OF_RESOURCES = frozenset({"AddTagsToResource", "ListTagsForResource"})
_PAGE = "docs/secret-managers/aws-parameter-store.md"
_NOT_FOUND = Refusal(
    NotFound,
    "secret_not_found",
    "AWS doesn't have {about}, or not the version of it that is asked for",
    "look at its name, account and region, and at the versions and labels: aws ssm get-parameter-history",
)
_UNSUITABLE = Refusal(
    Malformed,
    "aws_invalid",
    "AWS doesn't take what {action} was asked on {about}",
    "look at its name, at the connector's tier (an Advanced parameter never becomes a Standard one) and at its kmsKeyId; an "
    "existing parameter of another type, or one with a pattern for its values, can only be deleted at AWS",
)

# What the codes of Systems Manager mean, without "Exception" at their end.
_REFUSALS: Refusals = {
    "AccessDenied": Refusal(
        Denied,
        "aws_denied",
        "AWS doesn't allow {action} on {about} to {who}",
        "allow {action} there; where a customer key encrypts it, the key must allow kms:Decrypt, and to write kms:Encrypt or "
        "kms:GenerateDataKey too: " + _PAGE,
    ),
    "ParameterNotFound": _NOT_FOUND,
    "ParameterVersionNotFound": _NOT_FOUND,
    "InvalidResourceId": _NOT_FOUND,
    "ParameterAlreadyExists": Refusal(
        Conflict, NAME_TAKEN, "AWS has {about} already", "take another path or identifier"
    ),
    "ParameterMaxVersionLimitExceeded": Refusal(
        Conflict,
        VERSIONS_FULL,
        "{about} has 100 versions, and the oldest has a label of others that keeps it from being dropped",
        "move that label: aws ssm get-parameter-history, aws ssm label-parameter-version",
    ),
    "InvalidKeyId": Refusal(
        NotReady,
        "key_unusable",
        "AWS can't use the KMS key of {about}: it is disabled, gone, or not for encrypting",
        "look at the key: aws kms describe-key; the connector's kmsKeyId names it",
    ),
    "TooManyUpdates": Refusal(
        Overloaded, "secret_changing", "{about} is being changed by others, at {action}", "try again"
    ),
    "ParameterLimitExceeded": Refusal(
        NotReady, "aws_quota", "AWS takes no more parameters of this tier", "see the quotas of Parameter Store"
    ),
    "Validation": _UNSUITABLE,
    "HierarchyLevelLimitExceeded": _UNSUITABLE,
    "HierarchyTypeMismatch": _UNSUITABLE,
    "ParameterPatternMismatch": _UNSUITABLE,
    "UnsupportedParameterType": _UNSUITABLE,
    "InternalServerError": Refusal(Unavailable, "aws_unavailable", "AWS fails at {action}", "try again"),
}
