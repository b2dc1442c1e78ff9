"""Where Google's tokens come from, when it doesn't answer or something stands in between."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.auth.compute_engine import _metadata
from requests.exceptions import ConnectionError as NotConnected

from delegate.credentials.gcp_http import GcpHttp
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from tests.fakes.google import Google
from tests.fakes.google_stage import OWN, Stage


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    with Google() as one:
        yield one


@pytest.fixture
async def stage(google: Google, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    google.forget()
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCP_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nowhere")
    one = Stage(google)
    yield one
    await one.close()


@pytest.mark.parametrize("who", [{"credentials": "account.robot"}, OWN], ids=["a key", "the delegate's own"])
async def test_what_does_not_answer_holds_no_thread_that_others_need(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, who: dict[str, Any]
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", place)
        monkeypatch.setenv("GCE_METADATA_IP", place)
        # Longer than is waited below: a thread that it held would still be held.
        stage.call_seconds = 90.0
        endpoints = Endpoints.parse(f"http://{place}", "gcp_endpoints")
        asking = asyncio.create_task(stage.keys(who, stage.surroundings(gcp_endpoints=endpoints)).check())
        accepted, _ = await asyncio.get_running_loop().sock_accept(silent)
        with accepted:
            async with asyncio.timeout(30):
                assert await asyncio.to_thread(int) == 0
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def test_no_proxy_is_asked_for_what_the_delegate_is(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    # The delegate's machine may be one of Google's: whoever answers there, it isn't the proxy.
    monkeypatch.setattr("delegate.credentials.gcp_http._METADATA", frozenset({"127.0.0.2"}))
    http = GcpHttp(LocalPolicy.parse('kinds = ["*"]', []), 2.0)
    with listener:
        listener.setblocking(False)
        with pytest.raises(NotConnected):
            await asyncio.to_thread(http.ask, "GET", "http://127.0.0.2:1/computeMetadata/v1/", own=True)
        with pytest.raises(BlockingIOError):
            listener.accept()
    http.close()
