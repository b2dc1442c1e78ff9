"""Delegates under test: the real object graph, in this process or in one of its own, against whatever manager.

In this process the clock is the world's, so that its documents are in force, and moves with real time from there.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from delegate.address import Address
from delegate.build import build
from delegate.clock import Clock
from delegate.configuration import Configuration
from delegate.daemon import Daemon
from delegate.endpoints import Endpoints
from delegate.load import Meter
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import Randomness
from delegate.secret_managers.loading import Loadable
from tests.fakes.manager import PATIENCE_SECONDS
from tests.fakes.world import World

UNLIMITED = {"PRIVYSEAL_DELEGATE_CPU_LIMIT_PERCENT": "0", "PRIVYSEAL_DELEGATE_MEMORY_LIMIT_PERCENT": "0"}
"""Else what else this machine does would decide about tests."""


class WorldClock(Clock):
    """Begins at the world's time; `ahead` seconds are added."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ahead = 0

    def now(self) -> int:
        """The world's time, as a test set it."""
        return self._world.now + self.ahead


class WorldRandomness:
    """Random bytes, but the first are the seed of the world's delegate: it signs as `world.delegate`."""

    def __init__(self, world: World) -> None:
        self._first: bytes | None = world.seed("identity delegate")

    def __call__(self, length: int) -> bytes:
        """So many bytes."""
        first, self._first = self._first, None
        return first or secrets.token_bytes(length)


def configuration(world: World, url: str, **changes: Any) -> Configuration:
    """A delegate of the world's keyring, with the tag `eu`, that comes back at once when its stream ends."""
    fields: dict[str, Any] = {
        "address": Address.parse(url),
        "proxy": None,
        "authorities": None,
        "keyring": world.keyring,
        "policy": LocalPolicy.parse("", ["Local"]),
        "name": "alpha",
        "tags": ("eu",),
        "capacity": 4,
        "task_seconds": 30.0,
        "call_seconds": 5.0,
        "check_seconds": 0.0,
        "data_keys": (300.0, 10_000, 64 * 1024 * 1024),
        "endpoints": Endpoints(),
        "drain_seconds": 5.0,
        "backoff_seconds": (0.01, 0.05),
        "health": None,
    }
    return Configuration(**{**fields, **changes})


@asynccontextmanager
async def running(
    world: World,
    url: str,
    clock: Clock | None = None,
    kinds: Mapping[str, Loadable] | None = None,
    measured: Meter | None = None,
    randomness: Randomness | None = None,
    **changes: Any,
) -> AsyncIterator[Daemon]:
    """A delegate in this process, from its start to its drain; as the world's own unless `randomness` is another."""
    daemon, health = build(
        configuration(world, url, **changes),
        "test",
        randomness or WorldRandomness(world),
        clock or WorldClock(world),
        kinds,
        measured,
    )
    life = asyncio.create_task(daemon.run(health))
    try:
        yield daemon
    finally:
        daemon.end()
        daemon.end()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await life


def keyring_file(world: World, folder: Path) -> Path:
    """The world's keyring as a delegate is given it."""
    path = folder / "keyring.json"
    path.write_bytes(world.keyring.text())
    path.chmod(0o600)
    return path


@asynccontextmanager
async def process(*flags: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """The program `privyseal-delegate` with these flags; killed at the end if it still runs."""
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "delegate.main",
        *flags,
        stdout=PIPE,
        stderr=PIPE,
        cwd=Path(__file__).parents[2],
        env={**clean, **UNLIMITED, **(environ or {})},
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


def world_of_today() -> World:
    """A world whose documents are in force by this machine's clock."""
    return World(now=int(time.time()))
