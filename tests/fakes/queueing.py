"""Tasks that may wait, submitted to a running manager, and a delegate that answers what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.canonical import blob_digest
from shared.documents.answer import AnswerDocument
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.messages import Credit, Result, Task
from shared.wire import submission_pb2 as pb
from tests.fakes.running import Manager
from tests.fakes.wire_delegate import PATIENCE_SECONDS, WireDelegate, wire_delegate

PROTOBUF = "application/x-protobuf"


async def submit(
    running: Manager,
    task: Verified[TaskDocument] | str,
    *,
    name: str = "administrator",
    query: str = "queue=1&wait=20",
    inputs: tuple[bytes, ...] = (),
) -> tuple[int, Any]:
    """Status, and the outcome or the problem."""
    compact = task if isinstance(task, str) else task.compact
    url = f"{running.url}/v1/accounts/{running.world.id}/tasks?{query}"
    headers = {**running.bearer(name), "Content-Type": PROTOBUF}
    body = pb.Submission(document=compact, inputs=inputs).SerializeToString()
    async with running.http.post(url, headers=headers, data=body) as reply:
        return reply.status, await _read(reply)


async def outcome(running: Manager, task: str, *, name: str = "administrator", wait: int = 20) -> tuple[int, Any]:
    """The same of what became of it."""
    url = f"{running.url}/v1/accounts/{running.world.id}/tasks/{task}/outcome?wait={wait}"
    async with running.http.get(url, headers=running.bearer(name)) as reply:
        return reply.status, await _read(reply)


async def _read(reply: Any) -> Any:
    body = await reply.read()
    if reply.content_type != PROTOBUF:
        return await reply.json(content_type=None)
    return pb.Outcome.FromString(body)


class Serving:
    """A delegate that answers everything with `code`; `given` are the ids of the tasks that it was given."""

    def __init__(self, wire: WireDelegate, code: Any) -> None:
        self.wire = wire
        self.code = code
        self.given: list[str] = []
        self.is_answering = asyncio.Event()
        self.is_answering.set()

    async def serve(self) -> None:
        """Until it is cancelled."""
        while True:
            task = await self.wire.hear(Task, None)
            self.given.append(task.id)
            await self.is_answering.wait()
            sealed = b"sealed to the reader " + task.id.encode()
            stored = tuple(b"record of " + one[:8] for one in task.inputs)
            world = self.wire.world
            document = AnswerDocument(
                v=1,
                acct=world.id,
                task=task.id,
                code=self.code,
                iat=world.now,
                sealed=blob_digest(sealed),
                stored=tuple(map(blob_digest, stored)),
            )
            await self.wire.say(Result(task.id, task.attempt, world.delegate.sign_document(document), sealed, stored))
            await self.wire.say(Credit(1))


@asynccontextmanager
async def serving(
    running: Manager, code: Any = "ok", credits: int = 4, answering: bool = True
) -> AsyncIterator[Serving]:
    """Connected, with so many places, of which the manager knows; answers at once unless told otherwise."""
    async with wire_delegate(running.world, running.configuration.delegate_urls[0]) as wire:
        one = Serving(wire, code)
        if not answering:
            one.is_answering.clear()
        serves = asyncio.create_task(one.serve())
        try:
            if credits:
                await wire.say(Credit(credits))
                await _counted_on(running, one)
            yield one
        finally:
            serves.cancel()
            await asyncio.gather(serves, return_exceptions=True)


async def begins(
    running: Manager, one: Serving, task: Verified[TaskDocument], *, query: str = "queue=1&wait=0"
) -> None:
    """That delegate has it, and answers nothing from now on."""
    one.is_answering.clear()
    status, told = await submit(running, task, query=query)
    assert (status, told.state) == (202, "running")


async def has_failed(running: Manager, task: str) -> None:
    """It does, with nobody waiting for its outcome."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await running.call("GET", f"tasks/{task}"))[1].get("state") != "failed":
            await asyncio.sleep(0.05)


async def _counted_on(running: Manager, one: Serving) -> None:
    """Until the manager has read of the places: what is submitted before that would find it busy."""
    need = {"keyring": "main", "gen": 1, "kinds": []}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not one.given:
            status, told = await running.call("POST", "plan", json=need)
            assert status == 200, told
            if any(able["free"] for able in told["candidates"] if able["delegate"] == one.wire.world.delegate.kid):
                return
            await asyncio.sleep(0.01)
