"""What connectors of AWS have in common: region, and who the delegate is there.

The four credential types are those of the YAML that users have; what each does on the delegate is `delegate.credentials.aws`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Text
from shared.documents.fields import SecretReference

Region = Annotated[str, Meta(pattern=r"^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$(?!\n)")]
RoleArn = Annotated[str, Meta(pattern=r"^arn:aws[a-z\-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,512}$(?!\n)")]

SHORTEST_SESSION, LONGEST_SESSION = 900, 3600
OIDC_AUDIENCE = "sts.amazonaws.com"
"""Of the ID tokens that AWS is shown."""

CREDENTIAL_TYPES = ("ManualConfig", "AssumeIAMRole", "AssumeSTSRole", "OidcAuthentication")

SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
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


FORMS = Forms(
    choices={"credential.type": CREDENTIAL_TYPES},
    named={"credential.type": "Invalid credential type"},
    forms={
        "credential.spec.accessKey": SECRET,
        "credential.spec.delegateSelectors": "selectors of the delegates whose AWS identity is used",
        "credential.spec.secretKey": SECRET,
        "credential.spec.roleArn": "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
        "credential.spec.iamRoleArn": "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
        "credential.spec.externalName": "a text of 1 to 2,048 characters",
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
    ways={
        "credential.type": {
            "ManualConfig": Way(),
            "AssumeIAMRole": Way(needs=("credential.spec.delegateSelectors",)),
            "AssumeSTSRole": Way(needs=("credential.spec.delegateSelectors",)),
            "OidcAuthentication": Way(),
        },
    },
)
"""Of the fields `credential` and `region`."""


def check_credential(credential: Credential, delegate_selectors: Collection[str]) -> None:
    """Whether a credential has what its type needs, beside the connector's own selectors. Raises Refused."""
    spec = credential.spec
    if isinstance(spec, RoleOfDelegateSettings | AssumedRoleSettings) and not (
        spec.delegate_selectors or delegate_selectors
    ):
        raise Refused("credential.spec.delegateSelectors", _SELECTORS_EMPTY)
    if isinstance(spec, AssumedRoleSettings) and not (
        spec.assume_sts_role_duration <= 0 or SHORTEST_SESSION <= spec.assume_sts_role_duration <= LONGEST_SESSION
    ):
        raise Refused(
            "credential.spec.assumeStsRoleDuration",
            f"give {SHORTEST_SESSION} to {LONGEST_SESSION} seconds, or nothing for the provider's default",
        )
