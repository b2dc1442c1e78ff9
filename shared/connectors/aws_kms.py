"""AWS KMS: values in the manager's database, each under a data key that a KMS key wraps.

`previousKmsArns` is ours: keys that older records are wrapped with, which are still asked to open them.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from shared.connectors.aws import FORMS, OIDC_AUDIENCE, SECRET, Credential, OidcAuthentication, Region, check_credential
from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model
from shared.documents.fields import SecretReference

_ARN = r"arn:(?P<partition>aws[a-z\-]*):kms:(?P<region>[a-z0-9\-]+):(?P<account>[0-9]{12})"
KEY_ARN = re.compile(_ARN + r":(?P<form>key|alias)/(?P<id>[\x21-\x7e]{1,256})\Z")
KeyArn = Annotated[
    str, Meta(pattern=r"^arn:aws[a-z\-]*:kms:[a-z0-9\-]+:[0-9]{12}:(key|alias)/[\x21-\x7e]{1,256}$(?!\n)")
]
PreviousArn = Annotated[str, Meta(pattern=r"^arn:aws[a-z\-]*:kms:[a-z0-9\-]+:[0-9]{12}:key/[\x21-\x7e]{1,256}$(?!\n)")]

MOST_PREVIOUS = 16

_KEY_EMPTY = "Key Arn cannot be empty: give kmsArn (a secret) or kmsArnInPlainText, one of them"
_KEY_ELSEWHERE = "the key is of another region than the field region, and a key is asked in its own"


class AwsKmsSettings(Model, frozen=True, kw_only=True):
    """The key is named in plain text or held as a secret, exactly one of the two."""

    FORMS: ClassVar[Forms] = msgspec.structs.replace(
        FORMS,
        forms={
            **FORMS.forms,
            "kmsArn": f"{SECRET}; an ARN itself goes into kmsArnInPlainText",
            "kmsArnInPlainText": "the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID",
            "previousKmsArns": f"at most {MOST_PREVIOUS} ARNs of keys, none of an alias: arn:aws:kms:REGION:ACCOUNT:key/ID",
        },
        ways={**FORMS.ways, "The key's ARN": {"kmsArnInPlainText": Way(), "kmsArn": Way()}},
    )

    credential: Credential
    region: Region
    kms_arn: SecretReference | None = None
    kms_arn_in_plain_text: KeyArn | None = None
    previous_kms_arns: Annotated[tuple[PreviousArn, ...], Meta(max_length=MOST_PREVIOUS)] = ()

    def __post_init__(self) -> None:
        if (self.kms_arn is None) == (self.kms_arn_in_plain_text is None):
            raise Refused("kmsArn", _KEY_EMPTY)
        check_credential(self.credential, self.delegate_selectors)
        if self.kms_arn_in_plain_text is not None and region_of(self.kms_arn_in_plain_text) != self.region:
            raise Refused("kmsArnInPlainText", _KEY_ELSEWHERE)
        for at, arn in enumerate(self.previous_kms_arns):
            if region_of(arn) != self.region:
                raise Refused(f"previousKmsArns[{at}]", _KEY_ELSEWHERE)

    @property
    def oidc_audience(self) -> str | None:
        """AWS's own, where the credential is `OidcAuthentication`."""
        return OIDC_AUDIENCE if isinstance(self.credential, OidcAuthentication) else None


def region_of(arn: str) -> str:
    """The region in the ARN of a key."""
    return arn.split(":", 4)[3]
