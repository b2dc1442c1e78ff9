"""A manager that sends tasks and doesn't read what comes of them fills nobody's memory."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from delegate.daemon import Daemon
from shared.canonical import digest
from shared.codec import manager_messages
from shared.messages import Challenge, Documents, FromManager, Task, Welcome
from shared.wire import delegate_pb2_grpc
from tests.fakes.delegates import running
from tests.fakes.manager import until
from tests.fakes.world import World

CAPACITY = 2
SENT = 20


class DeafManager(delegate_pb2_grpc.DelegatesServicer):
    """Greets a delegate, and from its first credit on gives it one task after the other without reading on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.version = world.store(world.secret("password"), bytes(3_000_000))
        self.delegate: Daemon | None = None
        self.given = self.connections = 0
        self.over = asyncio.Event()

    def completed(self) -> int:
        """How many the delegate has opened a value for."""
        assert self.delegate is not None
        lines = self.delegate._metrics.exposition().decode().splitlines()
        return sum(
            int(float(one.split()[-1])) for one in lines if one.startswith("privyseal_delegate_tasks_completed_")
        )

    async def Connect(self, _requests: Any, context: Any) -> None:  # noqa: N802 (the service's name)
        world = self.world
        self.connections += 1
        if self.connections > 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "one stream is enough")
        await self._say(context, Challenge(b"n" * 32))
        await context.read()
        await self._say(context, Welcome(60_000, 300_000, world.now))
        await self._say(context, Documents(tuple(world.documents)))
        await context.read()
        try:
            while self.given < SENT and self.connections == 1:
                task = world.reveal([self.version])
                await self._say(context, Task(digest(task.compact), 1, task.compact, (), (self.version.record.raw,)))
                self.given += 1
                await until(lambda: self.completed() >= self.given or self.connections > 1, 20)
        finally:
            # The delegate has cut the stream, or was given everything.
            self.over.set()

    async def _say(self, context: Any, message: FromManager) -> None:
        for wire in manager_messages(message, self.given + 10):
            await context.write(wire)


async def test_replies_that_nobody_reads_keep_their_places() -> None:
    world = World()
    manager = DeafManager(world)
    server = grpc.aio.server()
    delegate_pb2_grpc.add_DelegatesServicer_to_server(manager, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with running(world, f"http://127.0.0.1:{port}", capacity=CAPACITY) as daemon:
            manager.delegate = daemon
            async with asyncio.timeout(60):
                await manager.over.wait()
            # What waits in the queue, and the few that gRPC takes before it notices that nobody reads.
            assert manager.completed() <= 2 * CAPACITY + 2
    finally:
        await server.stop(0)
