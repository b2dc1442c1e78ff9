"""Silence is noticed within five seconds, by both sides, with the settings that everybody has: measured on real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from tests.fakes.faulty_link import DOWN, UP, Way
from tests.fakes.faulty_site import FaultySite, faulty_site, is_said, said
from tests.fakes.gated import Gates, install

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = Plaintext(b"behind the gate")
SILENCE_SECONDS = 5.0
MACHINE_SECONDS = 0.5
"""For what else this machine does between a moment and the line that tells it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[FaultySite, Gates]]:
    """With no setting of heartbeat or silence."""
    folder = tmp_path_factory.mktemp("silence")
    with pytest.MonkeyPatch.context() as monkeypatch:
        gates = install(folder, monkeypatch)
        async with faulty_site(folder / "dev", delegate_options=gates.options) as site:
            async with site.client() as client:
                await gates.connector(client)
                await client.store("account.held", VALUE, connector="account.gated")
            yield site, gates


@pytest_asyncio.fixture(loop_scope="module")
async def site(installation: tuple[FaultySite, Gates]) -> FaultySite:
    await installation[0].whole()
    return installation[0]


@pytest.fixture
def gates(installation: tuple[FaultySite, Gates]) -> Gates:
    installation[1].clear()
    return installation[1]


def kept_waiting(site: FaultySite) -> float:
    """Seconds so far in which the site's programs wanted to go on and this machine had no processor for them (schedstat, proc(5))."""
    waited = 0
    for program in (site.manager, *site.delegates.values()):
        for thread in Path(f"/proc/{program.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # a thread may end meanwhile
                waited += int(thread.read_text().split()[1])
    return waited / 1e9


def excuse(site: FaultySite, since: float, before: float) -> float:
    """Seconds in which the manager says that it was held up itself, and so could notice nobody's silence, or the machine held up all."""
    late = sum(float(one["seconds"]) for one in said(site.manager, "heartbeat.late", since))
    return MACHINE_SECONDS + late + max(0.0, kept_waiting(site) - before)


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param((UP, DOWN), id="both ways"),
        pytest.param((UP,), id="towards the manager"),
        pytest.param((DOWN,), id="towards the delegate"),
    ],
)
async def test_a_black_hole_is_noticed_within_five_seconds_and_the_task_goes_to_another(
    site: FaultySite, gates: Gates, ways: tuple[Way, ...]
) -> None:
    async with site.client() as client:
        with gates.shut():
            asked = asyncio.create_task(client.reveal("account.held"))
            first = await gates.arrived("fetch")
            (name,) = [name for name, one in site.delegates.items() if one.pid == first]
            began, before = time.time(), kept_waiting(site)
            site.links[name].hold(*ways)
            second = await gates.arrived("fetch", but=first)
            # When it stood there: the file's own time, however late this process looks.
            again = (gates.folder / f"{second}-fetch").stat().st_mtime
        assert await asked == VALUE
        if UP in ways:
            cut = (await is_said(site.manager, "stream.silent", began, delegate=name))["moment"]
            assert cut - began <= SILENCE_SECONDS + excuse(site, began, before)
        if DOWN in ways:
            lost = (await is_said(site.delegates[name], "link.lost", began))["moment"]
            assert lost - began <= SILENCE_SECONDS + excuse(site, began, before)
        if UP in ways:
            assert again - began <= SILENCE_SECONDS + excuse(site, began, before) + MACHINE_SECONDS
        await _is_told(client, name)
    site.mend()
    await site.is_listed(name, "connected")


async def _is_told(client: Client, name: str) -> None:
    """The task's trail names the delegate that was lost."""
    (row, *_) = [one for one in await client.views.tasks() if one["op"] == "reveal"]
    assert row["attempts"] == 2 and row["name"] != name
    told = await client.explanations.task(row["task"])
    assert ("lost", name) in [(step["what"], step.get("name")) for step in told["steps"]]


async def test_nobody_is_cut_while_all_is_well(site: FaultySite) -> None:
    """Over more than one silence, as long as the other cases took: nobody was called silent but for a fault."""
    silent = [one["delegate"] for one in said(site.manager, "stream.silent")]
    lost = {name: len(said(one, "link.lost")) for name, one in site.delegates.items()}
    started = said(site.manager, "manager.started")[-1]["moment"]
    deadline = time.monotonic() + 30
    while time.time() - started < 2 * SILENCE_SECONDS:
        async with site.client() as client:
            assert [one["state"] for one in await client.views.delegates()].count("connected") == 2
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert [one["delegate"] for one in said(site.manager, "stream.silent")] == silent
    assert {name: len(said(one, "link.lost")) for name, one in site.delegates.items()} == lost
