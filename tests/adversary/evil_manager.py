"""A manager in the attacker's hands: the real one, with the attacker's hands on everything that passes through it.

    async with EvilManager(world, folder) as evil:
        evil.on_reply(lambda exchange: ...)              # rewrite what clients are answered
        evil.on_down(lambda tap, message: [message])     # rewrite what goes to delegates
        evil.on_up(lambda tap, message: [message])       # rewrite what the manager hears from delegates
        await evil.give("alpha", task.compact)           # hand a delegate any task at all, and see what it answers

It runs the manager's own parts and speaks the real protocol on real ports; it has the database, both ports and all that
was ever sent. It has no key of the account: what it signs, it signs with keys of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import uvicorn

from manager.api.accounts import token_hash
from manager.api.app import application
from manager.authentication import Authentication
from manager.books import Books
from manager.checks import Checks
from manager.clock import Clock
from manager.condition import Condition
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.orders import Orders
from manager.services import Services
from manager.store import Store, add_token
from manager.stream import Streams
from manager.tasks import Tasks
from shared.canonical import digest
from shared.codec import DelegateReader, ManagerReader, delegate_messages, manager_messages
from shared.documents.answer import AnswerDocument
from shared.documents.certificate import CertificateDocument
from shared.documents.jws import parse_as
from shared.messages import FromDelegate, FromManager, Hello, Need, Result, Task
from shared.orders import run_id
from shared.tracing import Untraced
from shared.wire import delegate_pb2, delegate_pb2_grpc
from tests.adversary.exchange import Between, Exchange
from tests.fakes.world import World

PATIENCE_SECONDS = 60.0
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


OnReply = Callable[[Exchange], Awaitable[None] | None]
OnRequest = Callable[[Exchange], None]
OnDown = Callable[["Tap", FromManager], Iterable[FromManager]]
OnUp = Callable[["Tap", FromDelegate], Iterable[FromDelegate]]


class Tap:
    """One delegate's stream with the attacker in the middle; the manager's own code takes it for gRPC's context."""

    def __init__(self, context: Any, evil: EvilManager) -> None:
        self._context = context
        self._evil = evil
        self._down = ManagerReader()
        self._up = DelegateReader()
        self._forwarded: deque[Any] = deque()
        self._writing = asyncio.Lock()
        self.name = ""
        self.kid = ""
        self.alive = True
        self.awaited: dict[str, asyncio.Future[Result | Need]] = {}
        self.heard: list[FromDelegate] = []
        """Every message of the delegate, as it said it."""

    # What the manager's code calls.

    async def write(self, wire: delegate_pb2.FromManager) -> None:
        message = self._down.read(wire)
        if message is None:
            return
        messages: Iterable[FromManager] = [message]
        for rewrite in self._evil.downs:
            messages = [changed for one in messages for changed in rewrite(self, one)]
        for one in messages:
            await self.say(one)

    async def read(self) -> Any:
        while not self._forwarded:
            wire = await self._context.read()
            if wire is _EOF:
                return wire
            message = self._up.read(wire)
            if message is None:
                continue
            if isinstance(message, Hello):
                certificate = parse_as(CertificateDocument, message.certificate).document
                self.name = certificate.name
            self.heard.append(message)
            if isinstance(message, Result | Need) and message.id in self.awaited:
                self.awaited.pop(message.id).set_result(message)
                continue
            messages: Iterable[FromDelegate] = [message]
            for rewrite in self._evil.ups:
                messages = [changed for one in messages for changed in rewrite(self, one)]
            for one in messages:
                self._forwarded.extend(delegate_messages(one, self._evil.number()))
        return self._forwarded.popleft()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    # What the attacker calls.

    async def say(self, message: FromManager | delegate_pb2.FromManager) -> None:
        """Send the delegate this, whatever the manager's code thinks of it."""
        wires = (
            [message]
            if isinstance(message, delegate_pb2.FromManager)
            else manager_messages(message, self._evil.number())
        )
        async with self._writing:
            for wire in wires:
                await self._context.write(wire)

    async def give(
        self,
        compact: str,
        inputs: Iterable[bytes] = (),
        stored: Iterable[bytes] = (),
        *,
        credentials: Iterable[bytes] = (),
        named: str | None = None,
        run: int = 0,
    ) -> Result | Need:
        """Hand over a task, or that run of an order (from 1), and wait for the reply, which the manager's code never hears of."""
        id = named or (digest(compact) if compact.isascii() else "x")
        if run and not named:
            id = run_id(id, run - 1)
        reply: asyncio.Future[Result | Need] = asyncio.get_running_loop().create_future()
        self.awaited[id] = reply
        blobs = (tuple(inputs), tuple(stored), tuple(credentials))
        await self.say(Task(id, 1_000 + self._evil.number(), compact, *blobs, run=run))
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reply


class _Streams(Streams):
    """The manager's own, behind a tap for each stream."""

    evil: EvilManager

    async def Connect(self, request_iterator: AsyncIterator[delegate_pb2.FromDelegate], context: Any) -> None:  # noqa: N802
        tap = Tap(context, self.evil)
        self.evil.taps.append(tap)
        try:
            await super().Connect(request_iterator, tap)
        finally:
            tap.alive = False


class EvilManager:
    """See the module. `world` is the account that it serves, and that it would like to have."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.taps: list[Tap] = []
        self.downs: list[OnDown] = []
        self.ups: list[OnUp] = []
        self.exchanges: list[Exchange] = []
        self._replies: list[OnReply] = []
        self._requests: list[OnRequest] = []
        self._numbers = itertools.count(1_000_000)
        self._database = f"sqlite:///{folder / 'evil.db'}"
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.delegate_url = ""
        self._stack = contextlib.AsyncExitStack()

    def on_reply(self, rewrite: OnReply) -> None:
        """Called with each exchange before the client gets its answer."""
        self._replies.append(rewrite)

    def on_request(self, rewrite: OnRequest) -> None:
        """Called with each exchange before the manager's own code sees it."""
        self._requests.append(rewrite)

    def on_down(self, rewrite: OnDown) -> None:
        """Called with each message to a delegate; gives those that go instead."""
        self.downs.append(rewrite)

    def on_up(self, rewrite: OnUp) -> None:
        """Called with each message of a delegate; gives those that the manager's own code hears instead."""
        self.ups.append(rewrite)

    def behave(self) -> None:
        """No more rewriting."""
        for hooks in (self._replies, self._requests, self.downs, self.ups):
            hooks.clear()

    def number(self) -> int:
        """One that it hasn't used."""
        return next(self._numbers)

    def tap(self, name: str) -> Tap:
        """The open stream of the delegate of that name."""
        return next(tap for tap in reversed(self.taps) if tap.name == name and tap.alive)

    async def give(
        self,
        name: str,
        compact: str,
        inputs: Iterable[bytes] = (),
        stored: Iterable[bytes] = (),
        credentials: Iterable[bytes] = (),
        run: int = 0,
    ) -> Result:
        """Hand a task to a delegate; its result. Fails where it asks for documents instead."""
        reply = await self.tap(name).give(compact, inputs, stored, credentials=credentials, run=run)
        assert isinstance(reply, Result), "the delegate asked for documents"
        return reply

    async def connected(self, *names: str) -> None:
        """Waits until these delegates have been welcomed and take tasks."""
        await until(
            lambda: set(names) <= {one.name for one in self.services.fleet if one.session.takes_tasks},
            f"{names} to connect",
        )

    # ---- life

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.behave()
        await self._stack.aclose()

    async def _start(self) -> None:
        clock, metrics, fleet = Clock(), ManagerMetrics("0"), Fleet()
        await asyncio.to_thread(add_token, self._database, token_hash("token"), 0, 2**40)
        store = await self._stack.enter_async_context(Store(self._database))
        books = Books(store, clock)
        dispatcher = Dispatcher(fleet, clock, metrics)
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self.delegate_url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        streams = _Streams(books, fleet, dispatcher, Checks(store, clock), clock, metrics, (self.delegate_url,))
        streams.evil = self
        self.services = Services(
            condition=Condition(store, clock),
            tracer=Untraced(),
            store=store,
            books=books,
            fleet=fleet,
            dispatcher=dispatcher,
            streams=streams,
            tasks=Tasks(store, books, dispatcher, clock, metrics),
            orders=Orders(store, books, fleet, dispatcher, streams, clock, metrics),
            authentication=Authentication(self.url, clock),
            clock=clock,
            metrics=metrics,
        )
        delegate_pb2_grpc.add_DelegatesServicer_to_server(streams, server)  # type: ignore[no-untyped-call]
        await server.start()
        self._stack.push_async_callback(server.stop, 0.2)
        http = _Http(
            uvicorn.Config(
                Between(application(self.services, "0"), self),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
            )  # fmt: skip
        )
        serving = asyncio.create_task(http.serve(sockets=[self._listening]))

        async def stop() -> None:
            http.should_exit = True
            await serving

        self._stack.push_async_callback(stop)
        beating = asyncio.create_task(self._beat(streams))
        self._stack.callback(beating.cancel)
        await until(lambda: http.started, "the evil manager to listen")

    @staticmethod
    async def _beat(streams: Streams) -> None:
        while True:
            await asyncio.sleep(streams.look_seconds)
            await streams.beat()

    # ---- between client and manager

    def request(self, exchange: Exchange) -> None:
        """The attacker reads a request."""
        for rewrite in self._requests:
            rewrite(exchange)

    async def reply(self, exchange: Exchange) -> None:
        """The attacker reads an answer."""
        for rewrite in self._replies:
            done = rewrite(exchange)
            if done is not None:
                await done
        self.exchanges.append(exchange)


class _Http(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def code_of(result: Result) -> str:
    """The code in a delegate's signed answer."""
    return parse_as(AnswerDocument, result.answer).document.code


async def until(happened: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until `happened`; fails when it takes longer."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not happened():
        assert loop.time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)
