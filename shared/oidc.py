"""What an issuer of ID tokens publishes, and what its tokens say: all of it follows from signed documents.

Promises: two connectors never have one subject. Must not sign: the private keys stay with the delegates. Formats: RFC 7517
(JWKS), RFC 7638 (kid), OpenID Connect Discovery 1.0, RFC 7519 (claims).
"""

from __future__ import annotations

import hashlib
from typing import Any

from shared.canonical import b64u
from shared.documents.connector import ConnectorDocument
from shared.documents.keyring import KeyringDocument
from shared.names import Scope

LIFETIME_SECONDS = 600
DISCOVERY_PATH = ".well-known/openid-configuration"
JWKS_PATH = "jwks.json"

PLACE = ("account_id", "organization_id", "project_id", "connector_id")
"""The claims that say a subject's parts one by one; empty where the scope has no such part."""

_EXPONENT = "AQAB"
"""65537."""


def key_id(n: str) -> str:
    """The `kid` of the RSA key with that modulus (base64url): its RFC 7638 thumbprint."""
    return b64u(hashlib.sha256(f'{{"e":"{_EXPONENT}","kty":"RSA","n":"{n}"}}'.encode()).digest())


def key_set(document: KeyringDocument, floor: int = 1) -> dict[str, Any]:
    """The JWKS of a keyring: its keys from generation `floor` on, the lowest that the account's status still counts."""
    moduli = [] if document.oidc is None else [one.n for one in document.oidc.keys if one.gen >= floor]
    return {
        "keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id(n), "n": n, "e": _EXPONENT} for n in moduli]
    }


def discovery(issuer: str) -> dict[str, Any]:
    """The provider's metadata: what OpenID Connect Discovery 1.0 requires of it, and what AWS and Vault look for besides.

    There is no authorization endpoint: the tokens are made by delegates, nobody logs in here.
    """
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/{JWKS_PATH}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid"],
        "claims_supported": ["sub", "aud", "exp", "iat", "nbf", "iss", "jti", *PLACE],
    }


def subject(connector: ConnectorDocument) -> str:
    """Who a token speaks for: `account/ACCOUNT[:org/ORG[:project/PROJECT]]:connector/IDENTIFIER`.

    No identifier holds `:` or `/`, so no part can be read as two.
    """
    scope = Scope.parse(connector.scope)
    parts = [("account", connector.acct), ("org", scope.org), ("project", scope.project)]
    return ":".join(f"{name}/{value}" for name, value in [*parts, ("connector", connector.identifier)] if value)


def claims(connector: ConnectorDocument, issuer: str, audience: str, now: int, jti: str) -> dict[str, Any]:
    """What a token says that is made at `now`, and lasts ten minutes."""
    scope = Scope.parse(connector.scope)
    places = (connector.acct, scope.org, scope.project, connector.identifier)
    return {
        "iss": issuer,
        "sub": subject(connector),
        "aud": audience,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
        "jti": jti,
        **dict(zip(PLACE, places, strict=True)),
    }
