"""CyberArk Central Credential Provider: accounts of a Digital Vault, read by safe, folder and object. The service only reads.

A certificate that TLS proves, or the machines and users that the application allows, say who asks: neither is a password.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model
from shared.connectors.servers import PEM, SECRET, Line, Pem, check_pem, check_url
from shared.documents.fields import SecretReference

UNSENDABLE = "+&%;"
"""What the service doesn't take in a value, encoded or not."""

AppId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f+&%;]*$(?!\n)")]
Reason = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f+&%;]*$(?!\n)")]
WebService = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,128}$(?!\n)")]

_FORMS = Forms(
    forms={
        "appId": "the application's id: a line of up to 128 characters without + & % ;",
        "caCertificate": PEM,
        "clientCertificate": PEM,
        "clientKey": f"{SECRET}; the key itself, in PEM, goes into that secret",
        "reason": "a line of up to 256 characters without + & % ;",
        "url": "a URL such as https://ccp.example.com",
        "webService": "the name of the web service on its server: letters, digits, _ and -",
    },
    missing={
        "appId": "AppID cannot be empty: give the id of the application that asks",
        "url": "URL cannot be empty",
    },
)


class CyberArkCcpSettings(Model, frozen=True, kw_only=True):
    """One application at one service. Without a certificate it is known by the machine that the delegate runs on."""

    FORMS: ClassVar[Forms] = _FORMS

    url: Line
    app_id: AppId
    client_certificate: Pem = ""
    client_key: SecretReference | None = None
    ca_certificate: Pem = ""
    web_service: WebService = "AIMWebService"
    reason: Reason = "Privy Seal"
    fail_on_password_change: bool = False

    def __post_init__(self) -> None:
        check_url("url", self.url)
        check_pem("caCertificate", self.ca_certificate)
        check_pem("clientCertificate", self.client_certificate)
        if bool(self.client_certificate) != (self.client_key is not None):
            raise Refused("clientKey", "a client certificate and its key go together: give both or neither")
        if not self.client_certificate and not self.delegate_selectors:
            raise Refused(
                "delegateSelectors",
                "DelegateSelectors cannot be Empty without a client certificate: name the delegates whose machines the "
                "application allows",
            )
        if self.default:
            raise Refused("default", "this kind only reads, so it can't be the default: it takes no new secrets")
