"""One delegate's connection tests with all that they stand on, by a clock that stands: the parts of the program, and a kind to try."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from delegate.checks import Checks
from delegate.policy import CallLedger, LocalPolicy
from delegate.probes import Probes
from delegate.secret_managers.interface import SecretManager, Surroundings
from delegate.secret_managers.local import Local
from delegate.secret_managers.registry import BUILT_IN, Registry
from delegate.trust import Trust
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, parse_as
from shared.messages import Checked
from shared.trust.warrant import warrant
from tests.fakes.closing import StandingClock
from tests.fakes.world import World

SECONDS = 600.0
DONE = Plaintext(b"")


class Probe:
    """A kind whose connectors work until `failure` is set; `tried` says which were tried, `most` how many at once.

    Tests end when the `gate` is opened, where there is one.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.tried: list[str] = []
        self.running = self.most = 0
        self.gate: asyncio.Event | None = None

    def load(self) -> Any:
        return self.kind

    def kind(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> SecretManager:
        probe = self

        class Probed(Local):
            async def check(self) -> None:
                probe.tried.append(connector.identifier)
                probe.running += 1
                probe.most = max(probe.most, probe.running)
                await (asyncio.sleep(0) if probe.gate is None else probe.gate.wait())
                probe.running -= 1
                if probe.failure is not None:
                    raise probe.failure

        return Probed(connector, surroundings, secrets)


class Clock(StandingClock):
    """Both clocks stand."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def now(self) -> int:
        return self.world.now


class Outlet:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.is_open = True
        self.said: list[Checked] = []

    def mention(self, message: Checked) -> None:
        self.said.append(message)


class Scene:
    """One delegate's checks, with all that they stand on."""

    def __init__(self, policy: str = 'kinds = ["*"]', seconds: float = SECONDS, pause_seconds: float = 0.0) -> None:
        self.world = World()
        self.clock = Clock(self.world)
        self.probe, self.outlet = Probe(), Outlet()
        self.book = self.world.book()
        zone = Zone(self.world.keyring, self.book)
        chosen = LocalPolicy.parse(policy, ["Local"])
        surroundings = Surroundings(zone, chosen, secrets.token_bytes, self.clock)
        self.registry = Registry({**BUILT_IN, "Probed": self.probe}, surroundings)
        self.trust = Trust(self.book, zone, self.clock)
        self.checks = Checks(
            identity=self.world.delegate,
            tags=["delegate"],
            trust=self.trust,
            registry=self.registry,
            policy=chosen,
            ledger=CallLedger(),
            clock=self.clock,
            outlet=self.outlet,
            seconds=seconds,
            chance=lambda _, most: most,
        )
        self.probes = Probes(self.checks, self.trust, self.clock, pause_seconds)

    def connector(self, identifier: str = "one", **changes: Any) -> Verified[ConnectorDocument]:
        """A published connector of the kind, known to the delegate."""
        made = self.world.publish(self.world.connector_document(identifier, **{"type": "Probed", **changes}))
        self.learn()
        return made

    def learn(self) -> None:
        for compact in self.world.documents:
            self.book.admit(compact, self.world.now)

    async def use(self, connector: Verified[ConnectorDocument], item: Any = DONE) -> None:
        """A task, a test, was acted on."""
        granted = warrant(self.book, self.world.check(connector), self.world.now)
        async with self.registry.lend(connector):
            self.checks.observe(granted, [item])

    async def later(self, seconds: float = 1.2 * SECONDS) -> list[CheckedDocument]:
        """What is said in the round that long afterwards."""
        before = len(self.outlet.said)
        self.clock.at += seconds
        self.registry.tidy()
        await self.checks.round()
        return self.read()[before:]

    def read(self) -> list[CheckedDocument]:
        key = self.world.delegate.public
        return [parse_as(CheckedDocument, one.document).verified_by(key).document for one in self.outlet.said]
