"""A real manager in this process, on free loopback ports, with an account made in it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.ports import HeldPorts
from manager.api.accounts import token_hash
from manager.daemon import Configuration, serve
from manager.store import add_token
from shared.errors import Unavailable
from tests.fakes.world import World

TOKEN = "one-time-token"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass(slots=True)
class Manager:
    """Where it listens, and a client without any cleverness."""

    configuration: Configuration
    http: aiohttp.ClientSession
    world: World

    @property
    def url(self) -> str:
        """Its URL for clients."""
        return self.configuration.url

    def bearer(self, name: str = "administrator", **changes: Any) -> dict[str, str]:
        """The header by which the world's identity of that name calls."""
        signer, now = self.world.identity(name), int(time.time())
        claims = {"sub": signer.kid, "acct": self.world.id, "aud": self.url, "iat": now, "exp": now + 300, "jti": "x"}
        key = Ed25519PrivateKey.from_private_bytes(self.world.seed(f"identity {name}"))
        return {
            "Authorization": "Bearer "
            + jwt.encode({**claims, **changes}, key, algorithm="EdDSA", headers={"kid": signer.kid, "typ": "JWT"})
        }

    async def call(self, method: str, path: str, name: str = "administrator", **arguments: Any) -> tuple[int, Any]:
        """Status and JSON of a call on the world's account."""
        headers = {**self.bearer(name), **arguments.pop("headers", {})}
        url = f"{self.url}/v1/accounts/{self.world.id}/{path}"
        async with self.http.request(method, url, headers=headers, **arguments) as reply:
            return reply.status, await reply.json(content_type=None) if reply.content_length else None


@contextlib.asynccontextmanager
async def manager(folder: Path, world: World, **changes: Any) -> AsyncIterator[Manager]:
    """The manager, running; `changes` are fields of its configuration."""
    ports = HeldPorts()
    http, grpc = ports.take(2)
    scheme = "https" if changes.get("tls") else "http"
    settings: dict[str, Any] = {
        "url": f"{scheme}://127.0.0.1:{http}",
        "delegate_urls": (f"{scheme}://127.0.0.1:{grpc}",),
        "http": ("127.0.0.1", http),
        "grpc": ("127.0.0.1", grpc),
        "database": f"sqlite:///{folder}/manager.db",
        "tls": None,
        "heartbeat_seconds": 0.2,
        # Some delegates of tests never say a word, and a busy machine may keep any of them from it.
        "silence_seconds": 60.0,
        "drain_seconds": 1.0,
        "cache_bytes": 2**22,
        "connections": 1000,
        "version": "0",
    }
    configuration = Configuration(**{**settings, **changes})
    now = int(time.time())
    # There is one from before where the manager is started again.
    with contextlib.suppress(Unavailable):
        add_token(configuration.database, token_hash(TOKEN), now, now + 3600)
    stopping = asyncio.Event()
    serving = asyncio.create_task(serve(configuration, stopping))
    try:
        async with aiohttp.ClientSession() as session:
            await _ready(session, configuration.url, serving)
            yield Manager(configuration, session, world)
    finally:
        stopping.set()
        await serving
        ports.let_go()


async def _ready(session: aiohttp.ClientSession, url: str, serving: asyncio.Task[None]) -> None:
    async with asyncio.timeout(30):
        while True:
            if serving.done():
                serving.result()
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz", ssl=False) as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.02)


async def found(running: Manager) -> None:
    """Makes the world's account, with everything that it has published."""
    headers = {"Authorization": f"Token {TOKEN}"}
    body = {"documents": running.world.documents}
    async with running.http.post(f"{running.url}/v1/accounts", headers=headers, json=body, ssl=False) as reply:
        assert reply.status == 201, await reply.text()
