"""The delegate's health tells the truth: each part that fails really does, and is named with its code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from delegate.condition import Part
from delegate.daemon import Daemon
from delegate.health import HealthServer
from delegate.policy import LocalPolicy
from shared.documents.certificate import LIFETIME_SECONDS
from shared.documents.group import GroupDocument
from shared.messages import Drain
from tests.fakes.delegates import WorldClock, running
from tests.fakes.kinds import Gate
from tests.fakes.manager import FakeManager, until
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


def failing(daemon: Daemon) -> Iterator[tuple[str, str]]:
    """Parts and codes, as a probe is told them; each says what is wrong and is not ready."""
    ready, facts = daemon.ready()
    faults = facts["failing"]
    assert isinstance(faults, list)
    assert ready == (not faults)
    assert not faults or (facts["code"], facts["detail"]) == (faults[0]["code"], faults[0]["detail"])
    for fault in faults:
        assert fault["detail"]
        yield fault["part"], fault["code"]


def parts(daemon: Daemon) -> dict[str, str]:
    return dict(failing(daemon))


async def test_nothing_fails_where_tasks_are_taken(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        await until(lambda: daemon.ready()[0])
        assert parts(daemon) == {}


async def test_a_stream_that_is_down_is_told_with_the_reason(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        await until(lambda: daemon.ready()[0])
        await manager.stop()
        await until(lambda: parts(daemon) == {"stream": "manager_unreachable"})


async def test_a_delegate_that_the_manager_refuses_says_why(world: World) -> None:
    async with FakeManager(world) as manager, running(World(name="another account"), manager.url) as daemon:
        await until(lambda: parts(daemon) == {"stream": "certifier_unknown"})


async def test_an_expired_status_is_told(world: World) -> None:
    clock = WorldClock(world)
    async with FakeManager(world) as manager, running(world, manager.url, clock=clock) as daemon:
        await until(lambda: daemon.ready()[0])
        clock.ahead = world.status.document.exp - world.now - 1
        assert "status" not in parts(daemon)
        clock.ahead += 1
        assert parts(daemon)["status"] == "status_expired"


async def test_an_expired_certificate_is_told_until_it_is_renewed(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        await until(lambda: daemon.ready()[0])
        world.now += LIFETIME_SECONDS
        assert parts(daemon) == {"certificate": "certificate_expired"}
        daemon.wake()
        await until(lambda: parts(daemon) == {})


async def test_a_revoked_identity_is_told(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        link = await manager.connection()
        await until(lambda: daemon.ready()[0])
        await link.give([world.revise_status(keys=(link.kid,)).compact])
        await until(lambda: parts(daemon) == {"certificate": "delegate_revoked"})


async def test_a_group_of_which_the_status_knows_more_is_told_until_it_comes(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url, group="builders") as daemon:
        link = await manager.connection()
        await until(lambda: daemon.ready()[0])
        await link.give([world.revise_status(groups={"builders": 1}).compact])
        await until(lambda: parts(daemon) == {"group": "group_stale"})
        made = GroupDocument(v=1, acct=world.id, id="builders", rev=1, iat=world.now, tags=("gpu",))
        await link.give([world.publish(made).compact])
        await until(lambda: parts(daemon) == {})


async def test_an_excluded_keyring_is_told(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        link = await manager.connection()
        await until(lambda: daemon.ready()[0])
        await link.give([world.revise_status(keyrings={world.keyring.name: 2}).compact])
        await until(lambda: parts(daemon).get("keyring") == "generation_excluded")
        assert parts(daemon)["certificate"] == "generation_excluded"


async def test_a_keyring_file_that_is_older_than_the_account_is_told(world: World) -> None:
    old = world.keyring
    async with FakeManager(world) as manager, running(world, manager.url, keyring=old) as daemon:
        link = await manager.connection()
        await until(lambda: daemon.ready()[0])
        await link.give([world.rotate().compact])
        await until(lambda: parts(daemon).get("keyring") == "generation_missing")


async def test_draining_is_told_over_http_with_every_part(world: World) -> None:
    gate, policy = Gate(), LocalPolicy.parse('kinds = ["*"]', ["Local"])
    slow = world.publish(world.connector_document("gated", type="Gated"))
    async with (
        FakeManager(world) as manager,
        running(world, manager.url, kinds=gate.kinds(), policy=policy, drain_seconds=15.0) as daemon,
    ):
        link = await manager.connection()
        await until(lambda: daemon.ready()[0])
        await link.give(world.documents)
        await link.start(world.check(slow))
        await until(lambda: gate.waiting == 1)
        health = HealthServer(alive=daemon.alive, ready=daemon.ready, metrics=bytes, port=0)
        await health.start()
        try:
            assert (await ask(health.port))["failing"] == []
            daemon.end()
            await until(lambda: link.heard(Drain))
            told = await ask(health.port)
            assert (told["ready"], told["draining"], told["code"]) == (False, True, "delegate_draining")
            assert told["failing"] == [
                {
                    "part": "draining",
                    "code": "delegate_draining",
                    "detail": "the delegate is ending and takes no new tasks",
                    "hint": "",
                }
            ]
        finally:
            gate.opened.set()
            await health.close()


async def ask(port: int) -> dict[str, object]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    found: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def test_every_part_stands_in_the_documentation() -> None:
    from typing import get_args

    from manager.condition import Part as ManagersPart
    from tests.unit.test_operations_page import OPERATIONS

    text = OPERATIONS.read_text()
    assert all(f"| `{part}` | delegate |" in text for part in get_args(Part))
    assert all(f"| `{part}` | manager |" in text for part in get_args(ManagersPart))
