"""Google Cloud KMS: values in the manager's database, each under a data key that a KMS key wraps.

`assumeCredentialsOnDelegate` (the word of `GcpSecretManager`) and `previousKeyNames` are ours: the latter are keys that older
records are wrapped with, which are still asked to open them. Versions of one key need no mention.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms
from shared.connectors.gcp import PROJECT_FORM, Federation, Identity, Project, forms, identity
from shared.connectors.model import Model
from shared.documents.fields import SecretReference

Location = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9\-]{0,62}$(?!\n)")]
KeyName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_\-]{1,63}$(?!\n)")]
PreviousName = Annotated[
    str,
    Meta(
        max_length=512,
        pattern=r"^(projects/[a-z0-9.:\-]{1,94}/locations/[a-z0-9\-]{1,63}/keyRings/[a-zA-Z0-9_\-]{1,63}/cryptoKeys/)?"
        r"[a-zA-Z0-9_\-]{1,63}$(?!\n)",
    ),
]
MOST_PREVIOUS = 16

_NAMES = ("credentials", "oidcDetails")
_NAME = "1 to 63 letters, digits, _ and -"
_COMMON = forms("oidcDetails", "credentials")


class GcpKmsSettings(Model, frozen=True, kw_only=True):
    """One key, and who asks for it."""

    FORMS: ClassVar[Forms] = msgspec.structs.replace(
        _COMMON,
        forms={
            **_COMMON.forms,
            "region": "a location of Cloud KMS, such as europe-west1, europe or global",
            "keyRing": f"the name of a key ring: {_NAME}",
            "keyName": f"the name of a key: {_NAME}",
            "previousKeyNames": f"at most {MOST_PREVIOUS} names of keys, of the same key ring or in full: "
            "projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY",
        },
        missing={
            "projectId": f"Project cannot be empty: give {PROJECT_FORM}",
            "region": "Region cannot be empty: give a location of Cloud KMS",
            "keyRing": "Key ring cannot be empty",
            "keyName": "Key name cannot be empty",
        },
    )

    project_id: Project
    region: Location
    key_ring: KeyName
    key_name: KeyName
    previous_key_names: Annotated[tuple[PreviousName, ...], Meta(max_length=MOST_PREVIOUS)] = ()
    credentials: SecretReference | None = None
    oidc_details: Federation = Federation()
    assume_credentials_on_delegate: bool = False

    def __post_init__(self) -> None:
        self.identity()

    def identity(self) -> Identity:
        """Who asks. Raises Refused for none, or several."""
        return identity(
            _NAMES, self.credentials, self.oidc_details, self.assume_credentials_on_delegate, self.delegate_selectors
        )

    @property
    def oidc_audience(self) -> str | None:
        """The provider's, where `oidcDetails` names one."""
        return self.oidc_details.audience if self.oidc_details.given else None

    @property
    def key(self) -> str:
        """The key's resource name."""
        return self._ring + self.key_name

    @property
    def previous(self) -> tuple[str, ...]:
        """The resource names of the previous keys."""
        return tuple(name if "/" in name else self._ring + name for name in self.previous_key_names)

    @property
    def _ring(self) -> str:
        return f"projects/{self.project_id}/locations/{self.region}/keyRings/{self.key_ring}/cryptoKeys/"
