"""The delegate's life: start, serve until asked to end, let running tasks end, go.

Promises: an end that was asked for exits with 0 and loses no task that ends in time; what changes what this delegate can
do (status, keyring, certificate) is told in the log, in health and in the metrics. Must not construct its parts:
`delegate.main` does.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping

import structlog

from delegate.checks import Checks
from delegate.clock import Clock
from delegate.condition import Condition
from delegate.health import Fact, HealthServer
from delegate.link import Link
from delegate.load import Load
from delegate.metrics import DelegateMetrics
from delegate.passport import Passport
from delegate.probes import Probes
from delegate.runner import Runner
from delegate.secret_managers.registry import Registry
from delegate.trust import Trust
from shared.documents.status import WARNING_SECONDS

ROUND_SECONDS = 30.0
"""How often what ends by the clock (certificate, status, kept keys, unused connections) is looked at."""

FINISH_SECONDS = 5.0
"""What the last replies get to reach the manager."""

_log = structlog.get_logger()


class Daemon:
    """Everything that runs, and the order in which it ends."""

    def __init__(
        self,
        *,
        link: Link,
        runner: Runner,
        trust: Trust,
        passport: Passport,
        metrics: DelegateMetrics,
        clock: Clock,
        drain_seconds: float,
        registry: Registry,
        checks: Checks,
        probes: Probes,
        load: Load,
    ) -> None:
        self.link = link
        self.runner = runner
        self.trust = trust
        self.passport = passport
        self._metrics = metrics
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._registry = registry
        self._checks = checks
        self._probes = probes
        self._load = load
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._hurried = asyncio.Event()
        self._told: tuple[str, int] = ("", 0)
        self._condition = Condition(link, trust, passport, clock)
        self._serving: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Something that `_observe` looks at has changed."""
        self._changed.set()

    def end(self) -> None:
        """Drain and return from `run`; asked a second time, without waiting for tasks."""
        if self._ending.is_set():
            self._hurried.set()
        self._ending.set()

    def alive(self) -> bool:
        """For the liveness probe."""
        return self._serving is not None and not self._serving.done()

    def ready(self) -> tuple[bool, Mapping[str, Fact]]:
        """For the readiness probe: whether a task would be taken now, and each part that stands against it."""
        draining = self._ending.is_set()
        faults = self._condition.faults(draining=draining)
        facts: dict[str, Fact] = {"link": self.link.state, "executing": self.runner.executing}
        if faults:
            _, first = faults[0]
            facts |= {"code": first.code, "detail": first.detail, "hint": first.hint}
        facts |= self._load.facts()
        if draining:
            facts["draining"] = True
        facts["failing"] = [
            {"part": part, "code": why.code, "detail": why.detail, "hint": why.hint} for part, why in faults
        ]
        return not faults, facts

    async def run(self, health: HealthServer | None) -> None:
        """Serve until `end`. Raises Unavailable when the health port can't be had."""
        if health is not None:
            await health.start()
        observing = asyncio.create_task(self._observe())
        self._serving = asyncio.create_task(self.link.run())
        ending = asyncio.create_task(self._ending.wait())
        testing = asyncio.create_task(self._test())
        weighing = asyncio.create_task(self._load.run())
        try:
            await asyncio.wait({self._serving, observing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.is_set():
                # Neither ends by itself: this raises what went wrong.
                await asyncio.gather(*(one for one in (self._serving, observing) if one.done()))
            testing.cancel()
            await self._drain(self._serving)
        finally:
            for task in (self._serving, observing, ending, testing, weighing):
                task.cancel()
            await asyncio.gather(self._serving, observing, ending, testing, weighing, return_exceptions=True)
            await self._registry.close()
            # Waits for the collector, a few seconds at most.
            await asyncio.to_thread(self.runner.tracer.close)
            if health is not None:
                await health.close()

    def listen_to_signals(self) -> None:
        """End on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, signal.Signals(number).name)

    def _signalled(self, name: str) -> None:
        _log.info("delegate.ending", signal=name, count=self.runner.executing)
        self.end()

    async def _drain(self, serving: asyncio.Task[None]) -> None:
        self.link.drain()
        draining = asyncio.create_task(self.runner.drain(self._drain_seconds))
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            left = await self.runner.drain(0)
        else:
            left = await draining
        hurried.cancel()
        await asyncio.gather(hurried, return_exceptions=True)
        if left:
            _log.warning("delegate.cut_off", count=left, hint="raise drain_seconds")
        self.link.finish()
        await asyncio.wait({serving}, timeout=FINISH_SECONDS if self.link.is_open else 0)
        _log.info("delegate.ended")

    async def _test(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._checks.run())
            group.create_task(self._probes.run())

    async def _observe(self) -> None:
        """Look at what may have changed, when told so and now and then."""
        while True:
            self._changed.clear()
            self._look()
            self._registry.tidy()
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _look(self) -> None:
        zone, book = self.trust.zone, self.trust.book
        document = book.keyrings.get(zone.name)
        if (document is not None and self.passport.follow(document.document.gen)) or self.passport.is_half_spent:
            self.link.renew(self.passport.renew())
        if document is not None:
            self._metrics.keyring_generation.set(document.document.gen)
        self._tell()

    def _tell(self) -> None:
        """Say once what stands against taking tasks, or soon will."""
        if not self.link.is_open:
            return
        problem, status = self.trust.problem(), self.trust.book.status
        serial = status.document.rev if status is not None else 0
        left = status.document.exp - self._clock.now() if status is not None else 0
        state = problem.code if problem else "status_expiring" if left < WARNING_SECONDS else "ready"
        if (state, serial) == self._told:
            return
        self._told = (state, serial)
        if problem is not None:
            _log.error("delegate.unready", code=problem.code, reason=problem.detail, hint=problem.hint)
        elif state == "status_expiring":
            _log.warning("status.expiring", seconds=left, serial=serial, hint="privyseal status renew")
        else:
            _log.info("delegate.ready", serial=serial, keyring=self.trust.zone.name)
