"""What a hostile manager answers over HTTP: whatever it is, the client ends with an error of ours, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from client.account import MOST_PAGES, Account, Pages
from client.directory import Known
from client.state import State
from client.transport import Transport
from client.versions import versions_of
from client.views import Views
from shared.crypto.identity import Identity
from shared.errors import Malformed, NotFound, Unavailable
from tests.fakes.world import World


@asynccontextmanager
async def answering(answer: Callable[[str, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A port where each connection gets one answer to its request's path."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await answer(head.split(b" ")[1].decode(), writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def reply(body: Any, status: int = 200, **headers: str) -> Callable[[str, asyncio.StreamWriter], Awaitable[None]]:
    """The same JSON for every path."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        content = msgspec.json.encode(body)
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + content)
        await writer.drain()

    return answer


@asynccontextmanager
async def asking(port: int, world: World, **options: Any) -> AsyncIterator[Account]:
    transport = Transport(f"http://127.0.0.1:{port}", world.id, world.administrator, lambda: world.now, **options)
    try:
        yield Account(transport, world.administrator, State(world.id), lambda: world.now)
    finally:
        await transport.close()


@pytest.mark.parametrize("digits", ["²", "٣", "9" * 5000, "-1", "1e9"])
async def test_a_number_that_is_none_in_a_header_is_ignored(digits: str) -> None:
    world = World()
    problem = {"code": "busy", "title": "Conflict", "detail": "no"}
    async with answering(reply(problem, 409, Retry_After=digits)) as port, asking(port, world) as account:
        with pytest.raises(Exception, match="the manager says: no") as caught:
            await account.ask("POST", "plan", json={})
        assert "retry_after" not in caught.value.facts  # type: ignore[attr-defined]
    chain = [one.compact for one in (world.account_document, world.status, world.keyring_document)]
    async with answering(reply({"documents": chain}, Privyseal_Time=digits)) as port, asking(port, world) as account:
        await account.sync()
        assert account.skew_seconds == 0


async def test_an_answer_that_comes_drop_by_drop_ends_in_time() -> None:
    async def drip(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with answering(drip) as port, asking(port, World(), reply_seconds=0.05) as account, asyncio.timeout(10):
        with pytest.raises(Unavailable, match="in time"):
            await account.ask("POST", "plan", json={})


async def test_a_redirect_is_not_followed() -> None:
    async with (
        answering(reply({})) as elsewhere,
        answering(reply({}, 307, Location=f"http://127.0.0.1:{elsewhere}/")) as port,
        asking(port, World()) as account,
    ):
        with pytest.raises(Malformed, match="HTTP status 307"):
            await account.ask("GET", "trust")


async def test_a_list_that_never_ends_is_given_up() -> None:
    world = World()
    secret = world.secret("password")
    async with (
        answering(reply({"versions": [], "tasks": [], "next": "again"})) as port,
        asking(port, world) as account,
    ):
        with pytest.raises(Malformed, match="doesn't end"):
            await versions_of(account, Known(secret, world.connector))
        with pytest.raises(Malformed, match="doesn't end"):
            await Views(account).tasks()


def test_a_list_of_ever_new_pages_is_given_up_as_well() -> None:
    pages = Pages()
    for number in range(MOST_PAGES):
        assert pages.go_on(str(number)) == str(number)
    with pytest.raises(Malformed, match="doesn't end"):
        pages.go_on("one more")


@pytest.mark.parametrize("shown", ["delegate", "name", "tags", None])
async def test_a_certificate_shown_for_another_delegate_certifies_nobody(shown: str | None) -> None:
    """Else the name of a delegate could be made to stand for any key, an administrator's for one, when it is revoked."""
    world = World()
    certificate = world.certificate().document
    row: dict[str, Any] = {
        "delegate": Identity.generate().kid,
        "name": "other",
        "tags": ["other"],
        "keyring": "main",
        "certificate": world.certificate().compact,
    }
    honest = {"delegate": world.delegate.kid, "name": certificate.name, "tags": list(certificate.tags)}
    row = {**row, **honest, **({} if shown is None else {shown: row[shown]})}
    documents = [one.compact for one in (world.account_document, world.status, world.keyring_document)]
    async with answering(reply({"documents": documents, "delegates": [row]})) as port, asking(port, world) as account:
        views = Views(account)
        (told,) = await views.delegates()
        assert told["certified"] == ("yes" if shown is None else "certificate_other")
        if shown is None:
            assert await views.thumbprint(certificate.name) == world.delegate.kid
        else:
            with pytest.raises(NotFound, match="certified"):
                await views.thumbprint(row["name"])


async def test_the_environment_gives_a_proxy_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc has passwords for other programs, and a log of TLS keys is for nobody."""
    (tmp_path / "netrc").write_text("default login me password for-another-program\n")
    (tmp_path / "netrc").chmod(0o600)
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    world = World()
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("https_proxy", raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{port}")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        transport = Transport("https://manager.invalid", world.id, world.administrator, lambda: world.now)
        with pytest.raises(Unavailable, match="can't be reached"):
            await transport.request("POST", "/v1/x")
        await transport.close()
    assert asked[0].startswith(b"CONNECT manager.invalid:443 ")
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in asked[0]
    assert not (tmp_path / "keys").exists()
