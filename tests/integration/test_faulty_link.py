"""The proxy of the fault suite does what it says: a fault that doesn't happen would prove nothing."""

from __future__ import annotations

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import pytest

from tests.fakes.faulty_link import DOWN, UP, FaultyLink, Way


class Echo:
    """Says back what it hears, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""
        self.writers: list[StreamWriter] = []

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(1000):
                self.heard += data
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, FaultyLink]]:
    one = Echo()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server, FaultyLink() as link:
        link.target = server.sockets[0].getsockname()[:2]
        yield one, link
    for writer in one.writers:
        writer.close()


async def test_it_passes_bytes_both_ways_and_the_end_of_them(echo: tuple[Echo, FaultyLink]) -> None:
    _, link = echo
    reader, writer = await asyncio.open_connection(*link.address)
    for size in (1, 100_000):
        writer.write(bytes(size))
        assert await reader.readexactly(size) == bytes(size)
    writer.write_eof()
    assert await reader.read() == b""
    assert link.passed == {UP: 100_001, DOWN: 100_001}
    writer.close()


@pytest.mark.parametrize(("ways", "arrived"), [((UP, DOWN), b""), ((UP,), b""), ((DOWN,), b"b")])
async def test_what_is_held_passes_in_no_held_direction_and_arrives_when_that_is_mended(
    echo: tuple[Echo, FaultyLink], ways: tuple[Way, ...], arrived: bytes
) -> None:
    one, link = echo
    reader, writer = await asyncio.open_connection(*link.address)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    link.hold(*ways)
    writer.write(b"b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)
    assert one.heard == b"a" + arrived
    link.mend()
    assert await reader.readexactly(1) == b"b"
    writer.close()


async def test_a_reset_is_told_to_both_ends_and_to_who_dials(echo: tuple[Echo, FaultyLink]) -> None:
    _, link = echo
    reader, writer = await asyncio.open_connection(*link.address)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    link.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    reader, again = await asyncio.open_connection(*link.address)
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    link.mend()
    reader, mended = await asyncio.open_connection(*link.address)
    mended.write(b"c")
    assert await reader.readexactly(1) == b"c"
    for one in (writer, again, mended):
        one.close()


async def test_a_slow_network_takes_its_time(echo: tuple[Echo, FaultyLink]) -> None:
    _, link = echo
    link.slow(bytes_per_second=10_000, latency_seconds=0.1)
    reader, writer = await asyncio.open_connection(*link.address)
    began = time.monotonic()
    writer.write(bytes(3_000))
    await reader.readexactly(3_000)
    # 0.3 s of bytes, and the delay of both ways.
    assert time.monotonic() - began >= 0.45
    writer.close()
