"""Managers are lent: made once, never closed under somebody, and not kept for ever."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

import pytest

from delegate.data_keys import DataKeys
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretManager, Surroundings
from delegate.secret_managers.registry import IDLE_SECONDS, MOST_MANAGERS, Registry
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Unavailable
from tests.fakes.closing import Closing, Closings, StandingClock, times_closed
from tests.fakes.world import World


class House:
    """A registry whose only kind tells of its closings."""

    def __init__(self) -> None:
        self.world = World()
        self.kinds = Closings()
        self.clock = StandingClock()
        self.data_keys = DataKeys(self.clock)
        zone = Zone(self.world.keyring, self.world.book())
        policy = LocalPolicy.parse('kinds = ["*"]', ["Local"])
        surroundings = Surroundings(zone, policy, secrets.token_bytes, self.clock, data_keys=self.data_keys)
        self.registry = Registry({"Other": self.kinds}, surroundings)

    def connector(self, name: str = "other") -> Verified[ConnectorDocument]:
        return self.world.sign(self.world.connector_document(name, type="Other"), self.world.administrator)

    async def manager(self, connector: Verified[ConnectorDocument]) -> SecretManager:
        async with self.registry.lend(connector) as manager:
            return manager


async def test_who_comes_at_the_same_moment_gets_the_same_manager_though_credentials_take_their_time() -> None:
    house, gate = House(), asyncio.Event()
    connector = house.connector()

    async def credentials() -> Mapping[str, Plaintext]:
        await gate.wait()
        return {"key": Plaintext(b"hunter2")}

    async def borrow() -> SecretManager:
        async with house.registry.lend(connector, ["key 1"], credentials) as manager:
            return manager

    waiting = [asyncio.create_task(borrow()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    first, *others = await asyncio.gather(*waiting)
    assert all(one is first for one in others)
    assert len(house.kinds.made) == 1
    assert house.kinds.made[0].secrets == {"key": Plaintext(b"hunter2")}


async def test_credentials_that_can_not_be_had_leave_nothing_behind() -> None:
    house, connector = House(), House().connector()

    async def lost() -> Mapping[str, Plaintext]:
        raise Unavailable("unavailable", "gone", "later")

    async def found() -> Mapping[str, Plaintext]:
        return {}

    with pytest.raises(Unavailable):
        async with house.registry.lend(connector, ["key 1"], lost):
            pass
    assert house.kinds.made == []
    async with house.registry.lend(connector, ["key 1"], found) as manager:
        assert isinstance(manager, Closing)


async def test_a_borrower_who_is_cancelled_gives_back_what_he_borrowed() -> None:
    house, borrowed = House(), asyncio.Event()
    connector = house.connector()

    async def borrow() -> None:
        async with house.registry.lend(connector):
            borrowed.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(borrow())
    await borrowed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await house.registry.close()
    assert [one.closed for one in house.kinds.made] == [1]


async def test_nobody_waits_for_an_old_manager_that_closes_slowly() -> None:
    house = House()
    first = house.connector()
    slow = await house.manager(first)
    assert isinstance(slow, Closing)
    slow.may_close.clear()
    async with asyncio.timeout(20):
        await house.manager(house.world.next(first, name="renamed"))
    assert slow.closed == 0
    slow.may_close.set()
    assert await times_closed(slow) == 1


async def test_one_that_is_used_stays_open_at_the_end_until_it_is_given_back() -> None:
    house = House()
    async with house.registry.lend(house.connector()) as manager:
        assert isinstance(manager, Closing)
        await house.registry.close()
        assert manager.closed == 0
    assert await times_closed(manager) == 1


async def test_what_is_used_is_kept_and_the_next_oldest_goes() -> None:
    house = House()
    async with house.registry.lend(house.connector("used")) as used:
        oldest = await house.manager(house.connector("oldest"))
        for number in range(MOST_MANAGERS - 1):
            await house.manager(house.connector(f"c{number}"))
        assert await times_closed(oldest) == 1
        assert isinstance(used, Closing)
        assert used.closed == 0
        assert sum(one.closed for one in house.kinds.made) == 1


async def test_a_tidied_registry_has_only_what_was_used_lately() -> None:
    house = House()
    old = await house.manager(house.connector("old"))
    async with house.registry.lend(house.connector("used")) as used:
        house.clock.at += IDLE_SECONDS
        young = await house.manager(house.connector("young"))
        house.clock.at += 1
        house.registry.tidy()
        assert await times_closed(old) == 1
        assert isinstance(used, Closing) and isinstance(young, Closing)
        assert (used.closed, young.closed) == (0, 0)
    assert await house.manager(house.connector("used")) is used


async def test_a_tidied_registry_keeps_no_data_key_beyond_its_time() -> None:
    house = House()

    async def unwrap() -> Plaintext:
        return Plaintext(bytes(32))

    await house.data_keys.key(house.data_keys.owner(), b"name", 1, unwrap)
    house.registry.tidy()
    assert len(house.data_keys) == 1
    house.clock.at += 301
    house.registry.tidy()
    assert len(house.data_keys) == 0


async def test_an_older_revision_that_is_still_asked_for_never_gets_the_newer_ones_manager() -> None:
    house = House()
    first = house.connector()
    second = house.world.next(first, name="renamed")
    async with house.registry.lend(first) as old, house.registry.lend(second) as new:
        assert old is not new
        async with house.registry.lend(first) as again:
            assert again is not new
    await house.registry.close()
    assert {one.closed for one in house.kinds.made} == {1}
