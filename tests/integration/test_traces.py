"""Traces through real programs to a real receiver: one task is one trace, and nothing that is secret is in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from client.dev import DevEnvironment
from client.sdk import Client
from shared.canonical import sha256
from shared.errors import NotFound
from shared.tracing import ATTRIBUTES, NAMES
from tests.fakes.collector import Collector, Seen, collector

REMOTE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NAME, VALUE = "zqcanaryname", b"zq-canary-value-of-a-secret"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
async def environment(tmp_path: Path, collected: Collector) -> AsyncIterator[DevEnvironment]:
    wanted = ["--otlp-endpoint", collected.url]
    async with DevEnvironment(tmp_path / "dev", manager_options=wanted, delegate_options={"*": wanted}) as one:
        yield one


def traced(environment: DevEnvironment, endpoint: str, traceparent: str = "") -> Client:
    """A client of the environment's that sends its spans too."""
    with environment_of(endpoint, traceparent):
        return environment.client()


class environment_of:  # noqa: N801 (reads as what it does)
    """The two variables, for as long as a client is made."""

    def __init__(self, endpoint: str, traceparent: str) -> None:
        self._patch = pytest.MonkeyPatch()
        self._wanted = {"PRIVYSEAL_OTLP_ENDPOINT": endpoint, "TRACEPARENT": traceparent}

    def __enter__(self) -> None:
        for name, value in self._wanted.items():
            self._patch.setenv(name, value)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


async def settled(collected: Collector, name: str, count: int) -> list[Seen]:
    return await asyncio.to_thread(collected.wait_for, name, count)


async def test_one_task_is_one_trace_from_the_client_to_the_delegate(
    environment: DevEnvironment, collected: Collector
) -> None:
    async with environment.client() as client:
        await client.store(f"account.{NAME}", VALUE)
    async with traced(environment, collected.url, REMOTE) as client:
        assert (await client.reveal(f"account.{NAME}")).reveal() == VALUE
    (begun,) = await settled(collected, "client.task", 1)
    trace = begun.trace
    assert (trace, begun.parent) == (REMOTE[3:35], REMOTE[36:52])
    until = time.monotonic() + 45
    while len(spans := {one.name: one for one in collected.spans if one.trace == trace}) < len(NAMES):
        assert time.monotonic() < until, f"only {sorted(spans)} came"
        await asyncio.sleep(0.05)
    assert spans.keys() == NAMES
    parents = {
        name: next(one.name for one in spans.values() if one.span == spans[name].parent)
        for name in NAMES - {"client.task"}
    }
    assert parents == {
        "manager.task": "client.task",
        "manager.authenticate": "manager.task",
        "manager.warrant": "manager.task",
        "manager.queue": "manager.task",
        "manager.dispatch": "manager.task",
        "delegate.task": "manager.dispatch",
        "delegate.verify": "delegate.task",
        "delegate.secrets": "delegate.task",
        "delegate.answer": "delegate.task",
    }
    assert {one.service for one in spans.values()} == {"privyseal", "privyseal-manager", "privyseal-delegate"}
    for name in ("client.task", "manager.task", "delegate.task"):
        assert spans[name].attributes["privyseal.op"] == "reveal"
        assert spans[name].attributes["privyseal.code"] == "ok"
        assert spans[name].attributes["privyseal.targets"] == 1
    assert (
        len({spans[name].attributes["privyseal.task"] for name in ("client.task", "manager.task", "delegate.task")})
        == 1
    )
    assert spans["delegate.secrets"].attributes["privyseal.kind"] == "Local"
    assert spans["delegate.secrets"].attributes["privyseal.failures"] == 0
    assert spans["manager.task"].attributes["privyseal.account"] == sha256(environment.account.encode()).hex()[:16]


async def test_nothing_secret_and_no_name_is_in_what_is_exported(
    environment: DevEnvironment, collected: Collector
) -> None:
    async with traced(environment, collected.url) as client:
        await client.store(f"account.{NAME}", VALUE)
        await client.reveal(f"account.{NAME}")
        with pytest.raises(NotFound):
            await client.reveal(f"account.{NAME}missing")
        account, kid = client.account.id, client.account.identity.kid
        secret = (await client.directory.one(client.secrets.reference(f"account.{NAME}"))).secret.document.id
    await settled(collected, "client.task", 2)
    await settled(collected, "delegate.task", 2)
    exported = b"".join(collected.bodies)
    for hidden in (
        VALUE,
        NAME.encode(),
        account.encode(),
        kid.encode(),
        secret.encode(),
        b"127.0.0.1",
        b"alpha",
        b"localhost",
    ):
        assert hidden not in exported, hidden
    allowed = {f"privyseal.{name}" for name in ATTRIBUTES}
    assert all(one.attributes.keys() <= allowed for one in collected.spans)
    assert all(one.keys() == {"service.name", "service.version"} for one in collected.resources)


async def test_a_collector_that_hangs_or_is_gone_holds_up_no_task(
    environment: DevEnvironment, collected: Collector
) -> None:
    async with environment.client() as client:
        await client.store(f"account.{NAME}", VALUE)
    collected.held.clear()
    async with traced(environment, "http://127.0.0.1:9") as client:
        await client.reveal(f"account.{NAME}")
        began = time.monotonic()
        for _ in range(100):
            await client.reveal(f"account.{NAME}")
        assert time.monotonic() - began < 60
        assert client.account.tracer.exported == 0
    # What was dropped is counted: the first batch is given up after two seconds.
    until = time.monotonic() + 45
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{environment.url}/metrics") as reply:
                lines = (await reply.text()).splitlines()
            dropped = next(line for line in lines if line.startswith("privyseal_manager_spans_dropped_total "))
            if float(dropped.split()[1]) > 0:
                break
            assert time.monotonic() < until, "nothing is counted as dropped"
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("traceparent", ["zq-canary", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "x" * 5000])
async def test_a_traceparent_that_is_none_changes_nothing(
    environment: DevEnvironment, collected: Collector, traceparent: str
) -> None:
    async with traced(environment, collected.url, traceparent) as client:
        await client.store(f"account.{NAME}", VALUE)
        assert (await client.reveal(f"account.{NAME}")).reveal() == VALUE
        with pytest.raises(NotFound):
            await client.reveal("account.nowhere")
    spans = await settled(collected, "client.task", 2)
    assert all(one.parent == "" for one in spans)


async def test_who_cannot_authenticate_leaves_no_span(environment: DevEnvironment, collected: Collector) -> None:
    url = f"{environment.url}/v1/accounts/{environment.account}/tasks"
    async with aiohttp.ClientSession() as http:
        for _ in range(5):
            async with http.post(url, data=b"", headers={"traceparent": REMOTE, "Authorization": "Bearer x"}) as reply:
                assert reply.status == 401
    async with environment.client() as client:
        await client.store(f"account.{NAME}", VALUE)
    await settled(collected, "manager.task", 1)
    assert all(one.trace != REMOTE[3:35] for one in collected.spans)
