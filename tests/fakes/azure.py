"""One connector of Azure Key Vault before one stand-in: managers, secrets and their versions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from delegate.clock import Clock
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.azure_key_vault import AzureKeyVault
from delegate.secret_managers.azure_key_vault_key import AzureKeys, AzureKeyVaultKey
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.versions import version
from tests.fakes.world import World
from tests.servers.azure import CLIENT, CLIENT_SECRET, TENANT, Azure

SECRET = {"tenantId": TENANT, "clientId": CLIENT, "secretKey": "account.azureKey"}
"""The identity of a connector that shows a client secret."""


@dataclass
class Stage:
    """`held` are the values of the secrets that its connectors name."""

    azure: Azure
    world: World = field(default_factory=World)
    held: dict[str, bytes] = field(default_factory=lambda: {"account.azureKey": CLIENT_SECRET.encode()})
    opened: list[SecretManager | AzureKeys] = field(default_factory=list)

    def connector(self, kind: str = "AzureKeyVault", **spec: Any) -> ConnectorDocument:
        given = {"vaultName": self.azure.vault.name, **({} if IDENTITY & spec.keys() else SECRET), **spec}
        return self.world.connector_document("azure", type=kind, spec=given, secrets=tuple(sorted(self.held)))

    def surroundings(
        self, endpoints: str | None = None, seconds: float = 15.0, policy: str = "", clock: Clock | None = None
    ) -> Surroundings:
        zone = Zone(self.world.keyring, self.world.book())
        return Surroundings(
            zone,
            LocalPolicy.parse(policy, ["AzureKeyVault"]),
            secrets.token_bytes,
            clock=clock or Clock(),
            tokens=Tokens(zone, Clock(), secrets.token_bytes),
            azure_endpoints=Endpoints.parse(
                self.azure.endpoints if endpoints is None else endpoints, "azure_endpoints"
            ),
            call_seconds=seconds,
        )

    def _held(self) -> Mapping[str, Plaintext]:
        return {name: Plaintext(value) for name, value in self.held.items()}

    def manager(self, surroundings: Surroundings | None = None, **spec: Any) -> AzureKeyVault:
        made = AzureKeyVault(self.connector(**spec), surroundings or self.surroundings(), self._held())
        self.opened.append(made)
        return made

    def enveloped(self, **spec: Any) -> AzureKeyVaultKey:
        given = {"keyName": "main", **spec}
        made = AzureKeyVaultKey(self.connector("AzureKeyVaultKey", **given), self.surroundings(), self._held())
        self.opened.append(made)
        return made

    def keys(self, **spec: Any) -> AzureKeys:
        given = {"keyName": "main", **spec}
        made = AzureKeys(self.connector("AzureKeyVaultKey", **given), self.surroundings(), self._held())
        self.opened.append(made)
        return made

    def version(self, identifier: str = "db", n: int = 1, **document: Any) -> SecretVersion:
        return version(self.world, self.connector(), identifier, n, **document)

    async def close(self) -> None:
        for one in self.opened:
            await one.close()


IDENTITY = {"secretKey", "certificate", "useOidc", "useManagedIdentity"}
