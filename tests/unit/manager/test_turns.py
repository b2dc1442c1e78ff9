"""Turns and lines: nobody's flood keeps another waiting, held to a slow and obvious picture of what is fair."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.line import OLDEST_EVERY, Line
from manager.turns import Turns
from shared.task import PRIORITIES, Priority

OWNERS = ("one", "two", "three")


@dataclass
class Obvious:
    """Everything in the order in which it came, searched anew each time; `turns` are owners, the next first."""

    things: list[tuple[int, str, Priority]] = field(default_factory=list)
    turns: dict[Priority, list[str]] = field(default_factory=lambda: {priority: [] for priority in PRIORITIES})
    served: int = 0

    def add(self, thing: int, owner: str, priority: Priority) -> None:
        self.things.append((thing, owner, priority))
        if owner not in self.turns[priority]:
            self.turns[priority].append(owner)

    def remove(self, thing: int) -> None:
        self.things = [one for one in self.things if one[0] != thing]
        for priority in PRIORITIES:
            left = {owner for _, owner, other in self.things if other == priority}
            self.turns[priority] = [one for one in self.turns[priority] if one in left]

    def take(self, thing: int) -> None:
        _, owner, priority = next(one for one in self.things if one[0] == thing)
        self.remove(thing)
        self.served += 1
        if owner in self.turns[priority]:
            self.turns[priority].remove(owner)
            self.turns[priority].append(owner)

    def order(self) -> list[int]:
        if self.served % OLDEST_EVERY == OLDEST_EVERY - 1:
            return [thing for thing, _, _ in self.things]
        order: list[int] = []
        for priority in PRIORITIES:
            for turn in range(len(self.things)):
                for owner in self.turns[priority]:
                    mine = [thing for thing, who, other in self.things if (who, other) == (owner, priority)]
                    order += mine[turn : turn + 1]
        return order


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(OWNERS), st.sampled_from(PRIORITIES)),
        st.tuples(st.just("take"), st.integers(0, 3), st.none()),
        st.tuples(st.just("remove"), st.integers(0, 20), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_line_serves_as_the_obvious_one_does(steps: list[tuple[str, str | int, Priority | None]]) -> None:
    line: Line[int] = Line()
    obvious = Obvious()
    for number, (step, what, priority) in enumerate(steps):
        order = obvious.order()
        if step == "add":
            assert isinstance(what, str)
            assert priority is not None
            line.add(number, what, priority)
            obvious.add(number, what, priority)
        elif order and step == "take":
            # Not always the first: what can't have the place is passed over.
            thing = order[min(int(what), len(order) - 1)]
            line.take(thing)
            obvious.take(thing)
        elif order:
            thing = order[int(what) % len(order)]
            line.remove(thing)
            obvious.remove(thing)
        assert list(line) == obvious.order()
        assert len(line) == len(obvious.things)
        assert all(thing in line for thing, _, _ in obvious.things)
    line.remove(-1)


@given(st.integers(1, 200), st.sampled_from(PRIORITIES), st.integers(0, 10))
def test_whatever_floods_a_line_another_owner_is_served_second_of_his_priority(
    flood: int, priority: Priority, before: int
) -> None:
    line: Line[int] = Line()
    for number in range(flood):
        line.add(number, "flooding", priority)
    for _ in range(min(before, flood - 1)):
        line.take(next(iter(line)))
    line.add(1_000, "other", priority)
    waited = 0
    while (first := next(iter(line))) != 1_000:
        line.take(first)
        waited += 1
    # One in turn, and perhaps the place of what came first of all.
    assert waited <= 2


@given(st.integers(1, 300))
def test_what_is_not_urgent_is_served_in_the_end_however_much_is(urgent: int) -> None:
    line: Line[int] = Line()
    line.add(0, "patient", "low")
    waited = 0
    for number in range(1, urgent + 1):
        line.add(number, "urgent", "high")
    while (first := next(iter(line))) != 0:
        line.take(first)
        line.add(10_000 + waited, "urgent", "high")
        waited += 1
    assert waited < OLDEST_EVERY


async def test_who_comes_alone_does_not_wait() -> None:
    turns = Turns(2)
    for _ in range(5):
        assert turns.begin()
        turns.end()
        await asyncio.sleep(0)


async def test_no_more_than_so_many_begin_in_one_round_of_the_loop_even_if_none_of_them_waits() -> None:
    turns = Turns(3)
    for _ in range(3):
        assert turns.begin()
        turns.end()
    assert not turns.begin()
    await asyncio.sleep(0)
    assert turns.begin()


class Crowd:
    """Tasks that take turns; `begun` are their accounts in the order in which they had one, `at_once` the most at a time."""

    def __init__(self, most: int) -> None:
        self.turns = Turns(most)
        self.begun: list[str] = []
        self.running = self.at_once = 0

    async def task(self, account: str, rounds: int, priority: Priority = "normal") -> None:
        if not self.turns.begin():
            await self.turns.wait(account, "somebody", priority)
        self.begun.append(account)
        self.running += 1
        self.at_once = max(self.at_once, self.running)
        try:
            for _ in range(rounds):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
            self.turns.end()


@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 3), st.lists(st.sampled_from("bcd"), max_size=4))
def test_the_flood_of_one_account_delays_anothers_task_by_the_turns_that_are_taken_and_one_of_each_account(
    most: int, flood: int, rounds: int, others: list[str]
) -> None:
    async def scene() -> None:
        crowd = Crowd(most)
        running = [asyncio.create_task(crowd.task("a", rounds)) for _ in range(flood)]
        running += [asyncio.create_task(crowd.task(account, rounds)) for account in others]
        await asyncio.sleep(0)
        before = len(crowd.begun)
        late = asyncio.create_task(crowd.task("late", rounds))
        await asyncio.gather(*running, late)
        # Those that had one already don't count: they began before.
        assert crowd.begun.index("late") - before <= most + 1 + len(set(others))
        assert crowd.at_once <= most
        assert crowd.turns.waiting == 0
        assert sorted(crowd.begun) == sorted(["a"] * flood + others + ["late"])

    asyncio.run(scene())


async def test_the_urgent_one_of_an_account_goes_first_and_not_before_another_accounts() -> None:
    crowd = Crowd(1)
    blocking = asyncio.create_task(crowd.task("first", 5))
    await asyncio.sleep(0)
    order: list[str] = []

    async def wait(account: str, priority: Priority) -> None:
        await crowd.turns.wait(account, "somebody", priority)
        order.append(f"{account} {priority}")
        crowd.turns.end()

    waiting = []
    for account, priority in (("a", "low"), ("a", "high"), ("b", "low"), ("a", "normal")):
        waiting.append(asyncio.create_task(wait(account, priority)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
    await asyncio.gather(blocking, *waiting)
    assert order == ["a high", "b low", "a normal", "a low"]


async def test_who_stops_waiting_keeps_no_turn() -> None:
    turns = Turns(1)
    assert turns.begin()
    given_up = asyncio.create_task(turns.wait("a", "p", "normal"))
    in_the_same_moment = asyncio.create_task(turns.wait("b", "p", "normal"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert turns.waiting == 1
    turns.end()
    await asyncio.sleep(0)
    in_the_same_moment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await in_the_same_moment
    await asyncio.sleep(0)
    assert turns.begin()
    assert not turns.begin()
