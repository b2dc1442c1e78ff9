"""Health and metrics on a local port: /healthz, /readyz, /metrics; /api/health and /api/metrics are aliases.

Promises: one bounded request for each connection, answered within five seconds and closed; whatever bytes
arrive, the server goes on; not ready is told as 503 with the reasons. Must not take anything from the request
but its method and path, nor change anything: whoever reaches the port may ask. HTTP/1.1 as in RFC 9112,
without a framework, since the delegate's core must stay small.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from shared.errors import Unavailable

REQUEST_BYTES: Final = 8192
REQUEST_SECONDS: Final = 5.0
CONNECTIONS: Final = 64
"""At once; further ones are closed unanswered, since a probe that hangs must not cost memory."""

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Fact = str | int | bool | list[dict[str, str]]

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class HealthServer:
    """Answers probes; `alive`, `ready` and `metrics` are asked anew for each request and must not block."""

    def __init__(
        self,
        *,
        alive: Callable[[], bool],
        ready: Callable[[], tuple[bool, Mapping[str, Fact]]],
        metrics: Callable[[], bytes],
        host: str = "127.0.0.1",
        port: int = 3460,
    ) -> None:
        self._alive, self._ready, self._metrics = alive, ready, metrics
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    @property
    def port(self) -> int:
        """Where it listens: the one that the system chose if 0 was wanted. Zero before the start."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else 0

    @property
    def answering(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen. Raises Unavailable when the port can't be had."""
        try:
            self._server = await asyncio.start_server(
                self._accept, self._host, self._port, limit=REQUEST_BYTES, backlog=CONNECTIONS
            )
        except OSError:
            raise Unavailable(
                "health_port_unavailable",
                f"the health server can't listen on {self._host} port {self._port}",
                "free that port, or choose another in the delegate's settings",
            ) from None

    async def close(self) -> None:
        """Stop listening and end what is being answered."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS:
            writer.transport.abort()
            return
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head, answer = await self._read(reader)
                if answer is not None:
                    await _write(writer, answer, with_body=head != "HEAD")
                    await _drain(reader, writer)
        except (OSError, TimeoutError):
            # Whoever asked has gone or never came to the point.
            pass
        finally:
            writer.transport.abort()

    async def _read(self, reader: StreamReader) -> tuple[str, Answer | None]:
        """The request's method and the answer to it; None for a connection that said nothing."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS / 2):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return "", _error(431, f"a request may have {REQUEST_BYTES} bytes")
        except asyncio.IncompleteReadError as error:
            return "", _error(400, "the request ends early") if error.partial else None
        except TimeoutError:
            return "", _error(408, "the request came too slowly")
        parts = head.partition(b"\r\n")[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/"):
            return "", _error(400, "this is not HTTP")
        method, target, version = parts
        if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
            return "", _error(505, "only HTTP/1.1 is spoken here")
        if method not in {b"GET", b"HEAD"}:
            return "", _error(405, "only GET and HEAD are answered here")
        return method.decode(), self._answer(target.partition(b"?")[0])

    def _answer(self, path: bytes) -> Answer:
        try:
            match path:
                case b"/healthz" | b"/api/health":
                    alive = self._alive()
                    return _json(200 if alive else 503, {"alive": alive})
                case b"/readyz":
                    ready, facts = self._ready()
                    return _json(200 if ready else 503, {**facts, "ready": ready})
                case b"/metrics" | b"/api/metrics":
                    return 200, _PROMETHEUS, self._metrics()
        except Exception:  # noqa: BLE001 (a probe is answered whatever happens)
            self._log.exception("health.failed")
            return _error(500, "the delegate can't tell; its log says why")
        return _error(404, "known are /healthz, /readyz and /metrics")


async def _write(writer: StreamWriter, answer: Answer, *, with_body: bool) -> None:
    status, content_type, body = answer
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status == 405:
        head.append("Allow: GET, HEAD")
    writer.write("\r\n".join([*head, "\r\n"]).encode() + (body if with_body else b""))
    await writer.drain()
    writer.write_eof()


async def _drain(reader: StreamReader, writer: StreamWriter) -> None:
    """Let the other side close first: unread bytes would make the close a reset, which may eat the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            left = 8 * REQUEST_BYTES
            while left > 0 and (read := await reader.read(REQUEST_BYTES)):
                left -= len(read)


def _json(status: int, facts: Mapping[str, Fact]) -> Answer:
    return status, _JSON, json.dumps(facts).encode() + b"\n"


def _error(status: int, detail: str) -> Answer:
    return _json(status, {"status": status, "detail": detail})
