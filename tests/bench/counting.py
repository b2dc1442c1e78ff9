"""Counts the requests that a provider gets, each where the kind can't tell the difference.

    async with counting(servers, "moto", subject) as calls:     # the subject calls through it from here on
        calls()                                                  # requests since the last time

Servers of plain HTTP are asked through a proxy on loopback; the stand-ins for Google and Azure (gRPC, TLS) keep a log of all
that reaches them, logins and refusals included.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
from aiohttp import ClientSession, DummyCookieJar, web
from msgspec import structs

from delegate.endpoints import Endpoints
from tests.contract.subjects import Servers, Subject
from tests.servers.https import Https

Calls = Callable[[], int]
_HOP = {"connection", "content-encoding", "content-length", "host", "keep-alive", "transfer-encoding"}
_LARGEST = 16 * 1024 * 1024


@asynccontextmanager
async def counting(servers: Servers, server: str, subject: Subject) -> AsyncIterator[Calls]:
    """Of the requests to that attribute of `Servers`; "" for a kind that calls nobody."""
    match server:
        case "":
            yield lambda: 0
        case "google":
            yield _since(lambda: len(servers.google.calls) + len(servers.google.http.paths))
        case "onepassword":
            yield _since(lambda: len(servers.onepassword.requests))
        case "conjur" | "ccp":
            site: Https = getattr(servers, server)
            yield _since(lambda: len(site.requests))
        case "azure":
            with _log_of(servers.azure) as total:
                yield _since(total)
        case "kubernetes":
            yield _since(lambda: len(servers.kubernetes.requests))
        case _:
            upstream: str = getattr(servers, server).url
            async with _proxy(upstream) as (url, calls):
                _lead(subject, upstream, url)
                yield calls


def _since(total: Callable[[], int]) -> Calls:
    seen = total()

    def since() -> int:
        nonlocal seen
        before, seen = seen, total()
        return seen - before

    return since


@contextmanager
def _log_of(azure: Any) -> Iterator[Callable[[], int]]:
    """Its own list leaves out what carries no token: all that it answers is counted."""
    answered, count = azure.answered, 0

    def logged(*request: Any) -> Any:
        nonlocal count
        count += 1
        return answered(*request)

    azure.answered = logged
    try:
        yield lambda: count
    finally:
        del azure.answered


def _lead(subject: Subject, upstream: str, url: str) -> None:
    """Wherever the subject has the server's address, it has the proxy's now."""
    spec = msgspec.json.encode(subject.connector.spec).replace(upstream.encode(), url.encode())
    subject.connector = structs.replace(subject.connector, spec=msgspec.json.decode(spec))
    subject.endpoints = Endpoints({name: one.replace(upstream, url) for name, one in subject.endpoints.urls.items()})


@asynccontextmanager
async def _proxy(upstream: str) -> AsyncIterator[tuple[str, Calls]]:
    count = 0
    async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            nonlocal count
            count += 1
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
            body, url = await request.read(), upstream + request.raw_path
            async with session.request(request.method, url, data=body, headers=headers, allow_redirects=False) as got:
                told = {name: value for name, value in got.headers.items() if name.lower() not in _HOP}
                return web.Response(body=await got.read(), status=got.status, headers=told)

        application = web.Application(client_max_size=_LARGEST)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", _since(lambda: count)
        finally:
            await runner.cleanup()
