"""What a client says of a task that may happen once and whose connection broke: never that it was refused, nor that it isn't there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
import pytest

from client.account import Account
from client.dispatch import submit
from client.state import State
from client.tasks import SignedTask, Subject, sign_task
from client.transport import Transport
from shared.canonical import digest
from shared.crypto.seal import SealingKey
from shared.errors import PrivySealError, Unavailable
from tests.fakes.faulty_link import FaultyLink
from tests.fakes.world import World

Ending = Literal["cut", "unknown task", "busy"]


class Manager:
    """Cuts off whoever submits a task, and answers as told when it is asked what became of it."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method = head.partition(" ")[0]
        self.asked.append(method)
        if method == "GET" and self.ending != "cut":
            problem = {"title": "NotFound", "code": "not_found", "detail": "there is no such task"}
            if self.ending == "busy":
                problem = {"title": "Unavailable", "code": "store_unavailable", "detail": "the disk is full"}
            body = msgspec.json.encode(problem)
            status = b"404" if self.ending == "unknown task" else b"503"
            writer.write(
                b"HTTP/1.1 %b X\r\nContent-Type: application/problem+json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(body), body)
            )
            await writer.drain()
        writer.transport.abort() if method == "POST" else writer.close()


@pytest.fixture
def world() -> World:
    return World()


def deletion(world: World) -> SignedTask:
    subject = Subject(world.secret("token"), world.connector, 1, digest("x.y.z"), latest=True)
    reader = SealingKey(secrets.token_bytes(32))
    return sign_task(world.book(), world.administrator, "delete", [subject], reader, world.now, to=world.delegate.kid)


@asynccontextmanager
async def asking(port: int, world: World) -> AsyncIterator[Account]:
    transport = Transport(f"http://127.0.0.1:{port}", world.id, world.administrator, lambda: world.now)
    try:
        yield Account(transport, world.administrator, State(world.id), lambda: world.now)
    finally:
        await transport.close()


async def refused(account: Account, task: SignedTask) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await submit(account, task, 10.0)
    return caught.value


@pytest.mark.parametrize("ending", ["cut", "unknown task", "busy"])
async def test_a_task_that_was_cut_off_on_its_way_and_isnt_known_has_an_unknown_outcome(
    world: World, ending: Ending
) -> None:
    manager = Manager(ending)
    server = await asyncio.start_server(manager.serve, "127.0.0.1", 0)
    async with server, asking(server.sockets[0].getsockname()[1], world) as account:
        why = await refused(account, deletion(world))
    assert (type(why), why.code) == (Unavailable, "outcome_unknown")
    # Until it can't begin any more.
    assert "120 seconds" in why.hint
    assert manager.asked.count("POST") == 1


async def test_a_task_that_never_left_is_said_to_have_found_no_manager_and_is_tried_again(world: World) -> None:
    async with FaultyLink() as link:
        port = link.address[1]
    async with asking(port, world) as account:
        why = await refused(account, deletion(world))
    assert (type(why), why.code) == (Unavailable, "manager_unreachable")


async def test_a_task_that_never_left_reaches_a_manager_that_comes_up_meanwhile(world: World) -> None:
    async with FaultyLink() as link:
        port = link.address[1]
    manager = Manager("unknown task")
    async with asking(port, world) as account:
        refusing = asyncio.create_task(refused(account, deletion(world)))
        server = await asyncio.start_server(manager.serve, "127.0.0.1", port)
        async with server:
            assert (await refusing).code == "outcome_unknown"
    assert manager.asked.count("POST") == 1


async def test_what_is_still_being_asked_when_a_client_closes_opens_no_connection_of_its_own_afterwards(
    world: World,
) -> None:
    """Of two things asked side by side the first refusal ends the whole; the other is asked again when it is lost."""
    manager = Manager("busy")
    server = await asyncio.start_server(manager.serve, "127.0.0.1", 0)
    async with server:
        async with asking(server.sockets[0].getsockname()[1], world) as account:
            asked = asyncio.create_task(account.ask("GET", "tasks"))
            async with asyncio.timeout(10):
                while not manager.asked:
                    await asyncio.sleep(0.005)
        with pytest.raises(Unavailable):
            await asked
        assert account.transport._session is None
