"""The link: one gRPC stream to the manager at a time, for as long as the delegate runs.

Promises: a stream that ends, is silent, or breaks the protocol is closed and followed by a fresh one after a random
pause; plain text never leaves the machine; what isn't understood is ignored. Messages are believed in nothing here: documents go to
`Trust`, tasks to the `Runner`. Must not keep a channel that broke: re-opening a stream on one leaks (grpc issue 38499).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import Protocol

import grpc
import grpc.aio
import structlog

from delegate.address import Address
from delegate.clock import Clock
from delegate.load import Load
from delegate.metrics import DelegateMetrics
from delegate.runner import Runner
from delegate.stream import HELLO_SECONDS, Lost, Stream
from delegate.trust import Trust
from shared.errors import PrivySealError, Unavailable
from shared.messages import (
    Cancel,
    Challenge,
    Checked,
    Documents,
    Drain,
    FromManager,
    Heartbeat,
    Hello,
    NewCertificate,
    Probe,
    Task,
    Welcome,
)

SKEW_WARNING_SECONDS = 30
LASTED_SECONDS = 10.0
"""A stream that was open for so long is followed by the shortest pause again."""

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 1024 * 1024),
    # Else a fresh channel would share the old one's connection, with gRPC's own pauses of up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
)

_log = structlog.get_logger()


class Greeter(Protocol):
    """Says who this delegate is."""

    def hello(self, origin: str, nonce: bytes) -> Hello: ...

    def refused(self, code: str) -> None:
        """The manager refused the hello, saying `code`."""


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next stream: anything up to a bound that doubles (full jitter)."""

    least_seconds: float
    most_seconds: float

    def after(self, failures: int, chance: Callable[[float, float], float]) -> float:
        """Seconds, after so many failures in a row."""
        return chance(0.0, min(self.most_seconds, self.least_seconds * 2 ** min(failures, 30)))


class Link:
    """Keeps a stream open; `state` says for people how that goes."""

    def __init__(
        self,
        *,
        address: Address,
        proxy: str | None,
        ca: bytes | None,
        pause: Pause,
        greeter: Greeter,
        trust: Trust,
        runner: Runner,
        load: Load,
        clock: Clock,
        metrics: DelegateMetrics,
    ) -> None:
        self._address = address
        self._proxy = proxy
        self._ca = ca
        self._pause = pause
        self._greeter = greeter
        self._trust = trust
        self._runner = runner
        self._load = load
        self._clock = clock
        self._metrics = metrics
        self.changed: Callable[[], None] = lambda: None
        """Called when documents have come, and when the stream has closed."""
        self.asked: Callable[[Sequence[str]], None] = lambda _: None
        """Called with the connectors, by digest, that the manager would like to have tested."""
        self._stream: Stream | None = None
        self._draining = self._finishing = False
        self._opened = 0
        self.state = "connecting"

    @property
    def is_open(self) -> bool:
        """Whether the manager has welcomed this delegate and the stream lives."""
        return self._stream is not None

    async def run(self) -> None:
        """Until `finish` or cancelled."""
        failures = 0
        while not self._finishing:
            began = self._clock.monotonic()
            try:
                await self._connect()
            except PrivySealError as why:
                self.state = why.code
                _log.warning(
                    "link.failed", code=why.code, reason=why.detail[:300], hint=why.hint, address=self._address.origin
                )
                self._greeter.refused(why.code)
            except Lost as lost:
                self.state = "lost"
                _log.warning("link.lost", reason=lost.reason, address=self._address.origin)
            except Exception as error:  # noqa: BLE001 (a bug that one manager's bytes reach must not end the process)
                self.state = "crashed"
                _log.error("link.crashed", exc_info=error)
            finally:
                self._closed()
            if self._finishing:
                return
            lasted = self._clock.monotonic() - began
            failures = 0 if lasted >= LASTED_SECONDS else failures + 1
            pause = self._pause.after(failures, SystemRandom().uniform)
            _log.debug("link.paused", seconds=round(pause, 3), count=failures)
            await asyncio.sleep(pause)

    def renew(self, certificate: str) -> None:
        """Tell the manager of a newer certificate; the next stream begins with it anyway."""
        if self._stream is not None:
            self._stream.say(NewCertificate(certificate))

    def mention(self, message: Checked) -> None:
        """Tell the manager of a connection test, if there is a stream."""
        if self._stream is not None:
            self._stream.mention(message)

    def weigh(self) -> None:
        """Tell the manager at once that this delegate is over a limit, or no longer."""
        if self._stream is not None:
            self._stream.mention(self._heartbeat())
            self._replenish(self._stream)

    def drain(self) -> None:
        """Tell the manager that no new tasks are taken."""
        self._draining = True
        if self._stream is not None:
            self._stream.say(Drain())

    def finish(self) -> None:
        """Say nothing more; `run` returns when all that was said has reached the manager."""
        self._finishing = True
        if self._stream is not None:
            self._stream.finish()

    def _channel(self) -> grpc.aio.Channel:
        options: list[tuple[str, int | str]] = [*CHANNEL_OPTIONS]
        # Only our own choice counts: gRPC would also take proxies from variables, for loopback too.
        options.append(("grpc.enable_http_proxy", int(self._proxy is not None)))
        if self._proxy is not None:
            options.append(("grpc.http_proxy", self._proxy))
        if not self._address.tls:
            return grpc.aio.insecure_channel(self._address.target, options)
        return grpc.aio.secure_channel(self._address.target, grpc.ssl_channel_credentials(self._ca), options)

    async def _connect(self) -> None:
        """One stream from its beginning to its end, on a channel of its own."""
        channel = self._channel()
        stream = Stream(channel, self._clock)
        try:
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    welcome = await self._greet(stream)
            except TimeoutError:
                raise Unavailable(
                    "manager_silent",
                    "the manager didn't answer in time",
                    "check the manager's URL, the firewall and the proxy",
                ) from None
            self._open(stream, welcome)
            async with stream.beating(welcome, self._heartbeat):
                while True:
                    await self._handle(stream, await stream.read())
        finally:
            self._closed()
            stream.close()
            await channel.close(None)

    async def _greet(self, stream: Stream) -> Welcome:
        challenge = await stream.read()
        # The session lets nothing else through in these phases.
        assert isinstance(challenge, Challenge)
        stream.say(self._greeter.hello(self._address.origin, challenge.nonce))
        welcome = await stream.read()
        assert isinstance(welcome, Welcome)
        return welcome

    def _open(self, stream: Stream, welcome: Welcome) -> None:
        self._stream, self.state = stream, "open"
        stream.replenish = self._replenish_open
        skew = welcome.now - self._clock.now()
        if abs(skew) > SKEW_WARNING_SECONDS:
            _log.warning("clock.skewed", seconds=skew, hint="compare the clocks of both machines: tasks may be refused")
        self._metrics.connected.set(1)
        if self._opened:
            self._metrics.reconnected.inc()
        self._opened += 1
        _log.info("link.opened", address=self._address.origin, count=self._opened)
        if self._draining:
            stream.say(Drain())
        # Before the credit, which would be taken for a free place.
        stream.mention(self._heartbeat())
        self._replenish(stream)

    def _heartbeat(self) -> Heartbeat:
        return replace(self._load.heartbeat(self._runner.executing), now=self._clock.now())

    def _closed(self) -> None:
        if self._stream is not None:
            self._stream = None
            self._metrics.connected.set(0)
            self.changed()

    def _replenish_open(self) -> None:
        """A task may end after the stream that it came by."""
        if self._stream is not None:
            self._replenish(self._stream)

    def _replenish(self, stream: Stream) -> None:
        """As much credit as there are places."""
        stream.credit(self._free_places)

    def _free_places(self) -> int:
        """What runs from an earlier stream still takes its own place."""
        return 0 if self._draining or self._load.is_over else self._runner.capacity - self._runner.executing

    async def _handle(self, stream: Stream, message: FromManager) -> None:
        match message:
            case Task():
                self._runner.accept(message, stream)
                self._replenish(stream)
            case Cancel():
                self._runner.cancel(message.id)
            case Probe():
                self.asked(message.connectors)
            case Documents():
                await self._trust.take(message.compact)
                self.changed()
            case Drain():
                _log.info("link.draining", address=self._address.origin)
            case Heartbeat() | Challenge() | Welcome():
                pass
