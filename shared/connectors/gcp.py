"""What connectors of Google Cloud have in common: projects, and who the delegate is there.

A connector is somebody in exactly one of three ways: a service account's key held as a secret, workload identity federation by
the keyring's ID tokens, or what the delegate itself is. What each does on the delegate is `delegate.credentials.gcp`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms, Refused, Way
from shared.documents.fields import SecretReference

_PROJECT = r"(([a-z0-9.\-]{1,63}:)?[a-z][a-z0-9\-]{4,28}[a-z0-9]|[0-9]{1,19})"
PROJECT = rf"^{_PROJECT}$(?!\n)"
Project = Annotated[str, Meta(pattern=PROJECT)]
ProjectOrNone = Annotated[str, Meta(pattern=rf"^({_PROJECT})?$(?!\n)")]
PoolId = Annotated[str, Meta(pattern=r"^([a-z0-9\-]{4,32})?$(?!\n)")]
Email = Annotated[
    str, Meta(max_length=320, pattern=r"^([a-zA-Z0-9._\-]+@[a-zA-Z0-9.\-]+\.gserviceaccount\.com)?$(?!\n)")
]

SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
PROJECT_FORM = "the id of a project, or its number in quotes"
_SELECTORS_EMPTY = "DelegateSelectors cannot be Empty: name the delegates whose Google identity is used"
_REQUIRED = ("workload_pool_id", "provider_id", "gcp_project_id")


class Federation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A provider of a workload identity pool that trusts the keyring's issuer; `gcpProjectId` is the pool's project.

    With `serviceAccountEmail` that account is impersonated; without it, roles are granted to the pool's principal itself.
    """

    workload_pool_id: PoolId = ""
    provider_id: PoolId = ""
    gcp_project_id: ProjectOrNone = ""
    service_account_email: Email = ""

    @property
    def given(self) -> bool:
        """Whether there is one at all."""
        return self != NO_FEDERATION

    @property
    def provider(self) -> str:
        """The provider's resource name, below iam.googleapis.com."""
        return (
            f"projects/{self.gcp_project_id}/locations/global/workloadIdentityPools/{self.workload_pool_id}"
            f"/providers/{self.provider_id}"
        )

    @property
    def audience(self) -> str:
        """Of ID tokens: what a provider expects that names no audiences of its own."""
        return f"https://iam.googleapis.com/{self.provider}"


NO_FEDERATION = Federation()


class Identity(msgspec.Struct, frozen=True):
    """Who a connector is; exactly one of the three is there."""

    key: str | None
    federation: Federation | None
    own: bool


def forms(federation: str, key: str) -> Forms:
    """What errors say of the fields with those names."""
    return Forms(
        forms={
            key: f"{SECRET}; the service account's key, a JSON file, goes into that secret",
            f"{federation}.workloadPoolId": "the id of a pool: 4 to 32 lower-case letters, digits and -",
            f"{federation}.providerId": "the id of the pool's provider: 4 to 32 lower-case letters, digits and -",
            f"{federation}.gcpProjectId": "the number of the pool's project, in quotes",
            f"{federation}.serviceAccountEmail": "the e-mail address of a service account: NAME@PROJECT.iam.gserviceaccount.com",
            "projectId": PROJECT_FORM,
        },
        ways={
            "Identity": {
                key: Way(),
                federation: Way(
                    needs=tuple(f"{federation}.{name}" for name in ("gcpProjectId", "workloadPoolId", "providerId")),
                    takes=(f"{federation}.serviceAccountEmail",),
                ),
                "assumeCredentialsOnDelegate": Way(),
            },
        },
    )


def identity(
    names: tuple[str, str],
    key: SecretReference | None,
    federation: Federation,
    own: bool,
    delegate_selectors: Collection[str],
) -> Identity:
    """The one way in which a connector is somebody. `names` are those of the fields of key and federation. Raises Refused."""
    key_name, federation_name = names
    given = [key is not None, federation.given, own]
    if sum(given) != 1:
        raise Refused(
            key_name,
            f"give one of {key_name} (a secret with a service account's key), {federation_name} (workload identity federation) "
            "and assumeCredentialsOnDelegate: true",
        )
    if own and not delegate_selectors:
        raise Refused("delegateSelectors", _SELECTORS_EMPTY)
    if federation.given:
        for name in _REQUIRED:
            if not getattr(federation, name):
                (field,) = (one for one in msgspec.structs.fields(Federation) if one.name == name)
                raise Refused(f"{federation_name}.{field.encode_name}", "the field is missing")
    return Identity(key, federation if federation.given else None, own)
