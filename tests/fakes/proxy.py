"""A real HTTP CONNECT proxy on loopback (RFC 9110 section 9.3.6), which remembers where it was asked to go."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from tests.fakes.listening import Listening


class ConnectProxy(Listening):
    """Relays bytes both ways; `url` is what a client sets as its proxy; `refusing` answers 403 instead."""

    def __init__(self, refusing: bool = False) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.refusing = refusing

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            self.targets.append(target.decode())
            if method != b"CONNECT" or self.refusing:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            host, _, port = target.decode().rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with asyncio.TaskGroup() as group:
                    group.create_task(_relay(reader, far_writer))
                    group.create_task(_relay(far_reader, writer))
            finally:
                far_writer.transport.abort()
        except (OSError, EOFError, ExceptionGroup):
            pass
        finally:
            writer.transport.abort()


async def _relay(source: StreamReader, sink: StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
    sink.write_eof()
