"""The floor of a reveal: what it can't do without, each part alone and with nothing around it.

    one HTTP exchange      client - manager       aiohttp, keep-alive, uvicorn on uvloop, Starlette; bodies of a reveal's size
    one stream exchange    manager - delegate     grpc.aio, an open stream; messages of a reveal's size
    signatures and seals   one after the other    Ed25519 2 x sign, 3 x verify; X-Wing HPKE seal and open; a reveal's sizes
    one durable commit     the same disk          SQLite, WAL, synchronous=FULL; a task's row and an audit row

Programs and processes as the product has them (client, manager, delegate); the libraries are called directly, without the
product's code. Making the reader's key is left out, as the client makes it ahead.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from tests.bench.child import Child, answers, free_port, listens

PARTS = ("http", "stream", "crypto", "commit")
_suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a real reveal, as it went over both wires."""

    request: int
    response: int
    task: int
    """What the client signs, manager and delegate verify."""
    down: int
    up: int
    answer: int
    """What the delegate signs and the client verifies."""
    output: int
    """What is sealed, with its padding."""
    authorization: str
    rows: tuple[tuple[str, ...], tuple[str, ...]]
    """The text of a task's row and of an audit row."""


class Floors:
    """Measures each part; open it around the measurement."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._folder = folder
        self._sizes = sizes
        self._crypto = Crypto(sizes)
        self._children: list[Child] = []
        self._session: aiohttp.ClientSession | None = None
        self._database = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self._origin = ""

    async def __aenter__(self) -> Floors:
        http_port, grpc_port = free_port(), free_port()
        self._origin = f"http://127.0.0.1:{http_port}"
        manager = Child(["tests.bench.echo", str(http_port), str(grpc_port)], self._folder / "echo-manager.log")
        self._children.append(manager)
        await manager.until(lambda: listens(http_port) and listens(grpc_port), "listening")
        arguments = ["tests.bench.echo_delegate", str(grpc_port), str(self._sizes.up)]
        self._children.append(Child(arguments, self._folder / "echo-delegate.log"))
        await manager.until(lambda: answers(f"{self._origin}/ready"), "connected")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=256),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "privyseal", "Authorization": self._sizes.authorization},
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            self._database.execute(f"PRAGMA {pragma}")
        for table, row in zip(("task", "audit"), self._sizes.rows, strict=True):
            columns = ", ".join(f"c{number} TEXT" for number in range(len(row)))
            self._database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {columns})")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        for child in reversed(self._children):
            await child.stop()
        self._database.close()

    async def measure(self, part: str, count: int) -> list[float]:
        """Seconds of each of `count` times."""
        match part:
            case "http":
                return await self._http(count)
            case "stream":
                return await self._stream(count)
            case "crypto":
                return _times(self._crypto.all, count)
            case _:
                return _times(self._commit, count)

    async def _http(self, count: int) -> list[float]:
        assert self._session is not None
        body, seconds = bytes(self._sizes.request), []
        url = f"{self._origin}/echo?bytes={self._sizes.response}"
        for _ in range(count):
            began = time.perf_counter()
            async with self._session.post(url, data=body) as response:
                await response.read()
            seconds.append(time.perf_counter() - began)
        return seconds

    async def _stream(self, count: int) -> list[float]:
        assert self._session is not None
        async with self._session.get(f"{self._origin}/stream?count={count}&bytes={self._sizes.down}") as response:
            return msgspec.json.decode(await response.read(), type=list[float])

    def _commit(self) -> None:
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        for table, row in zip(("task", "audit"), self._sizes.rows, strict=True):
            execute(f"INSERT INTO {table} VALUES (NULL{', ?' * len(row)})", row)
        execute("COMMIT")


class Crypto:
    """The library's own calls, on prepared keys; the reader's key arrives as bytes and is parsed, as it must be."""

    def __init__(self, sizes: Sizes) -> None:
        self._task, self._answer = os.urandom(sizes.task), os.urandom(sizes.answer)
        self._signer, self._delegate = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._signer_public, self._delegate_public = self._signer.public_key(), self._delegate.public_key()
        self._task_signature, self._answer_signature = self._signer.sign(self._task), self._delegate.sign(self._answer)
        self._post_quantum, self._classic = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self._reader = MLKEM768X25519PrivateKey(self._post_quantum, self._classic)
        self._reader_raw = (
            self._post_quantum.public_key().public_bytes_raw() + self._classic.public_key().public_bytes_raw()
        )
        self._output, self._info = os.urandom(sizes.output), os.urandom(200)
        self._sealed = self.seal()

    def all(self) -> None:
        """What one reveal needs."""
        self.sign()
        self.verify()
        self.verify()
        self.seal()
        self._delegate.sign(self._answer)
        self._delegate_public.verify(self._answer_signature, self._answer)
        self.open()

    def sign(self) -> None:
        """A task."""
        self._signer.sign(self._task)

    def verify(self) -> None:
        """A task."""
        self._signer_public.verify(self._task_signature, self._task)

    def seal(self) -> bytes:
        """An output, to a key that came as bytes."""
        post_quantum = MLKEM768PublicKey.from_public_bytes(self._reader_raw[:1184])
        classic = X25519PublicKey.from_public_bytes(self._reader_raw[1184:])
        return _suite.encrypt(self._output, MLKEM768X25519PublicKey(post_quantum, classic), self._info)

    def open(self) -> None:
        """An output."""
        _suite.decrypt(self._sealed, self._reader, self._info)

    def make(self) -> None:
        """A reader's key: not in the floor."""
        MLKEM768X25519PrivateKey(MLKEM768PrivateKey.from_seed_bytes(os.urandom(64)), X25519PrivateKey.generate())


def costs(crypto: Crypto, count: int) -> dict[str, Sequence[float]]:
    """Seconds of each primitive, for the reader of the report."""
    return {name: _times(getattr(crypto, name), count) for name in ("sign", "verify", "seal", "open", "make")}


def _times(function: Callable[[], object], count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return seconds
