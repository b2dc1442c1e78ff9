"""Programs that are killed and networks that break under load: nothing acknowledged is lost, nothing runs twice, all ends with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.fakes.commanded import allowing
from tests.fakes.faulty_link import DOWN, UP, FaultyLink
from tests.fakes.faulty_site import FaultySite, faulty_site
from tests.fakes.traffic import Traffic

pytestmark = pytest.mark.asyncio(loop_scope="module")

Fault = Callable[[FaultyLink], None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultySite]:
    """One for all cases; each finds it whole again."""
    folder = tmp_path_factory.mktemp("network")
    options = ["--silence", "4s", "--heartbeat", "400ms"]
    async with faulty_site(folder / "dev", manager_options=options, delegate_options=allowing(folder)) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def site(installation: FaultySite) -> FaultySite:
    await installation.whole()
    return installation


async def test_a_manager_that_is_killed_under_load_twice_loses_nothing_and_runs_nothing_twice(site: FaultySite) -> None:
    async with Traffic(site) as traffic:
        for _ in range(2):
            await traffic.goes_on()
            await site.manager.kill()
            await site.manager.start()
            await site.ready()
        await traffic.goes_on()
    await traffic.settle()


async def test_a_delegate_that_is_killed_under_load_loses_nothing_and_runs_nothing_twice(site: FaultySite) -> None:
    async with Traffic(site) as traffic:
        for name in ("a", "b"):
            await traffic.goes_on()
            await site.delegates[name].kill()
            await traffic.goes_on(1)
            await site.delegates[name].start()
            await site.is_listed(name, "connected")
    await traffic.settle()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda link: link.reset(), id="reset"),
        pytest.param(lambda link: link.hold(UP, DOWN), id="both ways"),
        pytest.param(lambda link: link.hold(UP), id="towards the manager"),
        pytest.param(lambda link: link.hold(DOWN), id="towards the delegate"),
    ],
)
async def test_a_delegates_network_that_is_cut_under_load_stops_nobody_and_heals(
    site: FaultySite, fault: Fault
) -> None:
    async with Traffic(site) as traffic:
        await traffic.goes_on()
        fault(site.links["a"])
        await site.is_listed("a", "disconnected")
        # The other one takes over.
        await traffic.goes_on()
        site.links["a"].mend()
        await site.is_listed("a", "connected")
        await traffic.goes_on(1)
    await traffic.settle()


async def test_a_slow_network_slows_down_and_cuts_nobody(site: FaultySite) -> None:
    opened = {name: link.connections for name, link in site.links.items()}
    async with Traffic(site, clients=2) as traffic:
        for link in site.links.values():
            link.slow(bytes_per_second=250_000, latency_seconds=0.15)
        await traffic.goes_on()
        async with site.client() as client:
            # More than the slow line carries within the silence: each of its parts is a sign of life.
            assert (await client.store("account.large", bytes(1_500_000))).n >= 1
    assert traffic.told.errors == []
    assert opened == {name: link.connections for name, link in site.links.items()}
    await traffic.settle()


async def test_with_every_delegate_cut_off_each_request_ends_and_all_goes_on_afterwards(site: FaultySite) -> None:
    async with Traffic(site) as traffic:
        await traffic.goes_on()
        for link in site.links.values():
            link.hold(UP, DOWN)
        for name in site.links:
            await site.is_listed(name, "disconnected")
        for link in site.links.values():
            link.mend()
        for name in site.links:
            await site.is_listed(name, "connected")
        await traffic.goes_on()
    await traffic.settle()


async def test_clients_whose_connections_are_reset_learn_what_became_of_their_tasks(site: FaultySite) -> None:
    async with Traffic(site) as traffic:
        for _ in range(3):
            await traffic.goes_on(1)
            site.front.reset()
            async with asyncio.timeout(30):
                while not traffic.told.errors:
                    await asyncio.sleep(0.01)
            site.front.mend()
        await traffic.goes_on()
    assert {one.code for one in traffic.told.errors} <= {"manager_unreachable", "outcome_unknown"}
    await traffic.settle()


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_what_clients_say_or_hear_late_counts_once(site: FaultySite, way: str) -> None:
    """Their connections swallow one direction for a while, and then give it all at once."""
    async with Traffic(site) as traffic:
        await traffic.goes_on()
        before = dict(site.front.passed)
        site.front.hold(UP if way == UP else DOWN)
        other = DOWN if way == UP else UP
        # Until all of them wait: nothing passes in the open direction either.
        async with asyncio.timeout(30):
            while (now := dict(site.front.passed)) != before:
                before = now
                await asyncio.sleep(0.3)
        assert other in before
        site.front.mend()
        await traffic.goes_on()
    assert traffic.told.errors == []
    await traffic.settle()
