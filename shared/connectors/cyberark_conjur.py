"""CyberArk Conjur (Secrets Manager): variables that its policy declares, read by their ids.

The kind only reads: a variable comes into being by a policy that its owner loads, Conjur tells no number of a version that it
wrote, deletes none, and has no place beside the value to say whose it is.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model
from shared.connectors.servers import PEM, SECRET, Line, Pem, check_audience, check_pem, check_url
from shared.documents.fields import SecretReference

AUDIENCE = "conjur"
"""Of the ID tokens that a connector shows whose `audience` says nothing else."""

Account = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$(?!\n)")]
Name = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
"""A role's or a service's: parts with / between them."""
CredentialType = Literal["ApiKey", "Jwt"]
CREDENTIAL_TYPES: tuple[str, ...] = get_args(CredentialType)

_PARTS = re.compile(r"(?!.*(\A|/)\.{0,2}(/|\Z))")
_FORM = "parts with / between them, none of them empty, . or .."
_FORMS = Forms(
    choices={"credential.type": CREDENTIAL_TYPES},
    named={"credential.type": "Invalid credential type"},
    forms={
        "account": "Conjur's account: letters, digits and _ . -",
        "caCertificate": PEM,
        "credential.spec.apiKey": f"{SECRET}; the key itself goes into that secret",
        "credential.spec.audience": "the audience that the authenticator expects, in one line",
        "credential.spec.hostId": f"the id of a host: {_FORM}",
        "credential.spec.login": f"host/ID for a host, the name of a user: {_FORM}",
        "credential.spec.serviceId": f"the id of the authenticator, without conjur/authn-jwt/: {_FORM}",
        "url": "a URL such as https://conjur.example.com, or https://TENANT.secretsmgr.cyberark.cloud/api",
    },
    missing={
        "account": "Account cannot be empty: give Conjur's account, conjur in CyberArk's cloud",
        "credential": "Invalid credential type: the credential is missing",
        "credential.type": "Invalid credential type",
        "credential.spec.apiKey": "You must provide an API key, as a secret",
        "credential.spec.login": "You must provide a login: host/ID for a host",
        "credential.spec.serviceId": "You must provide the id of the JWT authenticator",
        "url": "URL cannot be empty",
    },
    ways={
        "credential.type": {
            "ApiKey": Way(),
            "Jwt": Way(),
        }
    },
)


class ApiKeySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A role and its API key, which a secret holds."""

    login: Name
    api_key: SecretReference


class JwtSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """An authenticator (authn-jwt) that trusts the keyring's issuer; without `host_id` the token says which host it is."""

    service_id: Name
    host_id: Line = ""
    audience: Line = AUDIENCE


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ApiKey"):
    """`type: ApiKey`."""

    spec: ApiKeySettings


class Jwt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="Jwt"):
    """`type: Jwt`."""

    spec: JwtSettings


class CyberArkConjurSettings(Model, frozen=True, kw_only=True):
    """One account of one Conjur, and who asks it."""

    FORMS: ClassVar[Forms] = _FORMS

    url: Line
    account: Account
    credential: ApiKey | Jwt
    ca_certificate: Pem = ""

    def __post_init__(self) -> None:
        check_url("url", self.url)
        check_pem("caCertificate", self.ca_certificate)
        if self.default:
            raise Refused("default", "this kind only reads, so it can't be the default: it takes no new secrets")
        if isinstance(self.credential, ApiKey):
            _check_parts("credential.spec.login", self.credential.spec.login)
            return
        jwt = self.credential.spec
        _check_parts("credential.spec.serviceId", jwt.service_id)
        if jwt.host_id:
            _check_parts("credential.spec.hostId", jwt.host_id)
        if not jwt.audience:
            raise Refused("credential.spec.audience", f"give {_FORMS.forms['credential.spec.audience']}")
        check_audience("credential.spec.audience", jwt.audience)

    @property
    def oidc_audience(self) -> str | None:
        """The authenticator's audience, where it logs in by JWT."""
        return self.credential.spec.audience if isinstance(self.credential, Jwt) else None


def _check_parts(place: str, name: str) -> None:
    if not _PARTS.match(name):
        raise Refused(place, f"give {_FORMS.forms[place]}")
