"""Wall clocks that jump by an hour, forwards and back, in real processes: no stream ends, and each task ends with its reason.

The clocks are set by `tests.fakes.stepped`; a time namespace has none that could be (only CLOCK_MONOTONIC and CLOCK_BOOTTIME).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Expired, PrivySealError, Unauthenticated
from tests.fakes.faulty_site import FaultySite, faulty_site, has_ended, is_said, said
from tests.fakes.gated import Gates, install

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = Plaintext(b"from before the jump")
HOUR = 3_600
ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[FaultySite, Gates]]:
    """With heartbeats that come often, so that a few rounds of them go by in each test."""
    folder = tmp_path_factory.mktemp("clocks")
    with pytest.MonkeyPatch.context() as monkeypatch:
        gates = install(folder, monkeypatch)
        assert str(ROOT) in os.environ["PYTHONPATH"].split(os.pathsep)
        (folder / "policy.toml").write_text('kinds = ["Local", "Gated"]\nexec = true\n')
        options = ["--silence", "10s", "--heartbeat", "200ms"]
        async with faulty_site(
            folder / "dev", manager_options=options, delegate_options=gates.options, stepped=True
        ) as site:
            async with site.client() as client:
                await gates.connector(client)
                await client.store("account.token", VALUE)
                await client.store("account.held", VALUE, connector="account.gated")
            yield site, gates


@pytest_asyncio.fixture(loop_scope="module")
async def site(installation: tuple[FaultySite, Gates]) -> FaultySite:
    site, gates = installation
    gates.clear()
    for name in ("manager", *site.delegates):
        site.step(name, 0)
    await site.whole()
    return site


@pytest.fixture
def gates(installation: tuple[FaultySite, Gates]) -> Gates:
    return installation[1]


@pytest_asyncio.fixture(loop_scope="module")
async def client(site: FaultySite) -> AsyncIterator[Client]:
    async with site.client() as one:
        yield one


async def refused(client: Client, name: str = "account.token", **options: object) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await client.reveal(name, **options)  # type: ignore[arg-type]
    return caught.value


def lost_links(site: FaultySite) -> dict[str, int]:
    """How many streams each delegate has lost so far, by whatever cause."""
    return {name: len(said(one, "link.lost")) + len(said(one, "link.failed")) for name, one in site.delegates.items()}


async def beats(site: FaultySite) -> None:
    """A few rounds of looks and heartbeats, seen by the bytes that go both ways."""
    before = {name: dict(link.passed) for name, link in site.links.items()}
    async with asyncio.timeout(45):
        for name, link in site.links.items():
            while any(link.passed[way] < before[name][way] + 100 for way in link.passed):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_a_managers_clock_that_jumps_cuts_no_stream_and_is_named_to_whoever_asks(
    site: FaultySite, client: Client, gates: Gates, seconds: int
) -> None:
    assert await client.reveal("account.token") == VALUE
    before = lost_links(site)
    with gates.shut():
        under_way = asyncio.create_task(client.reveal("account.held"))
        await gates.arrived("fetch")
        site.step("manager", seconds)
        await beats(site)
        async with site.client() as another:
            why = await refused(another)
        assert isinstance(why, Unauthenticated) and "clock" in why.detail + why.hint
    # What was under way ends as ever.
    assert await under_way == VALUE
    site.step("manager", 0)
    assert await client.reveal("account.token") == VALUE
    assert (await client.store("account.token", VALUE)).n >= 2
    assert lost_links(site) == before
    await has_ended(client)
    await client.audit.verify()


async def test_a_delegate_that_is_an_hour_ahead_keeps_its_stream_and_begins_nothing_that_is_over(
    site: FaultySite, client: Client
) -> None:
    before = lost_links(site)
    site.step("a", HOUR)
    await beats(site)
    with pytest.raises(Expired) as caught:
        await _run(client)
    for why in (caught.value, await refused(client, selectors=["zone:a"])):
        assert why.code == "task_expired" and "clocks" in why.hint
    site.step("a", 0)
    assert (await _run(client)) == 0
    assert lost_links(site) == before
    assert {row["code"] for row in await has_ended(client) if row["state"] == "failed"} >= {"expired"}


async def test_a_delegate_that_is_an_hour_behind_keeps_its_stream_and_names_the_clocks(
    site: FaultySite, client: Client
) -> None:
    before = lost_links(site)
    site.step("a", -HOUR)
    await beats(site)
    why = await refused(client, selectors=["zone:a"])
    assert (type(why), why.code) == (Denied, "clock_skew") and "3" in why.detail and "clocks" in why.hint
    site.step("a", 0)
    assert await client.reveal("account.token", selectors=["zone:a"]) == VALUE
    assert lost_links(site) == before


async def test_a_delegate_that_starts_an_hour_ahead_is_refused_until_its_clock_is_right(
    site: FaultySite, client: Client
) -> None:
    delegate = site.delegates["a"]
    await delegate.stop()
    site.step("a", HOUR)
    began = max((line["moment"] for line in said(delegate, "delegate.ended")), default=0.0)
    await delegate.start(wait=False)
    line = await is_said(delegate, "link.failed", began, code="certificate_expired")
    assert "clocks" in line["reason"]
    # Nobody waits for it.
    assert await client.reveal("account.token") == VALUE
    site.step("a", 0)
    await site.is_listed("a", "connected")
    assert await client.reveal("account.token", selectors=["zone:a"]) == VALUE


async def _run(client: Client) -> int | None:
    ran = await client.commands.run(["true"], {"TOKEN": "account.token"}, _nowhere, selectors=["zone:a"])
    return ran.finished.exit


def _nowhere(channel: int, data: bytes) -> None:
    """What the commands write."""
