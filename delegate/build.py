"""The object graph of a delegate, made in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from delegate.checks import Checks
from delegate.clock import Clock
from delegate.configuration import Configuration
from delegate.daemon import Daemon
from delegate.data_keys import DataKeys
from delegate.health import HealthServer
from delegate.link import Link, Pause
from delegate.load import Load, Meter, meter
from delegate.metered import Calls
from delegate.metrics import DelegateMetrics
from delegate.observation import observe
from delegate.passport import Passport
from delegate.probes import Probes
from delegate.runner import Runner
from delegate.secret_managers.interface import Randomness, Surroundings
from delegate.secret_managers.loading import Loadable
from delegate.secret_managers.registry import Registry, installed_kinds
from delegate.tasks import Tasks
from delegate.tokens import Tokens
from delegate.traces import tracer
from delegate.trust import Trust
from delegate.zone import Zone
from shared.crypto.identity import Identity
from shared.documents.task import EXEC
from shared.trust.book import Book

if TYPE_CHECKING:
    from delegate.executor import Executor


def build(
    configuration: Configuration,
    version: str,
    randomness: Randomness,
    clock: Clock | None = None,
    kinds: Mapping[str, Loadable] | None = None,
    measured: Meter | None = None,
) -> tuple[Daemon, HealthServer | None]:
    """A delegate that hasn't started; `kinds` are the installed ones unless given, `measured` is this process's container."""
    clock = clock or Clock()
    keyring, policy = configuration.keyring, configuration.policy
    metrics = DelegateMetrics(version)
    identity = Identity.from_seed(randomness(32))
    book = Book(keyring.account)
    zone = Zone(keyring, book)
    trust = Trust(book, zone, clock, configuration.group)
    surroundings = Surroundings(
        zone=zone,
        policy=policy,
        randomness=randomness,
        clock=clock,
        delegate=configuration.name,
        endpoints=configuration.endpoints,
        gcp_endpoints=configuration.gcp_endpoints,
        azure_endpoints=configuration.azure_endpoints,
        tokens=Tokens(zone, clock, randomness),
        data_keys=DataKeys(clock, *configuration.data_keys),
        call_seconds=configuration.call_seconds,
        ssh_known_hosts=configuration.ssh_known_hosts,
        variables=configuration.variables,
        mask_patterns=configuration.mask_patterns,
    )
    registry = Registry(installed_kinds() if kinds is None else kinds, surroundings, calls=Calls(metrics, clock))
    passport = Passport(
        identity=identity,
        keyring=keyring,
        name=configuration.name,
        tags=configuration.tags,
        group=configuration.group,
        version=version,
        kinds=(*registry.kinds, EXEC) if policy.exec else registry.kinds,
        capacity=configuration.capacity,
        scopes=policy.scopes,
        clock=clock,
    )
    executor = _executor(configuration, identity, zone, randomness, clock) if policy.exec else None
    tasks = Tasks(identity, passport.tags, trust, registry, policy, clock, executor)
    runner = Runner(tasks, configuration.capacity, configuration.task_seconds, clock, metrics, configuration.name)
    load = Load(
        configuration.cpu_limit_percent, configuration.memory_limit_percent, measured or meter(), clock, metrics
    )
    tasks.overload = load.refusal
    link = Link(
        address=configuration.address,
        proxy=configuration.proxy,
        ca=configuration.authorities,
        pause=Pause(*configuration.backoff_seconds),
        greeter=passport,
        trust=trust,
        runner=runner,
        load=load,
        clock=clock,
        metrics=metrics,
    )
    checks = Checks(
        identity=identity,
        tags=passport.tags,
        trust=trust,
        registry=registry,
        policy=policy,
        ledger=tasks.ledger,
        clock=clock,
        outlet=link,
        seconds=configuration.check_seconds,
    )
    tasks.observed = checks.observe
    probes = Probes(checks, trust, clock)
    link.asked = probes.ask
    daemon = Daemon(
        link=link,
        runner=runner,
        trust=trust,
        passport=passport,
        metrics=metrics,
        clock=clock,
        drain_seconds=configuration.drain_seconds,
        registry=registry,
        checks=checks,
        probes=probes,
        load=load,
    )
    link.changed = daemon.wake
    runner.tracer = tracer(configuration.otlp_endpoint, version)
    observe(metrics, trust=trust, passport=passport, registry=registry, clock=clock, tracer=runner.tracer)
    load.changed = link.weigh
    if configuration.health is None:
        return daemon, None
    host, port = configuration.health
    health = HealthServer(alive=daemon.alive, ready=daemon.ready, metrics=metrics.exposition, host=host, port=port)
    return daemon, health


def _executor(
    configuration: Configuration, identity: Identity, zone: Zone, randomness: Randomness, clock: Clock
) -> Executor:
    # Late: who runs no commands doesn't load what they need.
    from delegate.commands import Commands
    from delegate.executor import Executor

    commands = Commands(configuration.variables)
    return Executor(
        identity, zone, commands, randomness, clock, configuration.exec_seconds, configuration.mask_patterns
    )
