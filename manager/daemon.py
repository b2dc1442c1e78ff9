"""The manager's life: both ports open, heartbeats, and an end at which nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
import uvicorn

from manager.api.app import application
from manager.authentication import Authentication
from manager.books import Books
from manager.checks import Checks
from manager.clock import Clock
from manager.condition import Condition, expiry_of
from manager.connection import Connection
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.observation import observe
from manager.orders import Orders
from manager.probes import FAILURE_SECONDS, SUCCESS_SECONDS, Probes
from manager.services import Services
from manager.store import Store
from manager.stream import Streams
from manager.tasks import Tasks
from manager.traces import tracer
from manager.waiting import MOST_WAITING
from shared.errors import Malformed, PrivySealError, Unavailable
from shared.messages import Drain
from shared.wire import delegate_pb2_grpc

PRUNE_SECONDS = 3_600
PRUNE_AT_ONCE = 1_000
TELL_SECONDS = 1.0
ANSWER_SECONDS = 20.0
"""How long clients may take to read what is answered once no task runs any more."""

"""How long the end waits until delegates were told of it."""

TASK_HISTORY_SECONDS = 30 * 86_400

_log = structlog.get_logger()

# The default refuses pings closer than five minutes, which would cut every delegate that keeps its NAT entry alive.
_GRPC_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 5),
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The manager's settings, checked. Addresses are (host, port); a port of 0 takes a free one."""

    url: str
    delegate_urls: tuple[str, ...]
    http: tuple[str, int]
    grpc: tuple[str, int]
    database: str
    tls: tuple[Path, Path] | None
    heartbeat_seconds: float
    silence_seconds: float
    drain_seconds: float
    cache_bytes: int
    connections: int
    version: str
    waiting: int = MOST_WAITING
    probe_seconds: tuple[float, float] = (SUCCESS_SECONDS, FAILURE_SECONDS)
    otlp_endpoint: str = ""


class _Http(uvicorn.Server):
    """uvicorn without its own signal handlers: the daemon has one order of stopping."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(configuration: Configuration, stopping: asyncio.Event | None = None) -> None:
    """Runs until `stopping` is set, or SIGTERM or SIGINT arrives; a second one hurries. Raises what keeps it from starting."""
    stop, hurry = stopping or asyncio.Event(), asyncio.Event()
    if stopping is None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
    clock, metrics, fleet = Clock(), ManagerMetrics(configuration.version), Fleet()
    tracing = tracer(configuration.otlp_endpoint, configuration.version)
    async with Store(configuration.database, cache_bytes=configuration.cache_bytes) as store:
        books = Books(store, clock)
        probes = Probes(fleet, clock, metrics, *configuration.probe_seconds)
        dispatcher = Dispatcher(fleet, clock, metrics, most_waiting=configuration.waiting, probes=probes)
        streams = Streams(
            books,
            fleet,
            dispatcher,
            Checks(store, clock),
            clock,
            metrics,
            configuration.delegate_urls,
            int(configuration.heartbeat_seconds * 1000),
            int(configuration.silence_seconds * 1000),
        )
        tasks = Tasks(store, books, dispatcher, clock, metrics)
        await tasks.recover()
        orders = Orders(store, books, fleet, dispatcher, streams, clock, metrics)
        await orders.recover()
        condition = Condition(store, clock, expiry_of(configuration.tls[0]) if configuration.tls else None)
        observe(
            metrics,
            store=store,
            books=books,
            fleet=fleet,
            dispatcher=dispatcher,
            queue=tasks.deferred.queue,
            clock=clock,
            tracer=tracing,
            tls_expires=condition.tls_expires,
        )
        services = Services(
            store=store,
            books=books,
            fleet=fleet,
            dispatcher=dispatcher,
            streams=streams,
            tasks=tasks,
            orders=orders,
            authentication=Authentication(configuration.url, clock),
            clock=clock,
            metrics=metrics,
            condition=condition,
            tracer=tracing,
        )
        try:
            await _serve(configuration, services, stop, hurry)
        finally:
            # Waits for the collector, a few seconds at most.
            await asyncio.to_thread(tracing.close)


async def _serve(configuration: Configuration, services: Services, stop: asyncio.Event, hurry: asyncio.Event) -> None:
    # First what can be wrong without a port being open.
    http = _http(configuration, services)
    listening = _socket(configuration.http)
    try:
        delegates = await _listen_delegates(configuration, services.streams)
    except BaseException:
        listening.close()
        raise
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(http.serve(sockets=[listening]))
        # A manager that clients can't reach any more had better end, so that it is started again.
        serving.add_done_callback(lambda _: stop.set())
        beating = group.create_task(_beat(services, services.streams.look_seconds))
        pruning = group.create_task(_prune(services))
        waiting = group.create_task(services.tasks.deferred.watch())
        ordering = group.create_task(services.orders.run())
        _log.info("manager.started", address=configuration.url, origin=", ".join(configuration.delegate_urls))
        await stop.wait()
        _log.info("manager.stopping")
        services.condition.draining = services.orders.is_draining = True
        # No new tasks, then the running ones end and are written, then delegates are let go.
        telling = [asyncio.create_task(delegate.tell(Drain())) for delegate in services.fleet]
        if telling:
            await asyncio.wait(telling, timeout=TELL_SECONDS)
        http.should_exit = True
        draining = group.create_task(_drain(services))
        hurried = group.create_task(hurry.wait())
        await asyncio.wait(
            {draining, hurried}, timeout=configuration.drain_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        draining.cancel()
        # A client that doesn't read must not hold the manager up as long as a task may.
        await asyncio.wait({serving, hurried}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        http.force_exit = True
        hurried.cancel()
        await serving
        beating.cancel()
        pruning.cancel()
        waiting.cancel()
        ordering.cancel()
        await delegates.stop(1.0)
    _log.info("manager.stopped")


async def _listen_delegates(configuration: Configuration, streams: Streams) -> Any:
    server = grpc.aio.server(options=_GRPC_OPTIONS)
    delegate_pb2_grpc.add_DelegatesServicer_to_server(streams, server)  # type: ignore[no-untyped-call]
    host, port = configuration.grpc
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if configuration.tls is None:
            server.add_insecure_port(target)
        else:
            certificate, key = configuration.tls
            server.add_secure_port(target, grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    except RuntimeError:
        raise _taken("delegate_listen") from None
    await server.start()
    return server


def _socket(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError:
        listening.close()
        raise _taken("listen") from None
    listening.set_inheritable(False)
    return listening


def _taken(setting: str) -> Unavailable:
    return Unavailable(
        "address_taken",
        f"the address of the setting {setting} can't be listened on",
        "is another manager running? choose another port, or stop it",
    )


def _http(configuration: Configuration, services: Services) -> _Http:
    options: dict[str, Any] = {}
    if configuration.tls is not None:
        options = {"ssl_certfile": str(configuration.tls[0]), "ssl_keyfile": str(configuration.tls[1])}
    try:
        settings = uvicorn.Config(
            application(services, configuration.version),
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            ws="none",
            http=Connection,
            proxy_headers=False,
            limit_concurrency=configuration.connections,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, int(configuration.drain_seconds)),
            **options,
        )
        settings.load()
    except OSError:
        raise Malformed("tls_unreadable", "tls_certificate or tls_key can't be read or don't fit together") from None
    return _Http(settings)


async def _beat(services: Services, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await services.streams.beat()
        except Exception as bug:  # noqa: BLE001 (one bad beat mustn't end the manager)
            _log.error("heartbeat.crashed", error_type=type(bug).__name__, exc_info=bug)


async def _drain(services: Services) -> None:
    await asyncio.gather(services.orders.drain(), services.tasks.drain())


async def _prune(services: Services) -> None:
    while True:
        try:
            # A thousand at once, so that others' writes go between.
            while await services.store.prune_tasks(services.clock.now() - TASK_HISTORY_SECONDS) == PRUNE_AT_ONCE:
                pass
            while await services.orders.ledger.prune(services.clock.now() - TASK_HISTORY_SECONDS):
                pass
            while await services.store.prune_checks(services.clock.now()) == PRUNE_AT_ONCE:
                pass
            await services.tasks.deferred.queue.prune()
        except PrivySealError as why:
            # A full disk, say: the next round tries again.
            _log.warning("history.unpruned", code=why.code)
        await asyncio.sleep(PRUNE_SECONDS)
