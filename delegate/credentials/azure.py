"""Who a connector is at Azure, as its settings say, and its clients: the one entrance for the kinds at Key Vault.

Promises: exactly the identity that the connector names, never the next that would do; a token is asked for at its cloud's own
authority, for Key Vault of that cloud alone, whatever a vault's challenge says; of those who wait for a token one asks. Must
not put a client secret, certificate or token into an error. Sources: Entra ID, client credentials flow; managed identities.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.identity.aio import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
)

from delegate.credentials.azure_http import AzureHttp, origin_of
from delegate.secret_managers.interface import Surroundings
from shared.connectors.azure_key_vault import AzureVault
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotReady

CONNECT_SECONDS = 5.0
FRESH_SECONDS = 300
"""A token that ends sooner is asked for anew."""

METADATA = "http://169.254.169.254"
"""The instance metadata service, where virtual machines get their identity's tokens."""

_OWN_VARIABLES = ("IDENTITY_ENDPOINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
"""Where other hosts of Azure say the same: App Service, Container Apps, Arc, Machine Learning. The delegate's own surroundings."""


class Credential(Protocol):
    """One of azure-identity's."""

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo: ...

    async def close(self) -> None: ...


class AzureIdentity:
    """Gives the libraries tokens. `who` names it in errors."""

    def __init__(
        self,
        settings: AzureVault,
        connector: ConnectorDocument,
        surroundings: Surroundings,
        secrets: Mapping[str, Plaintext],
        transport: AzureHttp,
    ) -> None:
        self._settings = settings
        self._connector = connector
        self._surroundings = surroundings
        self._secrets = secrets
        self._options: dict[str, Any] = {**options(surroundings, transport), "authority": settings.cloud.authority}
        self._scope = f"https://{settings.cloud.suffix}/.default"
        self._credential: Credential | None = None
        self._assertion = ""
        self._token: AccessTokenInfo | None = None
        self._asking = asyncio.Lock()
        self.who = _who(settings)

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """A token for Key Vault. Raises Denied for anything else, NotReady, Malformed, and what azure-identity raises."""
        told: TokenRequestOptions = options or {}
        self._check(scopes, told.get("tenant_id") or "")
        async with self._asking:
            token, claims = self._token, told.get("claims")
            if token is not None and not claims and token.expires_on - self._surroundings.clock.now() > FRESH_SECONDS:
                return token
            if self._settings.identity == "oidc":
                self._assertion = await self._minted()
            asked: TokenRequestOptions = {"enable_cae": True}
            if claims:
                asked["claims"] = claims
            if self._credential is None:
                self._credential = self._made()
            self._token = await self._credential.get_token_info(*scopes, options=asked)
            return self._token

    async def renew(self) -> None:
        """Forget the token, wherever it is kept: Key Vault no longer takes it."""
        async with self._asking:
            self._token = self._credential = None

    async def close(self) -> None:
        """Forget everything. Connections are the transport's."""
        self._token = self._credential = None
        self._assertion = ""

    async def __aenter__(self) -> AzureIdentity:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check(self, scopes: tuple[str, ...], tenant: str) -> None:
        if scopes != (self._scope,):
            raise Denied(
                "azure_challenge_foreign",
                "the vault asks for a token that isn't one for Key Vault of its cloud",
                "look at azureEnvironmentType, and at what stands between the delegate and the vault",
            )
        own = self._settings.tenant_id.lower()
        # Key Vault names its tenant by GUID; where the connector gives a domain there is nothing to compare.
        if self._settings.identity != "managed" and tenant and "." not in own and own != tenant.lower():
            raise Denied(
                "azure_tenant_other",
                f"the vault {self._settings.vault_name} belongs to another tenant than {self.who}",
                "give that tenant's tenantId and an app registration there",
            )

    async def _minted(self) -> str:
        tokens = self._surroundings.tokens
        if tokens is None:
            raise NotReady("oidc_unconfigured", "this delegate makes no ID tokens", "see docs/oidc.md")
        return await tokens.mint(self._connector, self._settings.cloud.audience)

    def _made(self) -> Credential:
        told, options = self._settings, self._options
        match told.identity:
            case "managed":
                client = told.managed_client_id if told.azure_managed_identity_type == _USER_ASSIGNED else None
                return ManagedIdentityCredential(client_id=client, **options)
            case "oidc":
                return ClientAssertionCredential(told.tenant_id, told.client_id, lambda: self._assertion, **options)
            case "secret":
                return ClientSecretCredential(told.tenant_id, told.client_id, self._client_secret(), **options)
            case "certificate":
                return self._by_certificate()

    def _client_secret(self) -> str:
        name = self._settings.secret_key
        assert name is not None
        try:
            secret = self._secrets[name].reveal().decode("ascii").strip()
        except UnicodeDecodeError:
            secret = ""
        if not secret.isprintable() or not secret:
            raise Malformed(
                "credential_malformed",
                f"the secret {name} can't be a client secret",
                "store the client secret's value there, not its id",
            )
        return secret

    def _by_certificate(self) -> CertificateCredential:
        name = self._settings.certificate
        assert name is not None
        try:
            return CertificateCredential(
                self._settings.tenant_id,
                self._settings.client_id,
                certificate_data=self._secrets[name].reveal(),
                **self._options,
            )
        except (ValueError, TypeError):
            raise Malformed(
                "credential_malformed",
                f"the secret {name} isn't a certificate with its RSA key",
                "store both there, as PEM or PKCS#12 without a password",
            ) from None


def transport(settings: AzureVault, surroundings: Surroundings) -> AzureHttp:
    """Leads to the vault, its cloud's authority and this machine's own identity, or where `azure_endpoints` say instead."""
    instead = surroundings.azure_endpoints.url
    vault, login = f"https://{settings.host}", f"https://{settings.cloud.authority}"
    routes = {vault: instead("vault") or vault, login: instead("login") or login}
    if settings.identity != "managed":
        return AzureHttp(routes, surroundings.policy)
    own = {METADATA: instead("identity") or METADATA}
    for variable in _OWN_VARIABLES:
        url = os.environ.get(variable, "")
        if urlsplit(url).scheme in {"http", "https"}:
            own.setdefault(origin_of(url), origin_of(url))
    return AzureHttp({**routes, **own}, surroundings.policy, frozenset(own))


def options(surroundings: Surroundings, transport: AzureHttp) -> dict[str, Any]:
    """What each client and credential of the libraries is made with: our transport and times, no tries of their own."""
    return {
        "transport": transport,
        "connection_timeout": min(CONNECT_SECONDS, surroundings.call_seconds),
        "read_timeout": surroundings.call_seconds,
        "retry_total": 0,
        "permit_redirects": False,
        "logging_enable": False,
    }


_USER_ASSIGNED = "UserAssignedManagedIdentity"


def _who(settings: AzureVault) -> str:
    if settings.identity != "managed":
        return f"the app registration {settings.client_id}"
    if settings.azure_managed_identity_type == _USER_ASSIGNED:
        return f"the managed identity {settings.managed_client_id}"
    return "the delegate's own managed identity"
