"""An account's delegates get their groups' tags a few at a time: each has all of the old or all of the new ones, and others go between."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import manager.regrouping
from manager.fleet import Delegate, Fleet
from manager.regrouping import Regrouping
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified
from shared.trust.group import Groups, owned
from tests.fakes.scanning import choose, could_wait
from tests.fakes.simulated import Simulated
from tests.unit.manager.test_dispatch import WORLD, Desk
from tests.unit.manager.test_fleet import WANTED

OLD, NEW, NEWEST = ("old:1", "old:2"), ("new:1", "new:2"), ("newest",)


def group(tags: tuple[str, ...]) -> Groups:
    document: Verified[GroupDocument] = WORLD.sign(
        GroupDocument(v=1, acct=WORLD.id, id="builders", rev=1, iat=0, tags=tags), WORLD.administrator
    )
    return {"builders": document}


class Ground:
    """Forty delegates of one group, and what is told of them."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.fleet: Fleet = self.desk.fleet
        self.offered: list[Delegate] = []
        self.narrowed: list[str] = []
        self.regrouping = Regrouping(self.fleet)
        for number in range(40):
            one = Simulated(self.desk, f"d{number}").row
            identity = WORLD.identity(one.name)
            certificate = WORLD.certificate(key=identity.key, name=one.name, tags=(one.name,), group="builders")
            self.fleet.renew(one, certificate, group(OLD))

    async def run(self, groups: Groups) -> None:
        await self.regrouping.run(WORLD.id, groups, self.offered.append, self.narrowed.append)

    @property
    def rows(self) -> list[Delegate]:
        return self.fleet.online(WORLD.id)

    def having(self, tags: tuple[str, ...]) -> int:
        """How many have exactly these; and that the chooser knows it, of each tag."""
        found = [one for one in self.rows if one.tags == owned((one.name,), "builders", group(tags))]
        candidates = [one.candidate(0) for one in self.rows]
        for tag in tags:
            wanted = replace(WANTED, selectors=frozenset({tag}))
            chosen, expected = self.fleet.choose(WORLD.id, wanted, "a"), choose(candidates, wanted)
            assert (chosen and chosen.kid) == (expected and expected.delegate)
            assert self.fleet.could_wait(WORLD.id, wanted) == could_wait(candidates, wanted)
        return len(found)


async def test_others_have_their_turn_between_and_nobody_is_half_changed() -> None:
    ground = Ground()
    running, seen = asyncio.create_task(ground.run(group(NEW))), []
    while not running.done():
        await asyncio.sleep(0)
        old, new = ground.having(OLD), ground.having(NEW)
        assert old + new == 40
        seen.append(new)
    assert seen[:10] == list(range(4, 41, 4))
    assert len(ground.offered) == 40
    assert ground.narrowed == [WORLD.id]


async def test_where_they_change_again_meanwhile_the_newest_win_and_both_are_told_when_it_is_over() -> None:
    ground = Ground()
    first = asyncio.create_task(ground.run(group(NEW)))
    await asyncio.sleep(0)
    second = asyncio.create_task(ground.run(group(NEWEST)))
    await first
    assert ground.having(NEWEST) == 40
    await second
    assert ground.having(NEWEST) == 40
    # Each of them has taken something from somebody.
    assert ground.narrowed == [WORLD.id] * 2
    await ground.run(group(NEWEST))
    assert len(ground.narrowed) == 2


async def test_who_goes_meanwhile_is_left_alone_and_who_gives_up_leaves_nothing() -> None:
    ground = Ground()
    rows = ground.rows
    running = asyncio.create_task(ground.run(group(NEW)))
    await asyncio.sleep(0)
    ground.fleet.leave(rows[-1], 0)
    await running
    assert ground.having(NEW) == 39 and "new:1" not in rows[-1].tags
    running = asyncio.create_task(ground.run(group(OLD)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 0 < ground.having(OLD) < 39
    await ground.run(group(OLD))
    assert ground.having(OLD) == 39


async def test_looking_through_those_that_stay_as_they_are_gives_turns_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.regrouping, "LOOKED_AT_ONCE", 10)
    ground = Ground()
    running, turns = asyncio.create_task(ground.run(group(OLD))), 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 4 and ground.offered == [] and ground.narrowed == []
