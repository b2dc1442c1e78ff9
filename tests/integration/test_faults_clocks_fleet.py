"""One delegate of two has a wrong clock: tasks go to the other, it has none that the other could have, and everybody sees why."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from client.doctor import examine
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied
from tests.fakes.faulty_site import FaultySite, faulty_site, is_said, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = Plaintext(b"from before the jump")
HOUR = 3_600
PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultySite]:
    folder = tmp_path_factory.mktemp("clock-fleet")
    (folder / "policy.toml").write_text("exec = true\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(
            "PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        )
        async with faulty_site(
            folder / "dev",
            manager_options=["--heartbeat", "200ms"],
            delegate_options=["--policy-file", str(folder / "policy.toml")],
            stepped=True,
        ) as site:
            async with site.client() as client:
                await client.store("account.token", VALUE)
            yield site


@pytest_asyncio.fixture(loop_scope="module")
async def site(running: FaultySite) -> AsyncIterator[FaultySite]:
    yield running
    running.step("a", 0)
    async with running.client() as client:
        await is_shown(client, lambda seconds: abs(seconds) < 60)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not await happened():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def is_shown(client: Client, fits: Callable[[int], bool]) -> None:
    """Waits until `a` is listed with such a clock."""

    async def listed() -> bool:
        return any(one["name"] == "a" and fits(one["clock"] or 0) for one in await client.views.delegates())

    await until(listed)


async def metric(site: FaultySite, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/metrics") as reply:
        (line,) = [one for one in (await reply.text()).splitlines() if one.startswith(f"{name} ")]
    return float(line.split()[1])


async def finished(site: FaultySite, client: Client, since: float) -> list[str]:
    """Which delegate had the tasks that ended since then."""
    await client.reveal("account.token")
    return [one.get("delegate", "") for one in said(site.manager, "task.finished", since) if one["op"] != "store"]


async def _run(client: Client, **options: Any) -> int | None:
    ran = await client.commands.run(["true"], {"TOKEN": "account.token"}, lambda _channel, _data: None, **options)
    return ran.finished.exit


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_tasks_pass_one_with_a_wrong_clock_by_and_everybody_sees_it(site: FaultySite, seconds: int) -> None:
    async with site.client() as client:
        site.step("a", seconds)
        # From this moment on, noticed or not, no task fails for it.
        for _ in range(6):
            assert await client.reveal("account.token") == VALUE
        await is_shown(client, lambda shown: abs(shown - seconds) < 60)
        since = time.time()
        for _ in range(6):
            assert await client.reveal("account.token") == VALUE
        # What names its one delegate is drawn among the others.
        assert await _run(client) == 0
        assert set(await finished(site, client, since)) == {"b"}
        found = [one for one in await examine(client) if "clock of a" in one.detail]
        assert [one.level for one in found] == ["warn"] and "NTP" in found[0].remedy
        assert await metric(site, "privyseal_manager_delegates_clock_wrong") == 1
        assert abs((await is_said(site.manager, "clock.differs", delegate="a"))["seconds"]) > 120
        site.step("a", 0)
        await is_shown(client, lambda shown: abs(shown) < 60)
        assert await metric(site, "privyseal_manager_delegates_clock_wrong") == 0
        assert await client.reveal("account.token", selectors=["zone:a"]) == VALUE


async def test_where_only_it_could_have_the_task_its_signed_answer_names_the_clocks(site: FaultySite) -> None:
    async with site.client() as client:
        site.step("a", -HOUR)
        await is_shown(client, lambda shown: shown < -120)
        with pytest.raises(Denied) as caught:
            await client.reveal("account.token", selectors=["zone:a"])
        assert caught.value.code == "clock_skew" and "clocks" in caught.value.hint
