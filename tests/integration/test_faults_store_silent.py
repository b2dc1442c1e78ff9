"""A database whose machine hangs: connections stay open and nothing is said on them. Readiness says so, requests end, all goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from shared.errors import Unavailable
from tests.fakes.faulty_site import FaultySite, said
from tests.fakes.traffic import Traffic
from tests.integration.test_faults_store import Postgres, begun, site_over, streams

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 90.0
BOUND_SECONDS = 60.0
"""Far above what a request waits for a silent database at most, and far below for ever."""


class Hanging(Postgres):
    """A server of our own whose processes can be held still."""

    @contextmanager
    def silent(self) -> Iterator[None]:
        """As a machine that swaps, or a disk that has gone: every process is there, and none goes on."""
        server = int((self._data / "postmaster.pid").read_text().split()[0])
        held: list[int] = []
        try:
            for pid in [server, *self._children(server)]:
                os.kill(pid, signal.SIGSTOP)
                held.append(pid)
            yield
        finally:
            for pid in reversed(held):
                os.kill(pid, signal.SIGCONT)

    @staticmethod
    def _children(server: int) -> Iterator[int]:
        """Listed once the server itself is still, so that none is missed."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = status.parent.name, status.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(rest[1]) == server:
                yield int(pid)


@pytest.fixture(scope="module")
def server() -> Iterator[Hanging]:
    with begun(Hanging) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(server: Hanging, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultySite]:
    async with site_over(server, tmp_path_factory.mktemp("silent")) as running:
        yield running


class Asked:
    """What `/readyz` says, asked again and again."""

    def __init__(self, site: FaultySite) -> None:
        self._url = f"{site.url}/readyz"

    async def once(self) -> dict[str, Any]:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            aiohttp.ClientSession() as session,
            session.get(self._url) as reply,
        ):
            told: dict[str, Any] = await reply.json()
            assert (reply.status == 200) == (told["status"] == "ready"), told
            return told

    async def until(self, *codes: str) -> dict[str, Any]:
        """Waits for one of these; "" is being ready."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (told := await self.once()).get("code", "") not in codes:
            assert time.monotonic() < until, told
            await asyncio.sleep(0.05)
        return told


async def is_refused(site: FaultySite, traffic: Traffic) -> None:
    """Waits until a client gave up, and several tasks ended at the manager, each in its time; clients try again by themselves."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended = [one for one in said(site.manager, "task.finished") if one["code"] == "store_unavailable"]
        if len(ended) >= 4 and "store_unavailable" in [one.code for one in traffic.told.errors]:
            break
        assert time.monotonic() < until, (ended, traffic.told.errors)
        await asyncio.sleep(0.2)
    assert all(one["duration_ms"] < BOUND_SECONDS * 1000 for one in ended)


async def test_a_postgresql_that_hangs_is_told_ends_requests_and_loses_nothing(
    site: FaultySite, server: Hanging
) -> None:
    before, asked = streams(site), Asked(site)
    async with Traffic(site) as traffic:
        await traffic.goes_on()
        with server.silent():
            told = await asked.until("store_silent")
            assert [one["part"] for one in told["failing"]] == ["store"]
            assert told["failing"][0]["hint"] and "seconds" in told["failing"][0]["detail"]
            # However many ask, each hears it, and none of them waits for the database.
            assert {one["status"] for one in await asyncio.gather(*(asked.once() for _ in range(40)))} == {"not ready"}
            await is_refused(site, traffic)
            assert (await asked.once())["code"] in {"store_silent", "store_unavailable"}
        await asked.until("")
        await traffic.goes_on()
    assert {type(one) for one in traffic.told.errors} == {Unavailable}
    assert all(one.hint for one in traffic.told.errors)
    assert streams(site) == before
    await traffic.settle()


async def test_a_postgresql_that_hangs_while_nobody_asks_anything_of_it_is_noticed(
    site: FaultySite, server: Hanging
) -> None:
    asked = Asked(site)
    await asked.until("")
    with server.silent():
        told = await asked.until("store_silent", "store_unavailable")
        assert told["store_seconds"] is not None
    assert (await asked.until(""))["failing"] == []


async def test_a_short_silence_only_delays(site: FaultySite, server: Hanging) -> None:
    async with Traffic(site) as traffic:
        await traffic.goes_on()
        with server.silent():
            await Asked(site).until("store_silent")
        await traffic.goes_on()
    await traffic.settle()
