"""A TCP server on loopback that serves each connection in a task of its own, and ends with all of them."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from types import TracebackType
from typing import Self


class Listening:
    """Subclasses say in `_serve` what happens with a connection."""

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._server: asyncio.Server | None = None
        self._has_ended = False
        self._serving: dict[asyncio.Task[None], list[StreamWriter]] = {}
        """Each connection's task, with what it writes to: who dialled first."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that programs dial."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return host, port

    @property
    def url(self) -> str:
        """The same as a URL."""
        host, port = self.address
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._has_ended = False
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=self._limit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._has_ended = True
        self._server.close()
        writers = [writer for each in self._serving.values() for writer in each]
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        # A task that hadn't begun when it was cancelled has closed nothing.
        for writer in writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._has_ended:
            # It was accepted just before.
            writer.transport.abort()
            return
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving[serving] = [writer]
        serving.add_done_callback(self._serving.pop)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        raise NotImplementedError
