"""Connectors of the kind `AwsKms` in a world, and the delegate's surroundings beside a server on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from delegate.clock import Clock
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.aws_kms import AwsKeys
from delegate.secret_managers.interface import Surroundings
from delegate.zone import Zone
from shared.aad import Aad
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.world import World

ROLE = "arn:aws:iam::123456789012:role/kms"
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"

MANUAL = {"type": "ManualConfig", "spec": {"accessKey": "key", "secretKey": "account.half"}}
OWN = {"type": "AssumeIAMRole", "spec": {"delegateSelectors": ["d1"]}}
STS = {"type": "AssumeSTSRole", "spec": {"delegateSelectors": ["d1"], "roleArn": ROLE}}
OIDC = {"type": "OidcAuthentication", "spec": {"iamRoleArn": ROLE}}


@dataclass
class Kms:
    """What a test's connectors are made with."""

    world: World
    url: str
    clock: Clock
    call_seconds: float = 5.0
    policy: str = ""

    def surroundings(self, **changes: Any) -> Surroundings:
        """Of a delegate that calls `url` for everything and never waits between tries."""
        given: dict[str, Any] = {
            "zone": Zone(self.world.keyring, self.world.book()),
            "policy": LocalPolicy.parse(self.policy, ["AwsKms"]),
            "randomness": bytes,
            "clock": self.clock,
            "delegate": "eu-1",
            "endpoints": Endpoints({"*": self.url} if self.url else {}),
            "call_seconds": self.call_seconds,
        }
        return Surroundings(**{**given, **changes})

    def connector(self, credential: Mapping[str, Any] = MANUAL, **spec: Any) -> ConnectorDocument:
        """A connector in the region us-east-1."""
        whole = {"credential": credential, "region": "us-east-1", **spec}
        named = tuple(sorted(set(settings("AwsKms", whole).references())))
        return self.world.connector_document("kms1", type="AwsKms", spec=whole, secrets=named)

    def keys(
        self,
        key: str,
        credential: Mapping[str, Any] = MANUAL,
        secrets: Mapping[str, bytes] | None = None,
        surroundings: Surroundings | None = None,
        **spec: Any,
    ) -> AwsKeys:
        """The key service of such a connector; `key` is an ARN, or the reference of a secret."""
        named = {"kmsArnInPlainText": key} if key.startswith("arn:") else {"kmsArn": key}
        values = {"key": ACCESS_KEY.encode(), "account.half": SECRET_KEY.encode(), **(secrets or {})}
        connector = self.connector(credential, **named, **spec)
        held = {name: Plaintext(values[name]) for name in connector.secrets}
        return AwsKeys(connector, surroundings or self.surroundings(), held)

    def place(self, n: int = 1, **changes: Any) -> Aad:
        """Where version `n` of a secret belongs."""
        return replace(Aad("store", self.world.id, "main", "account", "s" * 26, n, "v", "c" * 26), **changes)
