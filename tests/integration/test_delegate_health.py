"""The delegate's health server over real connections: what it answers, and that no bytes stop it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import delegate.health
from delegate.health import CONNECTIONS, REQUEST_BYTES, HealthServer
from shared.errors import Unavailable

WITHIN_SECONDS = 30


@dataclass
class Delegate:
    """What the server is asked about."""

    alive: bool = True
    readiness: tuple[bool, dict[str, str | int | bool]] = (True, {"connected": True})
    broken: bool = False
    asked: list[str] = field(default_factory=list)

    def is_alive(self) -> bool:
        self.asked.append("alive")
        return self.alive

    def is_ready(self) -> tuple[bool, Mapping[str, str | int | bool]]:
        if self.broken:
            raise RuntimeError("zq-canary")
        return self.readiness

    def figures(self) -> bytes:
        return b"up 1\n"

    def server(self, port: int = 0) -> HealthServer:
        return HealthServer(alive=self.is_alive, ready=self.is_ready, metrics=self.figures, port=port)


@pytest.fixture
def observed() -> Delegate:
    return Delegate()


@pytest.fixture
async def port(observed: Delegate) -> AsyncIterator[int]:
    server = observed.server()
    assert server.port == 0
    await server.start()
    yield server.port
    await server.close()


async def exchange(port: int, request: bytes, *, then_end: bool = False) -> bytes:
    """Everything that the server says to these bytes until it closes."""
    async with asyncio.timeout(WITHIN_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            if then_end:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    head, _, body = (await exchange(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).partition(
        b"\r\n\r\n"
    )
    first, *fields = head.decode().split("\r\n")
    return int(first.split()[1]), dict(each.split(": ", 1) for each in fields), body


@pytest.mark.parametrize("path", ["/healthz", "/api/health", "/healthz?verbose=1"])
async def test_a_living_delegate_says_so(port: int, observed: Delegate, path: str) -> None:
    status, fields, body = await ask(port, path)
    assert (status, json.loads(body)) == (200, {"alive": True})
    assert fields["Connection"] == "close"
    assert int(fields["Content-Length"]) == len(body)
    observed.alive = False
    assert (await ask(port, path))[0] == 503


async def test_a_delegate_that_is_not_ready_tells_why(port: int, observed: Delegate) -> None:
    assert (await ask(port, "/readyz"))[0] == 200
    observed.readiness = (False, {"connected": False, "status": "expired", "ready": True})
    status, fields, body = await ask(port, "/readyz")
    assert (status, json.loads(body)) == (503, {"connected": False, "status": "expired", "ready": False})
    assert fields["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/metrics", "/api/metrics"])
async def test_metrics_are_in_prometheus_text_format(port: int, path: str) -> None:
    status, fields, body = await ask(port, path)
    assert (status, body) == (200, b"up 1\n")
    assert fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_head_answers_as_get_without_the_body(port: int) -> None:
    status, fields, body = await ask(port, "/metrics", "HEAD")
    assert (status, fields["Content-Length"], body) == (200, "5", b"")


async def test_other_methods_and_paths_are_refused(port: int, observed: Delegate) -> None:
    status, fields, _ = await ask(port, "/healthz", "POST")
    assert (status, fields["Allow"]) == (405, "GET, HEAD")
    assert (await ask(port, "/"))[0] == 404
    assert (await ask(port, "/healthz/"))[0] == 404
    assert observed.asked == []


async def test_a_fault_in_what_is_asked_is_a_500_without_its_text(port: int, observed: Delegate) -> None:
    observed.broken = True
    status, _, body = await ask(port, "/readyz")
    assert status == 500
    assert b"canary" not in body
    assert (await ask(port, "/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /healthz FTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n\r\n", 505),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789", 200),
        (b"GET /" + b"x" * REQUEST_BYTES + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 4 * REQUEST_BYTES, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
async def test_each_connection_gets_one_answer(port: int, request_bytes: bytes, status: int) -> None:
    answer = await exchange(port, request_bytes, then_end=True)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"Connection: close") == 1


async def test_a_request_that_ends_early_is_told_and_one_that_never_came_is_not(port: int) -> None:
    assert (await exchange(port, b"GET /healthz HTTP/1.1\r\n", then_end=True)).startswith(b"HTTP/1.1 400 ")
    assert await exchange(port, b"", then_end=True) == b""


async def test_a_slow_request_ends_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegate.health, "REQUEST_SECONDS", 0.2)
    assert (await exchange(port, b"GET /healthz HTTP/1.1\r\n")).startswith(b"HTTP/1.1 408 ")


async def test_somebody_who_does_not_read_is_cut_in_time(observed: Delegate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegate.health, "REQUEST_SECONDS", 0.3)
    server = HealthServer(alive=observed.is_alive, ready=observed.is_ready, metrics=lambda: b"x" * 50_000_000, port=0)
    await server.start()
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            loop = asyncio.get_running_loop()
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", server.port))
                await loop.sock_sendall(client, b"GET /metrics HTTP/1.1\r\n\r\n")
                while server.answering == 0:
                    await asyncio.sleep(0)
                while server.answering > 0:
                    await asyncio.sleep(0.01)
    finally:
        await server.close()


async def test_too_many_connections_are_closed_and_later_ones_answered(port: int) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        with suppress(ConnectionError):
            assert await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        answer = b""
        while not answer:
            with suppress(ConnectionError):
                answer = await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_closing_ends_what_is_open_and_may_be_done_twice(observed: Delegate) -> None:
    server = observed.server()
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /hea")
    async with asyncio.timeout(WITHIN_SECONDS):
        while server.answering == 0:
            await asyncio.sleep(0)
        await server.close()
        await server.close()
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_taken_port_is_told(port: int, observed: Delegate) -> None:
    with pytest.raises(Unavailable, match=f"port {port}"):
        await observed.server(port).start()


_pieces = st.sampled_from(
    [
        b"GET ",
        b"HEAD ",
        b"/healthz",
        b"/readyz",
        b"/metrics",
        b" HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b":",
        b" ",
        b"\x00",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_pieces | st.binary(max_size=40), max_size=12), st.booleans())
@example([b"\xff" * 9000, b"\r\n\r\n"], True)
def test_no_bytes_stop_it(requests: list[bytes], whole: bool) -> None:
    async def run() -> None:
        server = Delegate().server()
        await server.start()
        try:
            answer = await exchange(server.port, b"".join(requests), then_end=True)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            assert (await ask(server.port, "/healthz", "GET" if whole else "HEAD"))[0] == 200
        finally:
            await server.close()

    asyncio.run(run())
