"""Many idle delegates in one process, for the manager's memory: each with a TLS connection and stream of its own.

    python -m tests.bench.swarm MODE TARGET ORIGIN CA_FILE KEYRING_FILE SOCKET

`delegates` speaks the whole protocol: a certificate signed by the keyring, the hello with its proof, credit, heartbeats.
`bare` opens the same streams to `bare_tls`, which asks for nothing. Over the UNIX socket: `N\\n` connects until there are N
and answers with how many are connected.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from shared.codec import ManagerReader, delegate_messages
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.documents.certificate import LIFETIME_SECONDS, CertificateDocument
from shared.hello import hello_message
from shared.messages import Challenge, Credit, Heartbeat, Hello, Welcome
from shared.wire import delegate_pb2_grpc

AT_ONCE = 16
CAPACITY = 10


class Ended(Exception):
    """The server ended a stream that should have stayed."""


class Swarm:
    """The connected delegates."""

    def __init__(self, mode: str, target: str, origin: str, ca: bytes, keyring: Keyring) -> None:
        self._bare = mode == "bare"
        self._target = target
        self._origin = origin
        self._credentials = grpc.ssl_channel_credentials(ca)
        self._keyring = keyring
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = 0
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def grow(self, count: int) -> int:
        """Connects until there are `count`; how many there are."""
        new = [asyncio.Event() for _ in range(count - len(self._tasks))]
        for event in new:
            self._tasks.append(asyncio.create_task(self._live(len(self._tasks), event)))
        for event in new:
            await event.wait()
        return self._connected

    async def _live(self, number: int, settled: asyncio.Event) -> None:
        try:
            await self._gate.acquire()
            try:
                options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
                channel = grpc.aio.secure_channel(self._target, self._credentials, options)
                call: Any = delegate_pb2_grpc.DelegatesStub(channel).Connect()  # type: ignore[no-untyped-call]
                heartbeat_seconds = await self._greet(call, number)
                self._connected += 1
            finally:
                self._gate.release()
                settled.set()
            if heartbeat_seconds:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._beat(call, heartbeat_seconds, number))
                    group.create_task(self._listen(call))
            else:
                await self._listen(call)
        except* (grpc.aio.AioRpcError, Ended) as why:
            print(number, *why.exceptions, flush=True)
            self._connected -= 1

    async def _greet(self, call: Any, number: int) -> float:
        """Seconds between heartbeats, none on a bare stream."""
        reader = ManagerReader()
        challenge = reader.read(await call.read())
        assert isinstance(challenge, Challenge)
        identity, now = Identity.generate(), int(time.time())
        certificate = self._keyring.newest.certifying.sign_document(
            CertificateDocument(
                v=1,
                acct=self._keyring.account,
                keyring=self._keyring.name,
                gen=self._keyring.newest.number,
                key=identity.key,
                name=f"idle-{number}",
                tags=(f"idle-{number}",),
                iat=now,
                exp=now + LIFETIME_SECONDS,
            )
        )
        proof = identity.sign(hello_message(self._origin, challenge.nonce, certificate))
        hello = Hello(certificate, proof, self._origin, "bench", ("Local",), (self._keyring.newest.number,), CAPACITY)
        for wire in delegate_messages(hello, 1):
            await call.write(wire)
        if self._bare:
            return 0.0
        welcome = reader.read(await call.read())
        assert isinstance(welcome, Welcome)
        await call.read()
        for wire in delegate_messages(Credit(CAPACITY), 2):
            await call.write(wire)
        return welcome.heartbeat_ms / 1000

    @staticmethod
    async def _beat(call: Any, seconds: float, number: int) -> None:
        # Spread, as delegates that started at different times are.
        await asyncio.sleep(seconds * (number % 100) / 100)
        while True:
            for wire in delegate_messages(Heartbeat(), 1):
                await call.write(wire)
            await asyncio.sleep(seconds)

    @staticmethod
    async def _listen(call: Any) -> None:
        while await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
            pass
        raise Ended(f"{await call.code()} {await call.details()}")


async def serve(swarm: Swarm, path: str) -> None:
    """Takes orders until the process is ended."""

    async def ordered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(f"{await swarm.grow(int(line))}\n".encode())
            await writer.drain()

    server = await asyncio.start_unix_server(ordered, path)
    await server.serve_forever()


async def run(arguments: list[str]) -> None:
    """Builds the swarm inside of the loop that it lives on."""
    mode, target, origin, ca_file, keyring_file, path = arguments
    keyring = Keyring.parse(Path(keyring_file).read_bytes())
    await serve(Swarm(mode, target, origin, Path(ca_file).read_bytes(), keyring), path)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1:]))
