"""A delegate's heart without a stream: the real `delegate.tasks` with its trust, registry and policy, handed tasks directly.

heart = Heart(world, ["delegate", "region=eu"])
await heart.told(world.reveal([version]), stored=[version.record.raw])     # "ok", or the code of what it refused with
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import Surroundings
from delegate.secret_managers.registry import BUILT_IN, Registry
from delegate.tasks import Tasks
from delegate.trust import Trust
from delegate.zone import Zone
from shared.aad import Aad
from shared.canonical import digest
from shared.crypto.output import Item, unpack
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.errors import PrivySealError
from shared.labels import ANSWER
from shared.messages import Result, Task
from shared.values import Sealed
from tests.fakes.delegates import WorldClock
from tests.fakes.world import World


class _Delivery:
    def __init__(self) -> None:
        self.stop = asyncio.Event()

    def progressed(self, done: int, total: int) -> None: ...

    async def emit(self, index: int, data: bytes, opening: str = "") -> None: ...

    def lasts(self, seconds: float) -> None: ...


class Heart:
    """One delegate of the world, with those tags and of that group; it knows all that the world has published until now."""

    def __init__(self, world: World, tags: Sequence[str], group: str | None = None) -> None:
        self._world = world
        book, clock = world.book(), WorldClock(world)
        zone = Zone(world.keyring, book)
        policy = LocalPolicy.parse("", ["Local"])
        registry = Registry(BUILT_IN, Surroundings(zone, policy, secrets.token_bytes, clock))
        self.trust = Trust(book, zone, clock, group)
        self._tasks = Tasks(world.delegate, tags, self.trust, registry, policy, clock)

    async def result(self, compact: str, inputs: Sequence[bytes] = (), stored: Sequence[bytes] = ()) -> Result:
        """What it sends the manager."""
        return await self.given(Task(digest(compact), 1, compact, tuple(inputs), tuple(stored)))

    async def given(self, message: Task) -> Result:
        """What it sends the manager, whatever it was handed."""
        reply = (await self._tasks.perform(message, _Delivery())).reply
        assert isinstance(reply, Result), reply
        return reply

    async def items(self, task: Verified[TaskDocument], **given: Sequence[bytes]) -> list[Item]:
        """What it seals to the reader."""
        result = await self.result(task.compact, **given)
        document = task.document
        place = Aad("answer", document.acct, document.keyring, version=task.digest)
        return unpack(self._world.reader.open(Sealed(result.sealed), place.encode(ANSWER)))

    async def told(self, task: Verified[TaskDocument], **given: Sequence[bytes]) -> str:
        """The codes of the errors among them, or `ok`."""
        codes = [item.code for item in await self.items(task, **given) if isinstance(item, PrivySealError)]
        return "+".join(codes) or "ok"
