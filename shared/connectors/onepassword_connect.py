"""1Password Connect: fields and files of items, read through a Connect server in the customer's own network. Nothing is written.

What the server gives is decided by its access token, which names vaults; a connector holds one.
"""

from __future__ import annotations

from typing import ClassVar

from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model
from shared.connectors.servers import PEM, SECRET, Line, Pem, check_pem, check_url
from shared.documents.fields import SecretReference

_FORMS = Forms(
    forms={
        "caCertificate": PEM,
        "token": f"{SECRET}; the access token itself goes into that secret",
        "url": "the URL of a Connect server, such as https://connect.example.com",
    },
    missing={
        "token": "the access token is missing: give the secret that holds it",
        "url": "URL cannot be empty",
    },
)


class OnePasswordConnectSettings(Model, frozen=True, kw_only=True):
    """One Connect server and one access token for it."""

    FORMS: ClassVar[Forms] = _FORMS

    url: Line
    token: SecretReference
    ca_certificate: Pem = ""

    def __post_init__(self) -> None:
        check_url("url", self.url)
        check_pem("caCertificate", self.ca_certificate)
        if self.default:
            raise Refused("default", "this kind only reads, so it can't be the default: it takes no new secrets")
