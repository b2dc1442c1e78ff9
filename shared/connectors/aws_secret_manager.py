"""AWS Secrets Manager: values at AWS, written by us under a prefix or there before and referred to.

The credential types are those of `shared.connectors.aws`, but for two words of this kind's YAML: an access key's id may
stand in plain text, and the external id of a role is called `externalId` (the word of `AwsKms` is understood too).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from shared.connectors.aws import (
    FORMS,
    OIDC_AUDIENCE,
    SECRET,
    AssumedRoleSettings,
    AssumeIAMRole,
    AssumeSTSRole,
    OidcAuthentication,
    Region,
    RoleArn,
    check_credential,
)
from shared.connectors.aws import Credential as CredentialOfAws
from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model, Text
from shared.documents.fields import SecretReference

SHORTEST_WINDOW, LONGEST_WINDOW = 7, 30
DEFAULT_WINDOW = LONGEST_WINDOW
LONGEST_NAME = 512
"""Characters of a secret's name at AWS."""
LONGEST_PREFIX = 124
"""So that the longest identifiers of an organisation, a project and a secret still fit behind it."""

# A name, or an ARN, as a reference may give it.
NAME = re.compile(r"[A-Za-z0-9/_+=.@\-]{1,512}\Z")
ARN = re.compile(
    r"arn:aws[a-z\-]*:secretsmanager:(?P<region>[a-z0-9\-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@\-]{1,519}\Z"
)

Prefix = Annotated[str, Meta(max_length=LONGEST_PREFIX, pattern=r"^[A-Za-z0-9/_+=.@\-]*$(?!\n)")]
AccessKeyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{16,128}$(?!\n)")]

_KEYS_MISSING = (
    "an AccessKey and a SecretKey are needed for ManualConfig: accessKey (a secret) or accessKeyPlainText, and "
    "secretKey (a secret)"
)
_ID_TWICE = "the access key's id is given twice: give accessKey (a secret) or accessKeyPlainText"
_EXTERNAL_TWICE = "externalName is another word for externalId: give one of them"
_EXCLUSIVE = (
    "forceDeleteWithoutRecovery and recoveryWindowInDays exclude each other: delete at once, or with a window of "
    f"{SHORTEST_WINDOW} to {LONGEST_WINDOW} days"
)


class AccessKeySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """An access key: its id in plain text or as a secret, its secret half as a secret."""

    access_key: SecretReference | None = None
    access_key_plain_text: AccessKeyId | None = None
    secret_key: SecretReference
    delegate_selectors: tuple[str, ...] = ()


class ExternalRoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A role that the delegate's own identity assumes."""

    delegate_selectors: tuple[str, ...] = ()
    role_arn: RoleArn
    external_id: Text | None = None
    external_name: Text | None = None
    assume_sts_role_duration: int = 0


class AccessKeyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ManualConfig"):
    """`type: ManualConfig`."""

    spec: AccessKeySettings


class AssumeExternalRole(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="AssumeSTSRole"
):
    """`type: AssumeSTSRole`."""

    spec: ExternalRoleSettings


Role = AssumeIAMRole | AssumeExternalRole | OidcAuthentication
Credential = AccessKeyConfig | Role


def credential_of(role: Role) -> CredentialOfAws:
    """The same in the words of all kinds of AWS."""
    if not isinstance(role, AssumeExternalRole):
        return role
    spec = role.spec
    return AssumeSTSRole(
        spec=AssumedRoleSettings(
            delegate_selectors=spec.delegate_selectors,
            role_arn=spec.role_arn,
            external_name=spec.external_id or spec.external_name,
            assume_sts_role_duration=spec.assume_sts_role_duration,
        )
    )


CREDENTIAL_FORMS = msgspec.structs.replace(
    FORMS,
    forms={
        **FORMS.forms,
        "credential.spec.accessKey": f"{SECRET}; an id itself goes into accessKeyPlainText",
        "credential.spec.accessKeyPlainText": "the id of an access key: 16 to 128 letters, digits and _",
        "credential.spec.externalId": "a text of 1 to 2,048 characters",
    },
    missing={
        **FORMS.missing,
        "credential.spec.accessKey": _KEYS_MISSING,
        "credential.spec.secretKey": _KEYS_MISSING,
    },
    ways={
        **FORMS.ways,
        "The access key's id": {"credential.spec.accessKey": Way(), "credential.spec.accessKeyPlainText": Way()},
    },
    unasked=("credential.spec.externalName",),
)
"""Of the fields `credential` and `region`, in this kind's words."""


def check_given(credential: Credential, delegate_selectors: Collection[str]) -> None:
    """As `check_credential`, of a credential in this kind's words. Raises Refused."""
    if isinstance(credential, AccessKeyConfig):
        _check_key(credential.spec)
    else:
        _check_words(credential)
        check_credential(credential_of(credential), delegate_selectors)


class AwsSecretManagerSettings(Model, frozen=True, kw_only=True):
    """How a deletion goes is `recovery_days`: None is at once and for good."""

    FORMS: ClassVar[Forms] = msgspec.structs.replace(
        CREDENTIAL_FORMS,
        forms={
            **CREDENTIAL_FORMS.forms,
            "recoveryWindowInDays": f"{SHORTEST_WINDOW} to {LONGEST_WINDOW} days",
            "secretNamePrefix": f"at most {LONGEST_PREFIX} letters, digits and / _ + = . @ -",
        },
    )

    credential: Credential
    region: Region
    secret_name_prefix: Prefix = ""
    use_put_secret: bool = False
    force_delete_without_recovery: bool = False
    recovery_window_in_days: Annotated[int, Meta(ge=SHORTEST_WINDOW, le=LONGEST_WINDOW)] | None = None

    def __post_init__(self) -> None:
        check_given(self.credential, self.delegate_selectors)
        if self.force_delete_without_recovery and self.recovery_window_in_days is not None:
            raise Refused("recoveryWindowInDays", _EXCLUSIVE)

    @property
    def oidc_audience(self) -> str | None:
        """AWS's own, where the credential is `OidcAuthentication`."""
        return OIDC_AUDIENCE if isinstance(self.credential, OidcAuthentication) else None

    @property
    def recovery_days(self) -> int | None:
        """How long AWS keeps what was deleted."""
        return None if self.force_delete_without_recovery else self.recovery_window_in_days or DEFAULT_WINDOW

    def name(self, last: str) -> str:
        """The name at AWS that ends with `last`: behind the prefix and one slash."""
        prefix = self.secret_name_prefix.rstrip("/")
        return f"{prefix}/{last}" if self.secret_name_prefix else last


def _check_key(key: AccessKeySettings) -> None:
    if key.access_key is None and key.access_key_plain_text is None:
        raise Refused("credential.spec.accessKey", _KEYS_MISSING)
    if key.access_key is not None and key.access_key_plain_text is not None:
        raise Refused("credential.spec.accessKeyPlainText", _ID_TWICE)


def _check_words(role: Role) -> None:
    spec = role.spec
    if isinstance(spec, ExternalRoleSettings) and spec.external_id is not None and spec.external_name is not None:
        raise Refused("credential.spec.externalName", _EXTERNAL_TWICE)
