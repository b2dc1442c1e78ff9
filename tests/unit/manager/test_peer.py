"""What goes down a delegate's stream, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from manager.clock import Clock
from manager.fleet import Delegate
from manager.peer import NOTHING, Peer
from shared.codec import ManagerReader
from shared.messages import Documents, Heartbeat, Task
from shared.session import Side
from tests.unit.manager.test_fleet import connected


class _Context:
    """gRPC's, that keeps what was written; while it isn't open, a write waits."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.written: list[Any] = []
        self._reader = ManagerReader()

    async def write(self, wire: Any) -> None:
        await self.open.wait()
        self.written.append(self._reader.read(wire))


def staged() -> tuple[_Context, Peer, Delegate]:
    """A stream that is open, with one credit."""
    context, delegate = _Context(), connected("one", 1)
    peer = Peer(context, Clock(), lambda: 1)
    peer.session, peer.delegate = delegate.session, delegate
    delegate.send = peer.send
    return context, peer, delegate


async def test_what_a_delegate_is_owed_goes_before_a_task_that_was_sent_by_somebody_faster() -> None:
    context, peer, delegate = staged()
    delegate.owed += ["group", "status"]
    # Who published it hasn't had his turn yet.
    telling = asyncio.create_task(delegate.tell(NOTHING))
    task = Task("id", 1, "document")
    delegate.session.record(Side.MANAGER, task)
    await peer.send(task)
    await telling
    assert context.written == [Documents(("group", "status")), task]
    assert delegate.owed == []


async def test_what_is_owed_while_another_message_waits_for_the_stream_goes_before_what_comes_after_it() -> None:
    context, peer, delegate = staged()
    context.open.clear()
    first = asyncio.create_task(peer.send(Heartbeat()))
    await asyncio.sleep(0)
    second = asyncio.create_task(peer.send(Documents(("pinned",))))
    await asyncio.sleep(0)
    delegate.owed.append("group")
    context.open.set()
    await asyncio.gather(first, second)
    assert context.written == [Heartbeat(), Documents(("group",)), Documents(("pinned",))]


async def test_what_is_owed_is_not_lost_with_whoever_was_sending_it() -> None:
    context, peer, delegate = staged()
    delegate.owed.append("group")
    context.open.clear()
    sending = asyncio.create_task(peer.send(Heartbeat()))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    context.open.set()
    await delegate.tell(NOTHING)
    assert context.written == [Documents(("group",))]


async def test_nothing_is_said_where_nothing_is_owed() -> None:
    context, _, delegate = staged()
    await delegate.tell(NOTHING)
    assert context.written == []
