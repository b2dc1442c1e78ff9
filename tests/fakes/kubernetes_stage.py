"""A namespace of Kubernetes at the stand-in, and secret managers that ask there.

stage = Stage(site)                       # the namespace `apps`, and a service account that may do all in it
secret, stored = await stage.stored(b"hunter2")
await stage.read("registry/value")        # by reference
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delegate.clock import Clock
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.kubernetes_secrets import KubernetesSecrets
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.errors import PrivySealError
from tests.fakes.kubernetes import Kubernetes
from tests.fakes.versions import version
from tests.fakes.world import World

ALL = ("get", "create", "update", "delete")


class Ticking(Clock):
    """A clock that is set forward."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return Clock.monotonic(self) + self.passed


class Stage:
    """A namespace `apps` with a service account, and managers that ask as it."""

    def __init__(self, site: Kubernetes) -> None:
        self.site, self.api, self.world = site, site.api, World()
        self.clock = Ticking()
        self.token = self.api.account("apps", "privyseal", verbs=ALL)
        self.policy = ""
        self.seconds: float = 15
        self.spec: dict[str, Any] = {}
        self.opened: list[KubernetesSecrets] = []
        self.manual(site.url, site.trust)

    def manual(self, url: str, trust: str) -> None:
        """By URL and token."""
        auth = {"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "account.token"}}
        where = {"masterUrl": url, "auth": auth, **({"caCertificate": trust} if trust else {})}
        self.spec = {"namespace": "apps", "credential": {"type": "ManualConfig", "spec": where}}

    def inherit(self, folder: Path) -> None:
        """As a pod whose service account is mounted there."""
        self.spec = {
            "namespace": "apps",
            "delegateSelectors": ["cluster"],
            "credential": {"type": "InheritFromDelegate", "spec": {"serviceAccountPath": str(folder)}},
        }

    async def close(self) -> None:
        """Closes all managers."""
        for one in self.opened:
            await one.close()

    def manager(self, **spec: Any) -> KubernetesSecrets:
        """A new one; `spec` goes over the stage's."""
        named = ("account.token",) if self.spec["credential"]["type"] == "ManualConfig" else ()
        connector = self.world.connector_document(
            "cluster", type="KubernetesSecrets", spec={**self.spec, **spec}, secrets=named
        )
        surroundings = Surroundings(
            Zone(self.world.keyring, self.world.book()),
            LocalPolicy.parse(self.policy, ["KubernetesSecrets"]),
            bytes,
            clock=self.clock,
            call_seconds=self.seconds,
        )
        held = {name: Plaintext(self.token.encode()) for name in named}
        self.opened.append(KubernetesSecrets(connector, surroundings, held))
        return self.opened[-1]

    def version(self, identifier: str = "db", n: int = 1, **document: Any) -> SecretVersion:
        """Version `n` of a secret of the organisation `acme`."""
        return version(self.world, self.world.connector.document, identifier, n, **document)

    async def stored(self, value: bytes = b"hunter2", n: int = 1) -> tuple[SecretVersion, Any]:
        """That version of `db`, and its record."""
        secret = self.version(n=n)
        return secret, await self.manager().store(secret, Plaintext(value))

    async def read(self, reference: str, **document: Any) -> bytes:
        """What a secret with that reference has."""
        secret = self.version("reference", reference=reference, **document)
        manager = self.manager()
        return (await manager.fetch(secret, await manager.store(secret, Plaintext(b"")))).reveal()

    async def refusal(self, reference: str, kind: type[PrivySealError], **document: Any) -> PrivySealError:
        """The error that reading gives, which repeats no value and no token."""
        with pytest.raises(kind) as caught:
            await self.read(reference, **document)
        assert type(caught.value) is kind and caught.value.hint
        text = f"{caught.value.detail} {caught.value.hint}"
        assert "hunter2" not in text and self.token not in text
        return caught.value
