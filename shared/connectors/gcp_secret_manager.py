"""Google Secret Manager: values at Google, written by us or there before and referred to.

`projectId` is ours: without it the project is that of the service account's key, of the pool, or of the delegate itself; a
secret's own `gcp_project_id` goes before all of them.
"""

from __future__ import annotations

from typing import ClassVar

from shared.connectors.fields import Forms
from shared.connectors.gcp import Federation, Identity, ProjectOrNone, forms, identity
from shared.connectors.model import Model
from shared.documents.fields import SecretReference

_NAMES = ("credentialsRef", "credential")


class GcpSecretManagerSettings(Model, frozen=True, kw_only=True):
    """Who asks, and in which project."""

    FORMS: ClassVar[Forms] = forms("credential", "credentialsRef")

    credentials_ref: SecretReference | None = None
    assume_credentials_on_delegate: bool = False
    credential: Federation = Federation()
    project_id: ProjectOrNone = ""

    def __post_init__(self) -> None:
        self.identity()

    def identity(self) -> Identity:
        """Who asks. Raises Refused for none, or several."""
        return identity(
            _NAMES, self.credentials_ref, self.credential, self.assume_credentials_on_delegate, self.delegate_selectors
        )

    @property
    def oidc_audience(self) -> str | None:
        """The provider's, where `credential` names one."""
        return self.credential.audience if self.credential.given else None
