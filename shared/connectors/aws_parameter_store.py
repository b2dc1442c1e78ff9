"""AWS Systems Manager Parameter Store: values at AWS as SecureString parameters, written by us under a path or referred to.

The credential types are those of `AwsSecretManager`, in the same words.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shared.connectors.aws import OIDC_AUDIENCE, OidcAuthentication, Region
from shared.connectors.aws_secret_manager import CREDENTIAL_FORMS, Credential, check_given
from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model

LONGEST_VALUES = {"Standard": 4_096, "Advanced": 8_192, "Intelligent-Tiering": 8_192}
"""Bytes, by tier."""
DEFAULT_PATH = "/privyseal"
LONGEST_NAME = 1_011
"""Characters, those of the ARN before it included."""
LONGEST_PATH = 512
"""So that the longest identifiers of an organisation, a project and a secret still fit behind it, and the ARN before it."""
MOST_LEVELS = 15
"""Of a name at AWS; a path leaves one of them to the name."""

PART = r"(?!\.\.?(?:/|$))[A-Za-z0-9_.\-]+"
NAME = re.compile(rf"({PART}|(/{PART}){{1,{MOST_LEVELS}}})\Z")
ARN = re.compile(
    rf"arn:aws[a-z\-]*:ssm:(?P<region>[a-z0-9\-]+):[0-9]{{12}}:parameter/(?P<path>{PART}(/{PART}){{0,{MOST_LEVELS - 1}}})\Z"
)

Path = Annotated[str, Meta(max_length=LONGEST_PATH, pattern=rf"^(/{PART}){{1,{MOST_LEVELS - 1}}}/?$(?!\n)")]
KeyId = Annotated[str, Meta(max_length=256, pattern=r"^[A-Za-z0-9:/_\-]+$(?!\n)")]
Tier = Literal["Standard", "Advanced", "Intelligent-Tiering"]

_PATH_FORM = (
    f"a path such as /devops: at most {LONGEST_PATH} letters, digits and _ . -, in 1 to 14 parts that each begin with /"
)
_RESERVED = "AWS keeps names that begin with aws or ssm for itself: give another path"


class AwsParameterStoreSettings(Model, frozen=True, kw_only=True):
    """`kms_key_id` None is the account's own key for parameters, `aws/ssm`."""

    FORMS: ClassVar[Forms] = msgspec.structs.replace(
        CREDENTIAL_FORMS,
        choices={**CREDENTIAL_FORMS.choices, "tier": tuple(LONGEST_VALUES)},
        forms={
            **CREDENTIAL_FORMS.forms,
            "kmsKeyId": "the id, the ARN or the alias (alias/NAME) of a KMS key",
            "parameterPathPrefix": _PATH_FORM,
        },
    )

    credential: Credential
    region: Region
    parameter_path_prefix: Path = DEFAULT_PATH
    kms_key_id: KeyId | None = None
    tier: Tier = "Standard"

    def __post_init__(self) -> None:
        check_given(self.credential, self.delegate_selectors)
        if self.parameter_path_prefix[1:4].lower() in {"aws", "ssm"}:
            raise Refused("parameterPathPrefix", _RESERVED)

    @property
    def oidc_audience(self) -> str | None:
        """AWS's own, where the credential is `OidcAuthentication`."""
        return OIDC_AUDIENCE if isinstance(self.credential, OidcAuthentication) else None

    @property
    def longest_value(self) -> int:
        """In bytes."""
        return LONGEST_VALUES[self.tier]

    def name(self, last: str) -> str:
        """The name at AWS that ends with `last`."""
        return f"{self.parameter_path_prefix.rstrip('/')}/{last}"
