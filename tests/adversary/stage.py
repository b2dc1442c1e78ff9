"""The stage for the cases over the network: a world, a manager in the attacker's hands, real delegates, real clients.

    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha")
        client = stage.client()                       # the administrator, through the SDK
        await client.store("account.token", b"value")

The delegates are `delegate.build`'s, the clients `client.sdk`'s; only the manager is the attacker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client.home import Home
from client.sdk import Client
from client.transport import Transport
from delegate.build import build
from delegate.clock import Clock
from delegate.daemon import Daemon
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.registry import BUILT_IN
from shared.aad import Aad
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.crypto.output import Item, unpack
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.errors import PrivySealError
from shared.labels import ANSWER
from shared.messages import Documents, Need, Result
from shared.values import Sealed
from tests.adversary.evil_manager import EvilManager, code_of, until
from tests.fakes.delegates import configuration as configuration_of
from tests.fakes.kinds import Gate
from tests.fakes.world import World

CAPACITY = 8
"""Tasks that a delegate takes at the same time."""


class Actor:
    """One running delegate."""

    def __init__(self, name: str, daemon: Daemon, running: asyncio.Task[None]) -> None:
        self.name = name
        self.daemon = daemon
        self.running = running

    async def stop(self) -> None:
        """Ends it, as SIGTERM does."""
        self.daemon.end()
        await self.running


class Stage:
    """See the module. Everything on it ends with it."""

    def __init__(self, folder: Path) -> None:
        self.world = World(now=int(time.time()), name=f"w{secrets.token_hex(6)}")
        self.folder = folder
        self.evil = EvilManager(self.world, folder)
        self.mallory = self.world.identity("mallory")
        """The attacker's own key: nobody ever granted it anything."""
        self._published = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        try:
            await self._stack.enter_async_context(self.evil)
            founder = Transport(self.evil.url, self.world.id, None, lambda: int(time.time()), token="token")
            await founder.request("POST", "/v1/accounts", json={"documents": self.world.documents})
            await founder.close()
            self._published = len(self.world.documents)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.evil.behave()
        await self._stack.aclose()

    # ---- the parties

    async def delegate(
        self,
        name: str,
        *,
        tags: Sequence[str] = (),
        group: str | None = None,
        keyring: Keyring | None = None,
        clock: Clock | None = None,
        gate: Gate | None = None,
        policy: str = "",
        endpoints: str = "",
        check_seconds: float = 0.0,
        welcome: bool = True,
    ) -> Actor:
        """A delegate that runs; by default once the manager has welcomed it and it takes tasks."""
        kinds = BUILT_IN if gate is None else gate.kinds()
        configuration = configuration_of(
            self.world,
            self.evil.delegate_url,
            keyring=keyring or self.world.keyring,
            policy=LocalPolicy.parse(policy, kinds),
            name=name,
            tags=tuple(tags),
            group=group,
            endpoints=Endpoints.parse(endpoints, "aws_endpoints"),
            capacity=CAPACITY,
            check_seconds=check_seconds,
            drain_seconds=2.0,
        )
        daemon, _ = build(configuration, "0", secrets.token_bytes, clock, kinds)
        actor = Actor(name, daemon, asyncio.create_task(daemon.run(None)))
        self._stack.push_async_callback(self._end, actor)
        if welcome:
            await self.evil.connected(name)
        return actor

    @staticmethod
    async def _end(actor: Actor) -> None:
        if not actor.running.done():
            actor.daemon.end()
            actor.daemon.end()
        await asyncio.gather(actor.running, return_exceptions=True)

    def client(self, identity: Identity | None = None, **arguments: Any) -> Client:
        """A client of the SDK, by default the administrator's."""
        client = Client(self.evil.url, self.world.id, identity or self.world.administrator, **arguments)
        client.secrets.wait_seconds = 20.0
        self._stack.push_async_callback(client.close)
        return client

    def home(self, name: str) -> Home:
        """A folder in which a client keeps what it saw."""
        return Home(self.folder / name)

    async def publish(self) -> None:
        """Tells the manager of everything that the world has published since the last time."""
        new, self._published = self.world.documents[self._published :], len(self.world.documents)
        admin = Transport(self.evil.url, self.world.id, self.world.administrator, lambda: int(time.time()))
        try:
            await admin.request("POST", f"/v1/accounts/{self.world.id}/documents", json={"documents": new})
        finally:
            await admin.close()

    async def evil_refused(self, actor: Actor) -> None:
        """Waits until a delegate was refused, for good as far as it knows."""
        await until(
            lambda: actor.daemon.link.state not in {"connecting", "open", "lost"}, f"{actor.name} to be refused"
        )

    def lie(self, tags: Iterable[str] = (), kinds: Iterable[str] = ()) -> None:
        """The manager takes every connected delegate for one that has these besides what it has said."""
        fleet = self.evil.services.fleet
        for one in list(fleet):
            one.tags |= frozenset(tags)
            one.kinds |= frozenset(kinds)
            # As if it had just come: what is chosen from is made then.
            fleet.join(one)

    # ---- between the attacker and a delegate

    async def teach(self, name: str, compacts: Iterable[str] | None = None) -> None:
        """Shows a delegate documents, by default all of the world's."""
        await self.evil.tap(name).say(Documents(tuple(self.world.documents if compacts is None else compacts)))

    def kid(self, name: str) -> str:
        """The identity of a connected delegate."""
        return next(one.kid for one in self.evil.services.fleet if one.name == name)

    async def refusal(
        self,
        name: str,
        task: Verified[TaskDocument] | str,
        *,
        inputs: Iterable[bytes] = (),
        stored: Iterable[bytes] = (),
        credentials: Iterable[bytes] = (),
    ) -> tuple[str, str]:
        """Hands a task to a delegate that must refuse it: the code that the manager sees, and the one sealed to the reader.

        The second is "" where nothing was sealed. An item that is a value is named by `value`.
        """
        compact = task if isinstance(task, str) else task.compact
        result = await self.evil.give(name, compact, inputs, stored, credentials)
        if not result.sealed or isinstance(task, str):
            return code_of(result), ""
        codes = {item.code if isinstance(item, PrivySealError) else "value" for item in self.opened(task, result)}
        return code_of(result), "+".join(sorted(codes))

    def opened(self, task: Verified[TaskDocument], result: Result) -> list[Item]:
        """What a delegate sealed to the world's reader."""
        document = task.document
        place = Aad("answer", document.acct, document.keyring, version=task.digest)
        return unpack(self.world.reader.open(Sealed(result.sealed), place.encode(ANSWER)))

    async def asks(self, name: str, compact: str, **given: Any) -> tuple[str, ...]:
        """Hands over a task that the delegate can't judge yet: the digests that it asks for."""
        reply = await self.evil.tap(name).give(compact, **given)
        assert isinstance(reply, Need), f"the delegate answered {code_of(reply)}"
        return reply.digests


__all__ = ["CAPACITY", "Actor", "Stage", "until"]
