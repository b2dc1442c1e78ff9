"""A delegate's end of the stream, message by message: says what a test wants and keeps what it hears. No delegate's code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from shared.codec import ManagerReader, delegate_messages
from shared.hello import hello_message
from shared.messages import Challenge, Documents, FromDelegate, FromManager, Hello, Welcome
from shared.wire import delegate_pb2, delegate_pb2_grpc
from tests.fakes.world import World

PATIENCE_SECONDS = 20.0


class WireDelegate:
    """One open stream; `heard` are the manager's messages in order."""

    def __init__(self, world: World, url: str, call: Any) -> None:
        self.world = world
        self.url = url
        self.call = call
        self.heard: list[FromManager] = []
        self._reader = ManagerReader()
        self._number = 0

    async def say(self, message: FromDelegate) -> None:
        """Sends it, in chunks where it is long."""
        self._number += 1
        for wire in delegate_messages(message, self._number):
            await self.call.write(wire)

    async def say_raw(self, wire: delegate_pb2.FromDelegate) -> None:
        """Sends what no delegate would."""
        await self.call.write(wire)

    async def hear(self, kind: type[FromManager], seconds: float | None = PATIENCE_SECONDS) -> Any:
        """The next message of that kind, those before it are kept in `heard`. Raises grpc.aio.AioRpcError at a refusal."""
        async with asyncio.timeout(seconds):
            while True:
                wire = await self.call.read()
                if wire is grpc.aio.EOF:  # type: ignore[attr-defined]
                    raise AssertionError(f"the stream ended with {await self.call.code()}: {await self.call.details()}")
                message = self._reader.read(wire)
                if message is not None:
                    self.heard.append(message)
                    if isinstance(message, kind):
                        return message

    async def greet(self, certificate: str | None = None, kinds: tuple[str, ...] = ("Local",)) -> None:
        """Challenge, hello, welcome, and what the manager begins with: from then on it counts on the world's delegate."""
        challenge = await self.hear(Challenge)
        compact = certificate or self.world.certificate().compact
        proof = self.world.delegate.sign(hello_message(self.url, challenge.nonce, compact))
        await self.say(Hello(compact, proof, self.url, "0", kinds, (1,), 4))
        await self.hear(Welcome)
        # Its windows are small: the manager goes on when these were read.
        await self.hear(Documents)

    async def end(self) -> tuple[str, str]:
        """Code and details with which the manager ends the stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
                    pass
            return (await self.call.code()).name, await self.call.details()


@contextlib.asynccontextmanager
async def wire_delegate(
    world: World, url: str, *, greet: bool = True, kinds: tuple[str, ...] = ("Local",)
) -> AsyncIterator[WireDelegate]:
    """A stream to the manager at `url`; small flow-control windows, so that not reading is soon felt."""
    options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(url.removeprefix("http://"), options=options) as channel:
        stub = delegate_pb2_grpc.DelegatesStub(channel)  # type: ignore[no-untyped-call]
        one = WireDelegate(world, url, stub.Connect())
        if greet:
            await one.greet(kinds=kinds)
        try:
            yield one
        finally:
            one.call.cancel()
