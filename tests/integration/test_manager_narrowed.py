"""What waits when the last delegate that could have it becomes another one: it is refused as it would be if it came now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.messages import NewCertificate
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.wire_delegate import WireDelegate, wire_delegate
from tests.fakes.world import World
from tests.integration.test_manager_adversary import answer_of, delegate_url, publish, submit, taken

PATIENCE_SECONDS = 60.0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, World(now=int(time.time()))) as one:
        await found(one)
        yield one


async def waits(running: Manager) -> None:
    """Until a task waits for a busy delegate."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with running.http.get(f"{running.url}/metrics") as reply:
                if "\nprivyseal_manager_tasks_waiting 1.0\n" in await reply.text():
                    return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def waiting(
    running: Manager,
) -> AsyncIterator[tuple[Verified[ConnectorDocument], WireDelegate, asyncio.Task[tuple[int, Any]]]]:
    """A connector for delegates with a tag, the busy one that has it, and what a task for it came to."""
    world = running.world
    far = world.connector_with("far", (), type="Local", selectors=("zone:x",))
    await publish(running, far)
    async with wire_delegate(world, delegate_url(running), greet=False) as delegate:
        await delegate.greet(world.certificate(tags=("delegate", "zone:x")).compact)
        submitting = asyncio.create_task(submit(running, world.check(far), wait=60))
        await waits(running)
        yield far, delegate, submitting


@pytest.mark.parametrize("changes", [{"tags": ("delegate",)}, {"tags": ("delegate", "zone:x"), "scopes": ("org/o",)}])
async def test_a_certificate_without_what_a_waiting_task_needs_has_it_refused_and_not_wait_until_its_end(
    running: Manager, changes: dict[str, tuple[str, ...]]
) -> None:
    world = running.world
    async with waiting(running) as (far, delegate, submitting):
        await delegate.say(NewCertificate(world.certificate(**changes).compact))
        async with asyncio.timeout(PATIENCE_SECONDS):
            status, problem = await submitting
        assert (status, problem["code"]) == (412, "no_delegate")
        # As one that comes now, at once.
        again, fresh = await submit(running, world.check(far), wait=60)
        assert (again, fresh["code"]) == (412, "no_delegate")
        codes = [{reason["code"] for reason in row["reasons"]} for row in problem["delegates"]]
        assert codes == [{reason["code"] for reason in row["reasons"]} for row in fresh["delegates"]]
        assert codes in ([{"selectors_missing", "busy"}], [{"out_of_scope", "busy"}])


async def test_one_that_gets_it_back_in_time_is_served(running: Manager) -> None:
    world = running.world
    async with waiting(running) as (_, delegate, submitting):
        for tags in (("delegate",), ("delegate", "zone:x")):
            await delegate.say(NewCertificate(world.certificate(tags=tags).compact))
        await delegate.say(answer_of(world, await taken(delegate)))
        assert (await submitting)[0] == 200
