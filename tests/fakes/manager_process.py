"""A real manager as a process of its own, with a world's account made in it: it may be killed and started again.

async with manager_process(folder, world) as running:      # a `Manager` as of `tests.fakes.running`, with its `program`
    status, outcome = await running.submit(world.check(world.connector))
    await running.program.kill()
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from client.ports import HeldPorts
from client.program import Program, command
from manager.api.accounts import token_hash
from manager.daemon import Configuration
from manager.store import add_token
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.wire import submission_pb2 as pb
from tests.fakes.running import TOKEN, Manager, found
from tests.fakes.world import World


@dataclass(slots=True)
class ManagerProcess(Manager):
    """`program` is the process."""

    program: Program

    @property
    def delegate_url(self) -> str:
        """What delegates dial."""
        return self.configuration.delegate_urls[0]

    async def submit(self, task: Verified[TaskDocument], wait: int = 20) -> tuple[int, Any]:
        """Status, and the Outcome or the problem. Raises aiohttp's errors where the connection breaks."""
        body = pb.Submission(document=task.compact).SerializeToString()
        headers = {**self.bearer(), "Content-Type": "application/x-protobuf"}
        url = f"{self.url}/v1/accounts/{self.world.id}/tasks?wait={wait}"
        async with self.http.post(url, data=body, headers=headers) as reply:
            data = await reply.read()
            return reply.status, pb.Outcome.FromString(data) if reply.status < 300 else msgspec.json.decode(data)

    async def rows(self) -> list[dict[str, Any]]:
        """All tasks of the account, as the manager lists them."""
        listed: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            _, page = await self.call("GET", f"tasks?all=1&limit=200{f'&after={after}' if after else ''}")
            listed, after = [*listed, *page["tasks"]], page.get("next")
        return listed

    async def figure(self, name: str) -> float:
        """One of its metrics, without labels."""
        async with self.http.get(f"{self.url}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return float(next(line for line in lines if line.startswith(f"privyseal_manager_{name} ")).split()[-1])


@asynccontextmanager
async def manager_process(folder: Path, world: World, options: Sequence[str] = ()) -> AsyncIterator[ManagerProcess]:
    """Ready, with the account; ended with SIGTERM at last."""
    ports = HeldPorts()
    http, delegates = ports.take(2)
    database = f"sqlite:///{folder}/manager.db"
    configuration = Configuration(
        url=f"http://127.0.0.1:{http}",
        delegate_urls=(f"http://127.0.0.1:{delegates}",),
        http=("127.0.0.1", http),
        grpc=("127.0.0.1", delegates),
        database=database,
        tls=None,
        heartbeat_seconds=2.0,
        silence_seconds=5.0,
        drain_seconds=0.0,
        cache_bytes=2**26,
        connections=1000,
        version="0",
    )
    argv = [
        *command("privyseal-manager", "manager.main"),
        *("--listen", f"127.0.0.1:{http}", "--delegate-listen", f"127.0.0.1:{delegates}"),
        *("--database", database, "--log-format", "json", "--drain", "0", *options),
    ]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def answers() -> bool:
            try:
                async with session.get(f"{configuration.url}/readyz") as reply:
                    return reply.status == 200
            except aiohttp.ClientError:
                return False

        program = Program("the manager", argv, folder / "manager.log", answers)
        await program.start()
        try:
            now = int(time.time())
            await asyncio.to_thread(add_token, database, token_hash(TOKEN), now, now + 3_600)
            running = ManagerProcess(configuration, session, world, program)
            await found(running)
            yield running
        finally:
            await program.stop()
            ports.let_go()
