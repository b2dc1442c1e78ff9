"""Many delegates in one process, without the work: each with a connection and stream of its own, over the whole protocol.

    python -m tests.bench.swarm MODE TARGET ORIGIN CA_FILE KEYRING_FILE SOCKET

`delegates` speaks the whole protocol: a certificate signed by the keyring, the hello with its proof, credit, heartbeats. It
takes no task: give tasks a selector that another delegate carries. `bare` opens the same streams to `bare_tls`, which asks
for nothing. Without a CA_FILE ("") it is plain text.

Over the UNIX socket, a line for a line: `N` connects until there are N and answers with how many are connected; `back` has
those that are lost from now on come back by the delegates' own rule (`delegate.link.Pause`, with its default bounds);
`returns` answers with each one's dials since then, as JSON: lists of [moment of dialling, moment of the welcome or null], on
the machine's monotonic clock. `swarming` is the other end of the socket.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import grpc
import grpc.aio
import msgspec

from delegate.link import CHANNEL_OPTIONS, LASTED_SECONDS, Pause
from delegate.stream import HELLO_SECONDS
from shared.codec import ManagerReader, delegate_messages
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.documents.certificate import LIFETIME_SECONDS, CertificateDocument
from shared.hello import hello_message
from shared.messages import Challenge, Credit, Heartbeat, Hello, Welcome
from shared.wire import delegate_pb2_grpc
from tests.bench.child import Child

AT_ONCE = 16
CAPACITY = 10
PAUSE = Pause(0.5, 30.0)
"""`backoff_min_seconds` and `backoff_max_seconds`, as they are by default."""

ANSWER_SECONDS = 180.0

Dial = tuple[float, float | None]


class Ended(Exception):
    """The stream can't go on: the server ended it, or didn't welcome it."""


_LOST = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, Ended)


class Idle:
    """One delegate: its identity and certificate last as long as its process would."""

    def __init__(self, swarm: Swarm, number: int) -> None:
        self._swarm = swarm
        self._number = number
        self._identity = Identity.generate()
        self._certificate = swarm.certify(self._identity, f"idle-{number}")
        self.is_connected = False
        self.dials: list[Dial] = []

    async def live(self, gate: asyncio.Semaphore, settled: asyncio.Event) -> None:
        """Until its stream ends for good."""
        try:
            async with gate:
                stream = await self._dial()
        finally:
            settled.set()
        failures = 0
        while True:
            opened = time.monotonic()
            if stream is not None:
                await self._stay(*stream)
            if not self._swarm.is_coming_back:
                return
            lasted = time.monotonic() - opened
            failures = 0 if lasted >= LASTED_SECONDS else failures + 1
            await asyncio.sleep(PAUSE.after(failures, SystemRandom().uniform))
            stream = await self._dial()

    async def _dial(self) -> tuple[grpc.aio.Channel, Any, float] | None:
        """Channel, call and seconds between heartbeats of a stream on which it was welcomed."""
        dialled = time.monotonic()
        self.dials.append((dialled, None))
        channel = self._swarm.channel()
        try:
            call: Any = delegate_pb2_grpc.DelegatesStub(channel).Connect()  # type: ignore[no-untyped-call]
            async with asyncio.timeout(HELLO_SECONDS):
                heartbeat_seconds = await self._greet(call)
        except (*_LOST, TimeoutError) as why:
            await self._lost(channel, why)
            return None
        self.dials[-1] = dialled, time.monotonic()
        self.is_connected = True
        return channel, call, heartbeat_seconds

    async def _stay(self, channel: grpc.aio.Channel, call: Any, heartbeat_seconds: float) -> None:
        """On the stream, until it ends."""
        beating = asyncio.create_task(self._beat(call, heartbeat_seconds)) if heartbeat_seconds else None
        try:
            while True:
                await self._next(call)
        except _LOST as why:
            await self._lost(channel, why)
        finally:
            self.is_connected = False
            if beating is not None:
                beating.cancel()

    async def _lost(self, channel: grpc.aio.Channel, why: Exception) -> None:
        if self.is_connected or not self._swarm.is_coming_back:
            print(self._number, type(why).__name__, str(why).partition("\n")[0], flush=True)
        await channel.close(None)

    async def _greet(self, call: Any) -> float:
        """Seconds between heartbeats, none on a bare stream."""
        swarm, reader = self._swarm, ManagerReader()
        challenge = reader.read(await self._next(call))
        assert isinstance(challenge, Challenge)
        proof = self._identity.sign(hello_message(swarm.origin, challenge.nonce, self._certificate))
        generations = (swarm.keyring.newest.number,)
        hello = Hello(self._certificate, proof, swarm.origin, "bench", ("Local",), generations, CAPACITY)
        for wire in delegate_messages(hello, 1):
            await call.write(wire)
        if swarm.is_bare:
            return 0.0
        welcome = reader.read(await self._next(call))
        assert isinstance(welcome, Welcome)
        await self._next(call)
        for wire in delegate_messages(Credit(CAPACITY), 2):
            await call.write(wire)
        return welcome.heartbeat_ms / 1000

    @staticmethod
    async def _next(call: Any) -> Any:
        wire = await call.read()
        if wire is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
            raise Ended(f"{await call.code()} {await call.details()}")
        return wire

    async def _beat(self, call: Any, seconds: float) -> None:
        # Spread, as delegates that started at different times are.
        await asyncio.sleep(seconds * (self._number % 100) / 100)
        with suppress(*_LOST):
            while True:
                for wire in delegate_messages(Heartbeat(), 1):
                    await call.write(wire)
                await asyncio.sleep(seconds)


class Swarm:
    """The delegates."""

    def __init__(self, mode: str, target: str, origin: str, ca: bytes | None, keyring: Keyring) -> None:
        self.is_bare = mode == "bare"
        self.origin = origin
        self.keyring = keyring
        self.is_coming_back = False
        self._target = target
        self._credentials = None if ca is None else grpc.ssl_channel_credentials(ca)
        self._members: list[Idle] = []
        self._lives: list[asyncio.Task[None]] = []
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def grow(self, count: int) -> int:
        """Connects until there are `count`; how many are connected."""
        new = [asyncio.Event() for _ in range(count - len(self._members))]
        for settled in new:
            member = Idle(self, len(self._members))
            self._members.append(member)
            self._lives.append(asyncio.create_task(member.live(self._gate, settled)))
        for settled in new:
            await settled.wait()
        return sum(one.is_connected for one in self._members)

    def come_back(self) -> None:
        """Whoever is lost from now on comes back; what was dialled before is forgotten."""
        self.is_coming_back = True
        for one in self._members:
            one.dials.clear()

    def returns(self) -> list[list[Dial]]:
        """Each one's dials."""
        return [one.dials for one in self._members]

    def certify(self, identity: Identity, name: str) -> str:
        """A certificate for a delegate of that name."""
        now, newest = int(time.time()), self.keyring.newest
        return newest.certifying.sign_document(
            CertificateDocument(
                v=1,
                acct=self.keyring.account,
                keyring=self.keyring.name,
                gen=newest.number,
                key=identity.key,
                name=name,
                tags=(name,),
                iat=now,
                exp=now + LIFETIME_SECONDS,
            )
        )

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        options = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0))
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, options)
        return grpc.aio.secure_channel(self._target, self._credentials, options)


async def serve(swarm: Swarm, path: str) -> None:
    """Takes orders until the process is ended."""

    async def ordered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            match line:
                case "back":
                    swarm.come_back()
                    answer = b"ok"
                case "returns":
                    answer = msgspec.json.encode(swarm.returns())
                case _:
                    answer = str(await swarm.grow(int(line))).encode()
            writer.write(answer + b"\n")
            await writer.drain()

    server = await asyncio.start_unix_server(ordered, path)
    await server.serve_forever()


class Swarming:
    """A swarm in a process of its own, by its socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def grow(self, count: int) -> int:
        """Connects until there are `count`; how many are connected."""
        return int(await self._ask(str(count)))

    async def come_back(self) -> None:
        """Whoever is lost from now on comes back."""
        await self._ask("back")

    async def returns(self) -> list[list[Dial]]:
        """Each one's dials since `come_back`: (moment of dialling, moment of the welcome or None), on the monotonic clock."""
        return msgspec.json.decode(await self._ask("returns"), type=list[list[Dial]])

    async def _ask(self, order: str) -> bytes:
        self._writer.write(f"{order}\n".encode())
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await self._reader.readuntil(b"\n")).rstrip()


@asynccontextmanager
async def swarming(
    folder: Path, target: str, origin: str, keyring_file: Path, ca_file: str = "", mode: str = "delegates"
) -> AsyncIterator[Swarming]:
    """A swarm without members yet, whose socket and log are in `folder`; ended with the block."""
    path = folder / f"swarm-{time.monotonic_ns()}.sock"
    arguments: Sequence[str] = (mode, target, origin, ca_file, str(keyring_file), str(path))
    child = Child(["tests.bench.swarm", *arguments], folder / f"{mode}.log")
    try:
        await child.until(path.exists, "listening")
        reader, writer = await asyncio.open_unix_connection(path, limit=16 * 1024 * 1024)
        yield Swarming(reader, writer)
        writer.close()
    finally:
        await child.stop()


async def run(arguments: list[str]) -> None:
    """Builds the swarm inside of the loop that it lives on."""
    mode, target, origin, ca_file, keyring_file, path = arguments
    keyring = Keyring.parse(Path(keyring_file).read_bytes())
    ca = Path(ca_file).read_bytes() if ca_file else None
    await serve(Swarm(mode, target, origin, ca, keyring), path)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with suppress(KeyboardInterrupt):
        asyncio.run(run(sys.argv[1:]))
