"""One HTTP connection, with limits that hold before anybody is known: how long and how large a request's head may be, and how
many requests are served at once.

uvicorn's own protocol has neither of the first for httptools, so that a stranger could fill the memory with headers or keep every
place taken by sending one slowly; beyond the last it answers without saying when to come back.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.errors import Overloaded

LARGEST_HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 10.0
CROWDED_SECONDS = 5
"""When to come back to a manager that serves as many requests as it may."""

REST_SECONDS = 5.0
"""How long the rest of a body may take that nobody waits for, since it was answered already."""


async def overloaded(_scope: Any, _receive: Any, send: Any) -> None:
    """The application of a manager that serves as many as it may: what it answers costs nothing."""
    why = Overloaded(
        "requests_too_many",
        "the manager serves as many requests at once as it may",
        "try again later, or raise connections in its settings",
        retry_after=CROWDED_SECONDS,
    )
    body = msgspec.json.encode(why.problem())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(CROWDED_SECONDS).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": why.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Connection(HttpToolsProtocol):
    """uvicorn's, closed without a word when a head is too large or too slow."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._serving = self.app
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A stranger has `HEAD_SECONDS` for his first head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to a head that isn't complete."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES and not self._complete_in(data):
                self.transport.close()
                return
            if self._deadline is None:
                self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        super().data_received(data)

    def _complete_in(self, data: bytes) -> bool:
        # One read may bring the end of a small head together with the beginning of a large body.
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= LARGEST_HEAD_BYTES

    def on_headers_complete(self) -> None:
        """The head is there; what follows is the body, which the endpoint bounds."""
        self._in_head = False
        self._forget_deadline()
        crowded = self._most is not None and max(len(self.connections), len(self.tasks)) >= self._most
        self.app = overloaded if crowded else self._serving
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head begins."""
        super().on_message_complete()
        self._forget_deadline()
        self._in_head = True
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        """Who was refused before he had sent everything may not keep his place by sending on and on."""
        super().on_response_complete()
        if not self._in_head and self.cycle.response_complete and self._deadline is None:
            self._deadline = self.loop.call_later(REST_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
