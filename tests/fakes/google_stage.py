"""Connectors of Google's kinds in a world, beside the stand-in on loopback."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from delegate.clock import Clock
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.gcp_kms import GcpKeys
from delegate.secret_managers.gcp_secret_manager import GcpSecretManager
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared.aad import Aad
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.google import NUMBER, PROJECT, Google
from tests.fakes.issuers import ISSUER_KEYS
from tests.fakes.versions import version
from tests.fakes.world import World

ROBOT = f"robot@{PROJECT}.iam.gserviceaccount.com"
USE_KEYS = ("cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt")
USE_SECRETS = tuple(
    f"secretmanager.{one}"
    for one in (
        "secrets.create",
        "secrets.delete",
        "secrets.get",
        "secrets.update",
        "versions.access",
        "versions.add",
        "versions.destroy",
    )
)
POOL = {"workloadPoolId": "pool-1", "providerId": "privyseal", "gcpProjectId": NUMBER}
OWN = {"assumeCredentialsOnDelegate": True, "delegateSelectors": ["d1"]}


@dataclass
class Stage:
    """A world, the stand-in and what connectors are made with. `ROBOT` may use keys and secrets."""

    google: Google
    clock: Clock = field(default_factory=Clock)
    world: World = field(default_factory=World)
    call_seconds: float = 5.0
    policy: str = 'kinds = ["*"]'
    opened: list[GcpKeys | GcpSecretManager] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.google.allow(f"serviceAccount:{ROBOT}", *USE_KEYS, *USE_SECRETS)
        self.key_file = self.google.http.key_file(ROBOT, ISSUER_KEYS[1].private)
        self.key = self.google.keys.new_key("main")

    def surroundings(self, **changes: Any) -> Surroundings:
        """Of a delegate that never waits between tries."""
        zone = Zone(self.world.keyring, self.world.book())
        given: dict[str, Any] = {
            "zone": zone,
            "policy": LocalPolicy.parse(self.policy, []),
            "randomness": bytes,
            "clock": self.clock,
            "gcp_endpoints": Endpoints.parse(self.google.endpoints, "gcp_endpoints"),
            "tokens": Tokens(zone, self.clock, secrets.token_bytes),
            "call_seconds": self.call_seconds,
        }
        return Surroundings(**{**given, **changes})

    def connector(self, kind: str, spec: Mapping[str, Any]) -> ConnectorDocument:
        """A connector of that kind."""
        named = tuple(sorted(set(settings(kind, spec).references())))
        return self.world.connector_document("google", type=kind, spec=dict(spec), secrets=named)

    def keys(
        self, identity: Mapping[str, Any] | None = None, surroundings: Surroundings | None = None, **spec: Any
    ) -> GcpKeys:
        """The key service of a connector of the key `main`."""
        _, project, _, region, _, ring, _, key = self.key.split("/")
        place = {"projectId": project, "region": region, "keyRing": ring, "keyName": key}
        identity = {"credentials": "account.robot"} if identity is None else identity
        connector = self.connector("GcpKms", {**place, **identity, **spec})
        made = GcpKeys(connector, surroundings or self.surroundings(), self._held(connector))
        self.opened.append(made)
        return made

    def secrets(
        self, identity: Mapping[str, Any] | None = None, surroundings: Surroundings | None = None, **spec: Any
    ) -> GcpSecretManager:
        """A secret manager in the project."""
        identity = {"credentialsRef": "account.robot"} if identity is None else identity
        self.connected = self.connector("GcpSecretManager", {**identity, **spec})
        made = GcpSecretManager(self.connected, surroundings or self.surroundings(), self._held(self.connected))
        self.opened.append(made)
        return made

    def version(self, identifier: str = "password", n: int = 1, task: str = "", **document: Any) -> SecretVersion:
        """Version `n` of a secret of the last connector; `task` names its store task."""
        return version(self.world, self.connected, identifier, n, task=task, **document)

    def place(self, n: int = 1, **changes: Any) -> Aad:
        """Where version `n` of a secret belongs."""
        return replace(Aad("store", self.world.id, "main", "account", "s" * 26, n, "v", "c" * 26), **changes)

    def _held(self, connector: ConnectorDocument) -> dict[str, Plaintext]:
        return {name: Plaintext(self.key_file) for name in connector.secrets}

    async def close(self) -> None:
        """Closes all that was made."""
        for one in self.opened:
            await one.close()
