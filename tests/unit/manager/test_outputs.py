"""What commands write passes through the manager in bounded memory, to its reader alone."""

from __future__ import annotations

import asyncio

import pytest

from manager.clock import Clock
from manager.outputs import ALL_BYTES, KEPT_SECONDS, PAGE_BYTES, PART_BYTES, TASK_BYTES, Outputs, Page
from shared.messages import Output


class Hand(Clock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at


def chunk(index: int, size: int = 10, task: str = "task") -> Output:
    return Output(task, 1, index, bytes(size), "opening" if index == 0 else "")


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def outputs(clock: Hand) -> Outputs:
    outputs = Outputs(clock)
    outputs.begin("account", "task", "reader")
    return outputs


async def read(outputs: Outputs, first: int = 0, principal: str = "reader", task: str = "task") -> Page | None:
    return await outputs.read("account", task, principal, first, 0.0)


async def test_chunks_come_in_order_and_those_that_arrived_are_let_go(outputs: Outputs) -> None:
    for index in (1, 0, 2):
        outputs.add("account", chunk(index))
    page = await read(outputs)
    assert page == Page((chunk(0), chunk(1), chunk(2)), False)
    assert await read(outputs, 2) == Page((chunk(2),), False)
    assert await read(outputs, 0) == Page((chunk(2),), False)
    outputs.end("account", "task")
    assert await read(outputs, 3) == Page((), True)


async def test_nobody_but_its_principal_gets_an_output(outputs: Outputs) -> None:
    outputs.add("account", chunk(0))
    assert await read(outputs, principal="another") is None
    assert await read(outputs, task="another") is None
    assert await outputs.read("foreign", "task", "reader", 0, 0.0) is None


async def test_a_reader_waits_for_news(outputs: Outputs) -> None:
    reading = asyncio.create_task(outputs.read("account", "task", "reader", 0, 5.0))
    await asyncio.sleep(0)
    outputs.add("account", chunk(0))
    assert await reading == Page((chunk(0),), False)
    reading = asyncio.create_task(outputs.read("account", "task", "reader", 1, 5.0))
    await asyncio.sleep(0)
    outputs.end("account", "task")
    assert await reading == Page((), True)


async def test_a_reader_who_waits_in_vain_is_told_that_more_may_come(outputs: Outputs) -> None:
    assert await read(outputs) == Page((), False)


async def test_what_is_too_much_or_unexpected_is_dropped(outputs: Outputs) -> None:
    outputs.add("account", chunk(0))
    outputs.add("account", Output("task", 1, 0, b"in place of the first", ""))
    outputs.add("account", chunk(1, TASK_BYTES))
    outputs.add("account", chunk(0, task="another"))
    outputs.add("foreign", chunk(2))
    assert await read(outputs) == Page((chunk(0),), False)
    outputs.end("account", "task")
    outputs.add("account", chunk(1))
    assert await read(outputs, 1) == Page((), True)


async def test_all_tasks_together_have_a_bound_too(outputs: Outputs) -> None:
    size = TASK_BYTES - 2 * PART_BYTES
    for number in range(ALL_BYTES // size + 2):
        outputs.begin("account", str(number), "reader")
        outputs.add("account", chunk(0, size, str(number)))
    kept = [await read(outputs, task=str(number)) for number in range(ALL_BYTES // size + 2)]
    assert [bool(page and page.chunks) for page in kept].count(True) == ALL_BYTES // size
    # What was fetched makes room again.
    await read(outputs, 1, task="0")
    outputs.add("account", chunk(1, task="0"))
    assert await read(outputs, 1, task="0") == Page((chunk(1, task="0"),), False)


async def test_many_small_parts_are_bounded_too(outputs: Outputs) -> None:
    for index in range(TASK_BYTES // 100):
        outputs.add("account", chunk(index, 0))
    page = await read(outputs)
    assert page is not None
    assert 0 < len(page.chunks) <= TASK_BYTES // PART_BYTES


async def test_who_fills_the_room_loses_his_own_output_and_nobody_elses(outputs: Outputs) -> None:
    size = TASK_BYTES - 2 * PART_BYTES
    outputs.add("account", chunk(0))
    for number in range(ALL_BYTES // size + 2):
        outputs.begin("flood", str(number), "greedy")
        outputs.add("flood", chunk(0, size, str(number)))
        outputs.end("flood", str(number))
    outputs.add("account", chunk(1, PAGE_BYTES // 2))
    outputs.begin("third", "task", "reader")
    outputs.add("third", chunk(0, PAGE_BYTES))
    page = await read(outputs)
    assert page is not None
    assert [one.index for one in page.chunks] == [0, 1]
    other = await outputs.read("third", "task", "reader", 0, 0.0)
    assert other is not None
    assert len(other.chunks) == 1


async def test_a_page_is_no_longer_than_a_page(outputs: Outputs) -> None:
    for index in range(3):
        outputs.add("account", chunk(index, PAGE_BYTES - 1))
    outputs.end("account", "task")
    page = await read(outputs)
    assert page is not None
    assert ([one.index for one in page.chunks], page.over) == ([0], False)
    page = await read(outputs, 2)
    assert page is not None
    assert ([one.index for one in page.chunks], page.over) == ([2], True)


async def test_what_ended_long_ago_is_forgotten(outputs: Outputs, clock: Hand) -> None:
    outputs.add("account", chunk(0))
    outputs.end("account", "task")
    clock.at += KEPT_SECONDS + 1
    outputs.begin("account", "another", "reader")
    assert await read(outputs) is None


async def test_a_task_that_begins_anew_begins_empty(outputs: Outputs) -> None:
    outputs.add("account", chunk(0))
    outputs.begin("account", "task", "reader")
    assert await read(outputs) == Page((), False)
    outputs.end("account", "unknown")
