"""The two programs as processes of a `SteeredLoop`: all of their own code, over a `Network` instead of gRPC's.

A `ManagerProcess` has the real store on a real SQLite file, whose commits are made in the loop; it is killed, and the next
one starts on what was committed. A `DelegateProcess` is the whole object graph of `delegate.build`, with the kind `Local`
behind a `Gate` that counts what begins and lets it go on when a test says so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delegate.build import build
from delegate.cgroups import Memory, Processor
from delegate.link import Pause
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings
from delegate.secret_managers.local import Local
from manager.assignment import Assignment
from manager.books import Books
from manager.checks import Checks
from manager.dispatch import Dispatcher
from manager.fleet import Fleet
from manager.metrics import ManagerMetrics
from manager.orders import Orders
from manager.probes import FAILURE_SECONDS, SUCCESS_SECONDS, Probes
from manager.store import Store
from manager.store_writer import GroupCommit
from manager.stream import Streams
from manager.tasks import Tasks
from shared.canonical import sha256
from shared.crypto.plaintext import Plaintext
from shared.documents.answer import AnswerDocument
from shared.documents.connector import ConnectorDocument
from shared.errors import Unavailable
from shared.messages import Result, Task
from shared.values import Stored, Wrapped
from tests.fakes.delegates import configuration
from tests.fakes.lines import Line, Network
from tests.fakes.steered import SteeredClock, SteeredLoop, current_process
from tests.fakes.world import World

URL = "http://127.0.0.1:9"
HEARTBEAT_MS, SILENCE_MS = 2_000, 5_000
EXECUTION_SECONDS, GRACE_SECONDS = 8.0, 5.0
TASK_SECONDS = 15.0


class _Commit(GroupCommit):
    """The real one without its thread. While `fails`, the disk is full."""

    fails = False
    is_dead = False

    def submit(self, *arguments: Any) -> asyncio.Future[Any]:
        answer = super().submit(*arguments)
        self._loop.call_soon(self.flush)
        return answer

    def flush(self) -> None:
        batch = []
        while not self._queue.empty():
            if (item := self._queue.get_nowait()) is not None:
                batch.append(item)
        if not batch or self.is_dead:
            return
        if self.fails:
            why = Unavailable("store_unavailable", "the disk is full", "free space")
            self._answer([(one, None, why) for one in batch], [], True)
        else:
            self._answer(*self._commit(batch))

    def die(self) -> None:
        """What isn't committed never will be."""
        self.is_dead = self._closed = True
        self._drop_connection()

    def _serve(self) -> None:
        """Nothing is left for the thread."""


class ModelStore(Store):
    """The real one, on one thread."""

    async def open(self) -> None:
        connection = self._database.open()
        self._pool = ThreadPoolExecutor(1)
        connect, cache = self._database.connect_writer, self._cache
        self._writer = _Commit(connection, connect, cache.apply, cache.clear, **self._limits)

    @property
    def commit(self) -> _Commit:
        """What commits."""
        assert isinstance(self._writer, _Commit)
        return self._writer

    def die(self) -> None:
        """As its process does."""
        self.commit.die()
        self._database.close()


class _Dispatcher(Dispatcher):
    """The real one; notes what it was given."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.given: list[Assignment] = []

    async def run(self, assignment: Assignment) -> tuple[Result, AnswerDocument]:
        self.given.append(assignment)
        return await super().run(assignment)


class ManagerProcess:
    """One life of the manager."""

    def __init__(
        self,
        loop: SteeredLoop,
        network: Network,
        file: Path,
        began: int,
        number: int,
        ahead: int = 0,
        probe_seconds: tuple[float, float] = (SUCCESS_SECONDS, FAILURE_SECONDS),
    ) -> None:
        self.loop, self.network = loop, network
        self.name = f"manager {number}"
        self.clock = SteeredClock(loop, began)
        self.clock.ahead = ahead
        self.store = ModelStore(f"sqlite:///{file}")
        loop.complete(self.store.open(), self.name)
        self.fleet, self.metrics = Fleet(), ManagerMetrics("0")
        self.books = Books(self.store, self.clock)
        self.probes = Probes(self.fleet, self.clock, self.metrics, *probe_seconds)
        self.dispatcher = _Dispatcher(
            self.fleet, self.clock, self.metrics, GRACE_SECONDS, EXECUTION_SECONDS, probes=self.probes
        )
        self.streams = Streams(
            self.books, self.fleet, self.dispatcher, Checks(self.store, self.clock), self.clock, self.metrics, [URL],
            HEARTBEAT_MS, SILENCE_MS,
        )  # fmt: skip
        self.tasks = Tasks(self.store, self.books, self.dispatcher, self.clock, self.metrics)
        loop.complete(self.tasks.recover(), self.name)
        self.orders = Orders(
            self.store, self.books, self.fleet, self.dispatcher, self.streams, self.clock, self.metrics
        )
        loop.complete(self.orders.recover(), self.name)
        self.metrics.follow_store(self.store.figures)
        self.metrics.answer("tasks_waiting", lambda: self.dispatcher.waiting)
        with loop.process(self.name):
            self.lasting = {
                loop.create_task(self._beat()),
                loop.create_task(self.tasks.deferred.watch()),
                loop.create_task(self.orders.run()),
            }
            network.context = copy_context()
        network.serve = self.streams.Connect
        loop.settle()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.streams.look_seconds)
            await self.streams.beat()

    def kill(self, heard: bool = True) -> None:
        """SIGKILL; `heard` by the delegates, unless its machine is gone too."""
        self.network.serve = None
        self.store.die()
        for line in self.network.lines:
            line.sever(manager_hears=False, delegate_hears=heard)
        self.loop.kill(self.name)

    def gauges(self) -> dict[str, float]:
        """Every gauge that isn't 0, by name and labels."""
        found = {}
        for line in self.metrics.exposition().decode().splitlines():
            name, _, value = line.rpartition(" ")
            if not name.startswith("#") and float(value):
                found[name] = float(value)
        return found


@dataclass(frozen=True, slots=True)
class Call:
    """An operation of a delegate's process that has begun, for a task; `at` is what the delegate's own clock said."""

    process: str
    task: str
    at: int


class Gate:
    """What stands before every call of the kind `Local`, and counts those that began: (operation, secret) to how often.

    `calls` are those that a task asked for; tests of connectors fail for the processes in `failing`.
    """

    def __init__(self) -> None:
        self.is_shut = False
        self.calls: list[Call] = []
        self.failing: set[str] = set()
        self.doing: ContextVar[tuple[str, str, SteeredClock | None]] = ContextVar("doing", default=("", "", None))
        self.begun: Counter[tuple[str, str]] = Counter()
        self._opened: list[asyncio.Future[None]] = []

    async def passed(self, op: str, identifier: str) -> None:
        """Begins, and waits while the gate is shut."""
        self.begun[op, identifier] += 1
        process, task, clock = self.doing.get()
        if clock is not None:
            self.calls.append(Call(process, task, clock.now()))
        while self.is_shut:
            opened = asyncio.get_running_loop().create_future()
            self._opened.append(opened)
            await opened

    def open(self) -> None:
        """Whoever waits goes on."""
        self.is_shut = False
        opened, self._opened = self._opened, []
        for one in opened:
            if not one.done():
                one.set_result(None)

    def kind(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> SecretManager:
        """The kind."""
        return _Gated(self, connector, surroundings, secrets)

    def load(self) -> Any:
        """As an entry point gives it."""
        return self.kind


class _Gated(Local):
    def __init__(self, gate: Gate, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._gate = gate

    async def check(self) -> None:
        await self._gate.passed("check", "")
        if current_process() in self._gate.failing:
            raise Unavailable("provider_unavailable", "the provider doesn't answer")
        await super().check()

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Wrapped:
        await self._gate.passed("store", secret.secret.identifier)
        return await super().store(secret, plaintext)

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        await self._gate.passed("fetch", secret.secret.identifier)
        return await super().fetch(secret, stored)

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        await self._gate.passed("delete", secret.secret.identifier)
        await super().delete(secret, stored)


class _Meter:
    """Memory in use, in percent."""

    def __init__(self) -> None:
        self.percent = 0

    def memory(self) -> Memory | None:
        return Memory(self.percent, 100)

    def processor(self) -> Processor | None:
        return None


class _Pause(Pause):
    """The same each time."""

    def after(self, failures: int, chance: object) -> float:
        return 0.5 * float(min(8, 2 ** min(failures, 3)))


class _Random:
    """Bytes that are the same in every run; the first are the identity's."""

    def __init__(self, seed: bytes) -> None:
        self._seed, self._number = seed, 0

    def __call__(self, length: int) -> bytes:
        self._number += 1
        blocks = (sha256(self._seed + b"%d/%d" % (self._number, at)) for at in range(length // 32 + 1))
        return b"".join(blocks)[:length]


class DelegateProcess:
    """One life of a delegate; another life is another identity."""

    def __init__(
        self,
        loop: SteeredLoop,
        network: Network,
        world: World,
        name: str,
        capacity: int,
        tags: Sequence[str],
        gate: Gate,
        check_seconds: float = 0.0,
    ) -> None:
        self.loop, self.network, self.name = loop, network, name
        self.clock, self.meter = SteeredClock(loop, world.now), _Meter()
        self.lines: list[Line] = []
        self.refused: list[str] = []
        """Codes with which streams of it ended."""
        seed = world.seed(f"process {name}")
        self.identity = world.identity(f"process {name}")
        settings = configuration(
            world, URL, name=name, tags=tuple(tags), capacity=capacity, task_seconds=TASK_SECONDS,
            memory_limit_percent=90, drain_seconds=5.0, check_seconds=check_seconds,
        )  # fmt: skip
        with loop.process(name):
            random = _Random(seed)
            self.daemon, _ = build(settings, "0", _first(world, name, random), self.clock, {"Local": gate}, self.meter)
            self.runner, link = self.daemon.runner, self.daemon.link
            self.link = link
            # The kind's code is here already: a thread would load it.
            self.runner._tasks._registry._loading._kinds["Local"] = gate.kind
            link._channel = self._channel  # type: ignore[method-assign]
            link._pause = _Pause(0.0, 0.0)
            self._gate, self._perform = gate, self.runner._tasks.perform
            self.runner._tasks.perform = self._noted  # type: ignore[method-assign, assignment]
            self._told = link._greeter.refused
            link._greeter.refused = self._refuse  # type: ignore[method-assign]
            self.life = loop.create_task(self.daemon.run(None))
        loop.settle()

    async def _noted(self, message: Task, *rest: Any) -> Any:
        """What is done from here on is done for that task."""
        self._gate.doing.set((self.name, message.id, self.clock))
        return await self._perform(message, *rest)

    def _refuse(self, code: str) -> None:
        self.refused.append(code)
        self._told(code)

    def _channel(self) -> Any:
        return self.network.channel(self.name, self.lines)

    @property
    def has_tampered_line(self) -> bool:
        """Whether somebody meddled with one of its streams."""
        return any(line.is_tampered for line in self.lines)

    def kill(self, heard: bool) -> None:
        """SIGKILL, `heard` by the manager unless its machine is gone too."""
        for line in self.network.lines:
            if line.name == self.name and not line.is_over:
                line.sever(manager_hears=heard, delegate_hears=True)
        self.network.is_cut_off.add(self.name)
        self.loop.kill(self.name)


def _first(world: World, name: str, random: _Random) -> Any:
    """The identity's seed, then others."""
    seeds = [world.seed(f"identity process {name}")]
    return lambda length: seeds.pop() if seeds else random(length)
