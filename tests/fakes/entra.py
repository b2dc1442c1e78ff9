"""Microsoft Entra ID, as far as applications show it who they are, and the managed identity of a machine.

Sources: "Microsoft identity platform and the OAuth 2.0 client credentials flow" (shared secret, certificate, federated credential);
"Certificate credentials for application authentication"; "Workload identity federation"; "Microsoft Entra authentication and
authorization error codes"; "How to use managed identities on an Azure VM to acquire an access token"; "How to use managed
identities for App Service", REST endpoint reference.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from shared.canonical import b64u

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
AUDIENCE = "api://AzureADTokenExchange"
TOKEN_SECONDS = 3599


class Rejected(Exception):
    """An error of the token endpoint."""

    def __init__(self, status: int, error: str, number: int) -> None:
        super().__init__(error)
        self.status = status
        told = f"AADSTS{number}: The request isn't taken. Trace ID: x"
        self.body = {
            "error": error,
            "error_description": told,
            "error_codes": [number],
            "timestamp": "",
            "trace_id": "x",
        }


@dataclass
class App:
    """An app registration. A `federated` credential is issuer and subject."""

    client_id: str
    secrets: set[str] = field(default_factory=set)
    expired_secrets: set[str] = field(default_factory=set)
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Entra:
    """One tenant; `managed` are the managed identities of the machine, by client id, "" for the system's."""

    tenant: str
    host: str = "login.microsoftonline.com"
    resource: str = "https://vault.azure.net"
    apps: dict[str, App] = field(default_factory=dict)
    managed: dict[str, str] = field(default_factory=dict)
    identity_header: str = ""
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    def principal(self, token: str) -> str | None:
        """Whose token that is, while it lives."""
        who, ends = self.tokens.get(token, ("", 0.0))
        return who if ends > time.time() else None

    def token(self, tenant: str, form: Mapping[str, str]) -> tuple[int, Any]:
        """POST /TENANT/oauth2/v2.0/token. Raises Rejected."""
        if tenant.lower() != self.tenant:
            raise Rejected(400, "invalid_request", 90002)
        if form.get("grant_type") != "client_credentials" or form.get("scope") != f"{self.resource}/.default":
            raise Rejected(400, "invalid_scope", 70011)
        app = self.apps.get(form.get("client_id", ""))
        if app is None:
            raise Rejected(400, "unauthorized_client", 700016)
        if "client_secret" in form:
            if form["client_secret"] in app.expired_secrets:
                raise Rejected(401, "invalid_client", 7000222)
            if form["client_secret"] not in app.secrets:
                raise Rejected(401, "invalid_client", 7000215)
        elif form.get("client_assertion_type") != ASSERTION:
            raise Rejected(400, "invalid_client", 7000216)
        else:
            self._check_assertion(app, form["client_assertion"])
        return 200, {
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "ext_expires_in": TOKEN_SECONDS,
            "access_token": self._made(app.client_id),
        }

    def metadata(self, headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[int, Any]:
        """GET /metadata/identity/oauth2/token."""
        if headers.get("Metadata") != "true" or query.get("api-version") != "2018-02-01":
            return 400, {"error": "bad_request_102", "error_description": "Required metadata header not specified"}
        return self._of_machine(query)

    def app_service(self, headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[int, Any]:
        """GET IDENTITY_ENDPOINT."""
        if not self.identity_header or headers.get("X-IDENTITY-HEADER") != self.identity_header:
            return 401, {"statusCode": 401, "message": "Unauthorized"}
        return self._of_machine(query)

    def _of_machine(self, query: Mapping[str, str]) -> tuple[int, Any]:
        who = self.managed.get(query.get("client_id", ""))
        if who is None or query.get("resource") != self.resource:
            return 400, {"error": "invalid_request", "error_description": "Identity not found"}
        return 200, {
            "access_token": self._made(who),
            "expires_in": str(TOKEN_SECONDS),
            "expires_on": str(int(time.time()) + TOKEN_SECONDS),
            "resource": self.resource,
            "token_type": "Bearer",
        }

    def _made(self, who: str) -> str:
        token = "eyJ" + secrets.token_urlsafe(48)
        self.tokens[token] = (who, time.time() + TOKEN_SECONDS)
        return token

    def _check_assertion(self, app: App, assertion: str) -> None:
        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError:
            raise Rejected(401, "invalid_client", 50027) from None
        if claims.get("iss") == app.client_id:
            self._check_certificate(app, assertion, header)
        else:
            self._check_federated(app, assertion, header, claims)

    def _check_certificate(self, app: App, assertion: str, header: Mapping[str, Any]) -> None:
        for one in app.certificates:
            named = {
                "x5t": b64u(one.fingerprint(hashes.SHA1())),  # noqa: S303 (the protocol's name for it)
                "x5t#S256": b64u(one.fingerprint(hashes.SHA256())),
            }
            if any(str(header.get(name, "")).rstrip("=") == value for name, value in named.items()):
                try:
                    jwt.decode(
                        assertion,
                        one.public_key(),  # type: ignore[arg-type]
                        algorithms=["RS256", "PS256"],
                        audience=f"https://{self.host}/{self.tenant}/oauth2/v2.0/token",
                        issuer=app.client_id,
                        options={"require": ["exp", "jti", "nbf", "sub"]},
                    )
                except jwt.ExpiredSignatureError:
                    raise Rejected(401, "invalid_client", 700024) from None
                except jwt.PyJWTError:
                    break
                return
        raise Rejected(401, "invalid_client", 700027)

    def _check_federated(self, app: App, assertion: str, header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
        issuer, subject = str(claims.get("iss")), str(claims.get("sub"))
        if issuer not in {one for one, _ in app.federated}:
            raise Rejected(401, "invalid_client", 700211)
        if (issuer, subject) not in app.federated:
            raise Rejected(401, "invalid_client", 700213)
        # What Entra ID does: the issuer's own published keys decide.
        discovered = _fetched(f"{issuer}/.well-known/openid-configuration")
        keys = _fetched(discovered["jwks_uri"])["keys"] if discovered.get("issuer") == issuer else []
        for one in keys:
            if one.get("kid") == header.get("kid"):
                try:
                    jwt.decode(assertion, jwt.PyJWK(one).key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer)
                except jwt.InvalidAudienceError:
                    raise Rejected(401, "invalid_client", 700212) from None
                except jwt.PyJWTError:
                    break
                return
        raise Rejected(401, "invalid_client", 5000223)


def _fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (the issuer of a test, on loopback)
        return json.loads(answer.read())
