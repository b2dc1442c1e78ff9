"""AWS KMS: values in the manager's database, each under a data key that a KMS key wraps.

The four credential types are those of the YAML that users have; what each does on the delegate is `delegate.credentials`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model, Text
from shared.documents.fields import SecretReference

Region = Annotated[str, Meta(pattern=r"^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$(?!\n)")]
RoleArn = Annotated[str, Meta(pattern=r"^arn:aws[a-z\-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,512}$(?!\n)")]
KeyArn = Annotated[
    str, Meta(pattern=r"^arn:aws[a-z\-]*:kms:[a-z0-9\-]+:[0-9]{12}:(key|alias)/[\x21-\x7e]{1,256}$(?!\n)")
]

SHORTEST_SESSION, LONGEST_SESSION = 900, 3600
CREDENTIAL_TYPES = ("ManualConfig", "AssumeIAMRole", "AssumeSTSRole", "OidcAuthentication")

_SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
_KEY_EMPTY = "Key Arn cannot be empty: give kmsArn (a secret) or kmsArnInPlainText, one of them"
_SELECTORS_EMPTY = "DelegateSelectors cannot be Empty: name the delegates whose AWS identity is used"
_KEYS_MISSING = "an AccessKey and a SecretKey are needed for ManualConfig, each as a secret"


class ManualSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """An access key, its two halves held as secrets."""

    access_key: SecretReference
    secret_key: SecretReference
    delegate_selectors: tuple[str, ...] = ()


class RoleOfDelegateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """The delegate's own AWS identity."""

    delegate_selectors: tuple[str, ...] = ()


class AssumedRoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A role that the delegate's own identity assumes; a duration of 0 or less isn't sent."""

    delegate_selectors: tuple[str, ...] = ()
    role_arn: RoleArn
    external_name: Text | None = None
    assume_sts_role_duration: int = 0


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A role that trusts the keyring's OIDC issuer."""

    iam_role_arn: RoleArn
    delegate_selectors: tuple[str, ...] = ()


class ManualConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ManualConfig"):
    """`type: ManualConfig`."""

    spec: ManualSettings


class AssumeIAMRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="AssumeIAMRole"):
    """`type: AssumeIAMRole`."""

    spec: RoleOfDelegateSettings = RoleOfDelegateSettings()


class AssumeSTSRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="AssumeSTSRole"):
    """`type: AssumeSTSRole`."""

    spec: AssumedRoleSettings


class OidcAuthentication(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="OidcAuthentication"
):
    """`type: OidcAuthentication`."""

    spec: OidcSettings


Credential = ManualConfig | AssumeIAMRole | AssumeSTSRole | OidcAuthentication


class AwsKmsSettings(Model, frozen=True, kw_only=True):
    """The key is named in plain text or held as a secret, exactly one of the two."""

    FORMS: ClassVar[Forms] = Forms(
        choices={"credential.type": CREDENTIAL_TYPES},
        named={"credential.type": "Invalid credential type"},
        forms={
            "credential.spec.accessKey": _SECRET,
            "credential.spec.secretKey": _SECRET,
            "credential.spec.roleArn": "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
            "credential.spec.iamRoleArn": "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
            "credential.spec.externalName": "a text of 1 to 2,048 characters",
            "kmsArn": f"{_SECRET}; an ARN itself goes into kmsArnInPlainText",
            "kmsArnInPlainText": "the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID",
            "region": "the code of a region, such as us-east-1",
        },
        missing={
            "credential": "Invalid credential type: the credential is missing",
            "credential.type": "Invalid credential type",
            "credential.spec.accessKey": _KEYS_MISSING,
            "credential.spec.secretKey": _KEYS_MISSING,
            "credential.spec.roleArn": "Role Arn cannot be Empty",
            "credential.spec.iamRoleArn": "Iam Role Arn cannot be Empty",
            "region": "Region cannot be empty",
        },
    )

    credential: Credential
    region: Region
    kms_arn: SecretReference | None = None
    kms_arn_in_plain_text: KeyArn | None = None

    def __post_init__(self) -> None:
        if (self.kms_arn is None) == (self.kms_arn_in_plain_text is None):
            raise Refused("kmsArn", _KEY_EMPTY)
        spec = self.credential.spec
        if isinstance(spec, RoleOfDelegateSettings | AssumedRoleSettings) and not (
            spec.delegate_selectors or self.delegate_selectors
        ):
            raise Refused("credential.spec.delegateSelectors", _SELECTORS_EMPTY)
        if isinstance(spec, AssumedRoleSettings) and not (
            spec.assume_sts_role_duration <= 0 or SHORTEST_SESSION <= spec.assume_sts_role_duration <= LONGEST_SESSION
        ):
            raise Refused(
                "credential.spec.assumeStsRoleDuration",
                f"give {SHORTEST_SESSION} to {LONGEST_SESSION} seconds, or nothing for the provider's default",
            )
