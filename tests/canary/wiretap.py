"""A wiretap: relays one loopback port to another and keeps every byte, both ways.

Plain text on loopback, so that what is kept is what was said.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from types import TracebackType
from typing import Self

RETRY_SECONDS = 0.02


class Wiretap:
    """Listens on `port` from the start; `target` is where it relays to, which may come and go."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.there = bytearray()
        """What went from clients to the server."""
        self.back = bytearray()
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for one in list(self._relays):
            one.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self.connections += 1
        try:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            self._relays.discard(task)
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, onward, self.there))
                group.create_task(self._copy(onward_reader, writer, self.back))
        except* OSError:
            pass
        finally:
            self._relays.discard(task)
            for one in (onward, writer):
                one.close()
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    @staticmethod
    async def _copy(reader: StreamReader, writer: StreamWriter, kept: bytearray) -> None:
        while data := await reader.read(64 * 1024):
            kept += data
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
