"""A manager in a process of its own, which a test may kill and start again, and a client without any cleverness."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from client.ports import HeldPorts
from manager.api.accounts import token_hash
from manager.daemon import Configuration
from manager.store import add_token
from tests.fakes.running import TOKEN, Manager, found
from tests.fakes.world import World

PROGRAM = Path(sys.executable).with_name("privyseal-manager")
START_SECONDS = 30.0


@dataclass(slots=True)
class Killable(Manager):
    """Its configuration is only what a client needs to know of it."""

    folder: Path = Path()
    process: asyncio.subprocess.Process = field(init=False)

    async def start(self) -> None:
        """Waits until it is ready."""
        told = self.configuration
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(PROGRAM),
                *("--listen", f"127.0.0.1:{told.http[1]}", "--delegate-listen", f"127.0.0.1:{told.grpc[1]}"),
                *("--database", told.database, "--silence", "60s", "--heartbeat", "500ms", "--drain", "1s"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: text for name, text in os.environ.items() if not name.startswith("PRIVYSEAL_")},
            )
        until = time.monotonic() + START_SECONDS
        while True:
            assert self.process.returncode is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, (self.folder / "log").read_text()
            with contextlib.suppress(aiohttp.ClientError):
                async with self.http.get(f"{self.url}/readyz") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """At once, as by the kernel."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """As it should be ended; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()

    def limit_files(self, size: int = -1) -> None:
        """No file of its grows past `size` bytes from now on, as on a full disk; -1 takes that back."""
        most = size if size >= 0 else resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@asynccontextmanager
async def killable(folder: Path, world: World) -> AsyncIterator[Killable]:
    """It runs, with the world's account in it."""
    ports = HeldPorts()
    http, grpc = ports.take(2)
    configuration = Configuration(
        url=f"http://127.0.0.1:{http}",
        delegate_urls=(f"http://127.0.0.1:{grpc}",),
        http=("127.0.0.1", http),
        grpc=("127.0.0.1", grpc),
        database=f"sqlite:///{folder}/manager.db",
        tls=None,
        heartbeat_seconds=0.5,
        silence_seconds=60.0,
        drain_seconds=1.0,
        cache_bytes=0,
        connections=0,
        version="",
    )
    now = int(time.time())
    await asyncio.to_thread(add_token, configuration.database, token_hash(TOKEN), now, now + 3600)
    async with aiohttp.ClientSession() as session:
        one = Killable(configuration, session, world)
        one.folder = folder
        await one.start()
        try:
            await found(one)
            yield one
        finally:
            if one.process.returncode is None:
                await one.kill()
            ports.let_go()
