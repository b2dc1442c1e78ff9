"""A small manager for tests of the delegate: the real gRPC stream, real documents, and as honest as a test wants it.

    async with FakeManager(world) as manager:
        link = await manager.connection()                  # the newest delegate that was welcomed
        reply = await link.perform(task, inputs, stored)   # a Result, or the Need that was left after three rounds
        answer = read_answer(world, link, task, reply)     # verified and opened as a client would

It keeps a session as the real one does, so that a delegate that breaks the protocol fails the test. An attacker overrides
`welcome` or `trust`, or uses `say(..., recorded=False)` and `say_wire`, which check nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from client.ports import HeldPorts
from shared.aad import Aad
from shared.canonical import blob_digest, digest
from shared.codec import DelegateReader, manager_messages
from shared.crypto.output import Item, unpack
from shared.documents.answer import AnswerDocument
from shared.documents.certificate import CertificateDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as
from shared.documents.task import TaskDocument
from shared.errors import Malformed
from shared.hello import hello_message
from shared.labels import ANSWER
from shared.messages import (
    Challenge,
    Credit,
    Documents,
    FromDelegate,
    FromManager,
    Heartbeat,
    Hello,
    Need,
    NewCertificate,
    Result,
    Task,
    Welcome,
)
from shared.session import Session, Side
from shared.trust.certificate import check_certificate
from shared.values import Sealed
from shared.wire import delegate_pb2, delegate_pb2_grpc
from tests.fakes.world import World

PATIENCE_SECONDS = 45.0
MOST_NEEDS = 3
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it

M = TypeVar("M")


async def until(condition: Callable[[], M | None], seconds: float = PATIENCE_SECONDS) -> M:
    """What `condition` gives once it is something. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found:
                return found
            await asyncio.sleep(0.005)


class Connection:
    """One delegate's stream, seen from the manager."""

    def __init__(self, manager: FakeManager, context: Any) -> None:
        self._manager = manager
        self._context = context
        # gRPC's own context can't be cancelled by the server.
        self._serving: asyncio.Task[Any] = _current()
        self._reader = DelegateReader()
        self._number = 0
        self._lock = asyncio.Lock()
        self.session = Session()
        self.received: list[FromDelegate] = []
        self.hello: Hello | None = None
        self.certificate: Verified[CertificateDocument] | None = None
        self.sent: set[str] = set()
        self.open = False
        self.ended = False
        self.violation: Malformed | None = None
        """What the delegate said that has no place in the protocol."""
        self.beats = True
        self.strict = True
        """Whether what has no place in the protocol ends the stream."""
        self.cutting = False

    @property
    def kid(self) -> str:
        """The delegate's identity."""
        assert self.certificate is not None
        return VerifyingKey.of(self.certificate.document.key).kid

    def heard(self, kind: type[M]) -> list[M]:
        """The messages of that kind, oldest first."""
        return [message for message in self.received if isinstance(message, kind)]

    async def say(self, message: FromManager, recorded: bool = True) -> None:
        """Send a message; unrecorded, whether or not it has a place now."""
        if recorded:
            self.session.record(Side.MANAGER, message)
        self._number += 1
        for wire in manager_messages(message, self._number):
            await self.say_wire(wire)

    async def say_wire(self, wire: delegate_pb2.FromManager) -> None:
        """Send anything at all."""
        async with self._lock:
            await self._context.write(wire)

    async def give(self, documents: Iterable[str]) -> None:
        """Send these documents."""
        compacts = tuple(documents)
        self.sent.update(digest(one) for one in compacts)
        await self.say(Documents(compacts))

    async def start(
        self,
        task: Verified[TaskDocument] | str,
        inputs: Sequence[bytes] = (),
        stored: Sequence[bytes] = (),
        attempt: int = 1,
    ) -> Task:
        """Send a task once there is credit for it."""
        compact = task if isinstance(task, str) else task.compact
        message = Task(digest(compact), attempt, compact, tuple(inputs), tuple(stored))
        await until(lambda: self.session.takes_tasks or self.ended)
        await self.say(message)
        return message

    async def perform(
        self,
        task: Verified[TaskDocument] | str,
        inputs: Sequence[bytes] = (),
        stored: Sequence[bytes] = (),
        attempt: int = 1,
    ) -> Result | Need:
        """Send a task and what the delegate needs for it; gives its reply."""
        for _ in range(MOST_NEEDS):
            before = len(self.received)
            message = await self.start(task, inputs, stored, attempt)
            reply = await self.reply(message.id, before)
            if isinstance(reply, Result):
                return reply
            known = self._manager.known()
            await self.give(known[one] for one in reply.digests if one in known)
        return reply

    async def reply(self, id: str, after: int = 0) -> Result | Need:
        """The first reply about a task among what came after the first `after` messages."""
        return await until(
            lambda: next(
                (one for one in self.received[after:] if isinstance(one, Result | Need) and one.id == id), None
            )
        )

    def cut(self) -> None:
        """End the stream from this side."""
        self.cutting = True
        self._serving.cancel()

    async def serve(self) -> None:
        """From challenge to end."""
        nonce = secrets.token_bytes(32)
        await self.say(Challenge(nonce))
        hello = await self._read()
        assert isinstance(hello, Hello)
        self.hello = hello
        await self._manager.check_hello(self, hello, nonce)
        await self._manager.welcome(self)
        await self._manager.trust(self)
        self.open = True
        beating = asyncio.create_task(self._beat())
        try:
            while (message := await self._read()) is not None:
                if isinstance(message, NewCertificate):
                    self.certificate = self._manager.check(message.certificate)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self) -> None:
        while not self.ended:
            await asyncio.sleep(self._manager.heartbeat_ms / 1000)
            if self.beats:
                await self.say(Heartbeat())

    async def _read(self) -> FromDelegate | None:
        while True:
            wire = await self._context.read()
            if wire is _EOF:
                return None
            message = self._reader.read(wire)
            if message is not None:
                try:
                    self.session.record(Side.DELEGATE, message)
                except Malformed as why:
                    self.violation = why
                    if self.strict:
                        raise
                self.received.append(message)
                return message


class FakeManager(delegate_pb2_grpc.DelegatesServicer):
    """Serves one world's account on loopback; `tls` is (key, certificate chain), both PEM."""

    def __init__(
        self,
        world: World,
        *,
        heartbeat_ms: int = 50,
        silence_ms: int = 3_000,
        tls: tuple[bytes, bytes] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.world = world
        self.heartbeat_ms = heartbeat_ms
        self.silence_ms = silence_ms
        self.connections: list[Connection] = []
        self.refused: list[str] = []
        self.port = 0
        self._tls = tls
        self._host = host
        self._ports = HeldPorts()
        self._server: Any = None

    @property
    def url(self) -> str:
        """What a delegate dials."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    async def start(self) -> None:
        """Listen, on the port of the last time if there was one: that is nobody else's meanwhile."""
        if not self.port:
            (self.port,) = self._ports.take(1)
        options = (("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 5_000))
        self._server = grpc.aio.server(options=options)
        delegate_pb2_grpc.add_DelegatesServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        address = f"127.0.0.1:{self.port}"
        if self._tls is None:
            assert self._server.add_insecure_port(address) == self.port
        else:
            assert self._server.add_secure_port(address, grpc.ssl_server_credentials([self._tls])) == self.port
        await self._server.start()

    async def stop(self) -> None:
        """Vanish: every stream is cut."""
        await self._server.stop(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        self._ports.let_go()

    async def connection(self, after: int = 0) -> Connection:
        """The newest open stream beyond the first `after` ones."""
        return await until(lambda: next((one for one in reversed(self.connections[after:]) if one.open), None))

    def known(self) -> dict[str, str]:
        """The world's documents by digest."""
        return {digest(compact): compact for compact in self.world.documents}

    def check(self, certificate: str) -> Verified[CertificateDocument]:
        """The certificate, if the world's keyring vouches for it."""
        now = int(time.time()) if abs(time.time() - self.world.now) < 3_600 else self.world.now
        return check_certificate(certificate, self.world.keyring_document, self.world.status.document, now)

    # What an attacker may do otherwise.

    async def check_hello(self, connection: Connection, hello: Hello, nonce: bytes) -> None:
        """Believe the delegate or raise what is wrong."""
        connection.certificate = self.check(hello.certificate)
        message = hello_message(hello.origin, nonce, hello.certificate)
        VerifyingKey.of(connection.certificate.document.key).verify(hello.proof, message)
        assert hello.origin == self.url

    async def welcome(self, connection: Connection) -> None:
        """Open the stream."""
        await connection.say(Welcome(self.heartbeat_ms, self.silence_ms, self.world.now))

    async def trust(self, connection: Connection) -> None:
        """What a delegate starts from."""
        kinds = {"account", "status", "keyring"}
        await connection.give(one for one in self.world.documents if _kind(one) in kinds)

    async def Connect(  # noqa: N802 (the name is gRPC's)
        self, request_iterator: AsyncIterator[delegate_pb2.FromDelegate], context: Any
    ) -> None:
        """One stream."""
        connection = Connection(self, context)
        self.connections.append(connection)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            if not connection.cutting:
                raise
            # A handler that is merely cancelled tells the other side nothing.
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        except Exception as why:  # noqa: BLE001 (the test looks at it)
            code = getattr(why, "code", type(why).__name__)
            self.refused.append(code)
            status = getattr(why, "grpc_status", "INTERNAL")
            await context.abort(grpc.StatusCode[status], f"{code}: {why}.")
        finally:
            connection.open, connection.ended = False, True


@dataclass(frozen=True, slots=True)
class Answer:
    """A result as its reader gets it: the signed code, the opened items (none where nothing was sealed), the records."""

    code: str
    items: list[Item]
    stored: tuple[bytes, ...]


def read_answer(
    world: World, connection: Connection, task: Verified[TaskDocument] | str, result: Result | Need
) -> Answer:
    """A result, its signature and digests checked and its output opened with the world's reader key."""
    assert isinstance(result, Result), result
    compact = task if isinstance(task, str) else task.compact
    assert connection.certificate is not None
    key = VerifyingKey.of(connection.certificate.document.key)
    answer = parse_as(AnswerDocument, result.answer).verified_by(key).document
    assert answer.acct == world.id
    assert answer.task == digest(compact)
    assert answer.sealed == (blob_digest(result.sealed) if result.sealed else None)
    assert answer.stored == tuple(blob_digest(blob) for blob in result.stored)
    items: list[Item] = []
    if result.sealed:
        place = Aad("answer", world.id, parse_as(TaskDocument, compact).document.keyring, version=digest(compact))
        items = unpack(world.reader.open(Sealed(result.sealed), place.encode(ANSWER)))
    return Answer(answer.code, items, result.stored)


def credit_of(connection: Connection) -> int:
    """All the credit that the delegate ever gave on this stream."""
    return sum(one.tasks for one in connection.heard(Credit))


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _kind(compact: str) -> str:
    from shared.documents.jws import parse

    return parse(compact).kind
