"""The queue of tasks that may wait: bounded, durable when it says so, and tried in turn, a few at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from manager.clock import Clock
from manager.outcomes import Finished
from manager.queue import KEPT_SECONDS, Entry, Queue, Submission
from manager.routing import Wanted
from manager.standby import MOST_TRIED, Standby
from manager.store import Store
from shared.canonical import digest
from shared.errors import NotFound, Overloaded, Unavailable
from shared.task import Priority
from tests.fakes.manager import until

SUBMISSION = Submission("x.y.z", (b"sealed",), ("a.b.c",))
WANTED = Wanted("main", 1, frozenset({"Local"}), frozenset())


class Ticking(Clock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        return self.at


def entry(task: str, principal: str = "p", priority: Priority = "normal", account: str = "a" * 52) -> Entry:
    return Entry(account, task, principal, priority, "reveal", "main", 1_000_000, 2_000_000)


def finished(task: str, size: int = 0) -> Finished:
    return Finished(task, "done", "ok", "answer", "certificate", bytes(size))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(f"sqlite:///{tmp_path}/manager.db") as one:
        yield one


async def end(store: Store, queue: Queue, one: Entry, size: int = 0) -> None:
    done = finished(one.task, size)
    await store.write(queue.ending(one, done), account=one.account)
    queue.has_ended(one, done)


async def test_what_was_acknowledged_is_loaded_again_with_how_it_ended(store: Store) -> None:
    queue = Queue(store, Ticking())
    name = digest(SUBMISSION.compact)
    waiting, ended = entry(name, priority="low"), entry("ended")
    for one in (waiting, ended):
        await queue.add(one, SUBMISSION)
    await end(store, queue, ended, 7)
    again = Queue(store, Ticking())
    (loaded,) = await again.load()
    assert (loaded.task, loaded.priority, loaded.exp, loaded.wanted) == (name, "low", 2_000_000, None)
    assert await again.submission(loaded) == SUBMISSION
    found = again.find(ended.account, "ended")
    assert found is not None and found.ended.is_set()
    assert await again.outcome(found) == finished("ended", 7)
    with pytest.raises(NotFound):
        await again.submission(found)
    with pytest.raises(NotFound):
        await again.outcome(loaded)
    assert (again.depth, again.oldest_seconds()) == (1, 0)


async def test_an_account_has_so_many_that_wait_and_a_principal_half_of_them(store: Store) -> None:
    queue = Queue(store, Ticking(), most=4)
    for number in range(2):
        await queue.add(entry(f"mine {number}"), SUBMISSION)
    with pytest.raises(Overloaded) as full:
        await queue.add(entry("mine too"), SUBMISSION)
    assert (full.value.code, full.value.facts["retry_after"]) == ("queue_full", 60)
    for number in range(2):
        await queue.add(entry(f"other {number}", f"other {number}"), SUBMISSION)
    with pytest.raises(Overloaded):
        await queue.add(entry("anybody's", "anybody"), SUBMISSION)
    await queue.add(entry("elsewhere", account="b" * 52), SUBMISSION)
    first = queue.find("a" * 52, "mine 0")
    assert first is not None
    await end(store, queue, first)
    await queue.add(entry("mine too"), SUBMISSION)


async def test_an_account_has_so_many_bytes_that_wait_and_a_principal_half_of_them(store: Store) -> None:
    queue = Queue(store, Ticking(), most_bytes=4_000)
    large = Submission("x.y.z", (bytes(1_500),), ())
    await queue.add(entry("mine"), large)
    with pytest.raises(Overloaded):
        await queue.add(entry("mine too"), large)
    await queue.add(entry("another's", "another"), large)
    with pytest.raises(Overloaded):
        await queue.add(entry("anybody's", "anybody"), large)
    assert {row.task for _, row in (await store.queue()).items} == {"mine", "another's"}


async def test_outcomes_make_room_for_newer_ones_and_go_after_a_day(store: Store) -> None:
    clock = Ticking()
    queue = Queue(store, clock, most_bytes=4_000)
    entries = [entry(f"{number}") for number in range(4)]
    for one in entries:
        await queue.add(one, SUBMISSION)
        await end(store, queue, one, 1_500)
        clock.at += 1
    kept = {row.task for _, row in (await store.queue()).items}
    assert kept == {"2", "3"}
    assert queue.find("a" * 52, "0") is None
    clock.at += KEPT_SECONDS
    await queue.prune()
    assert {row.task for _, row in (await store.queue()).items} == set()
    assert queue.find("a" * 52, "3") is None


async def test_what_the_memory_lets_go_is_gone_from_the_store_too(store: Store) -> None:
    queue = Queue(store, Ticking(), most_bytes=20_000)
    entries = [entry(f"{number}") for number in range(12)]
    for one in entries:
        await queue.add(one, SUBMISSION)
    for one in entries[:6]:
        await end(store, queue, one, 3_000)
    # Several end at once: none of them has ended when the others make room.
    together = entries[6:]
    done = [finished(one.task, 3_000) for one in together]
    endings = [queue.ending(one, end_of) for one, end_of in zip(together, done, strict=True)]
    for ending in endings:
        await store.write(ending, account=together[0].account)
    for one, end_of in zip(together, done, strict=True):
        queue.has_ended(one, end_of)
    kept = {row.task for _, row in (await store.queue()).items}
    assert kept == {one.task for one in entries if queue.find(one.account, one.task) is not None}
    assert len(kept) == 6


async def test_a_principals_outcomes_make_room_for_his_own_before_anybody_elses(store: Store) -> None:
    queue = Queue(store, Ticking(), most_bytes=20_000)
    other = entry("other's", "other")
    await queue.add(other, SUBMISSION)
    await end(store, queue, other, 3_000)
    for number in range(12):
        mine = entry(f"mine {number}")
        await queue.add(mine, SUBMISSION)
        await end(store, queue, mine, 3_000)
    assert queue.find(other.account, other.task) is other
    assert await queue.outcome(other) == finished("other's", 3_000)


async def test_what_could_not_be_written_is_not_in_the_queue(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/manager.db")
    await store.open()
    queue = Queue(store, Ticking())
    await store.write(
        lambda transaction: transaction.connection.exec_driver_sql("PRAGMA max_page_count=1"), account="a" * 52
    )
    one = entry("large")
    with pytest.raises(Unavailable):
        await queue.add(one, Submission("x.y.z", (bytes(100_000),), ()))
    assert queue.find(one.account, "large") is None
    await store.close()
    with pytest.raises(Unavailable):
        await queue.add(one, SUBMISSION)
    assert queue.find(one.account, "large") is None


class Trying:
    """A standby whose tries end when the test says so."""

    def __init__(self, could: bool = True) -> None:
        self.clock = Ticking()
        self.could = could
        self.tried: list[str] = []
        self.expired: list[str] = []
        self.fails = False
        self.standby = Standby(self.clock, self, self._resume, self._expire)

    def could_wait(self, account: str, wanted: Wanted) -> bool:
        return self.could

    def has_place(self, account: str, wanted: Wanted) -> bool:
        return False

    def is_served(self, account: str, task: str) -> bool:
        return False

    def _resume(self, one: Entry) -> None:
        self.tried.append(one.task)

    async def _expire(self, one: Entry) -> None:
        if self.fails:
            raise Unavailable("store_unavailable", "no")
        self.expired.append(one.task)
        self.standby.leave(one)

    def enter(self, *entries: Entry) -> None:
        for one in entries:
            one.wanted = WANTED
            self.standby.enter(one)


async def those_before_were_looked_at() -> None:
    """Whatever was stirred until now: what is entered last is tried after it."""
    last = Trying()
    last.enter(entry("last"))
    await until(lambda: last.tried)


async def test_those_that_wait_are_tried_when_somebody_may_have_them_and_not_before() -> None:
    trying = Trying(could=False)
    one = entry("one")
    trying.enter(one)
    await those_before_were_looked_at()
    assert trying.tried == []
    trying.could = True
    trying.standby.stir(one.account)
    await until(lambda: trying.tried == ["one"])
    # Not twice at once, whatever happens meanwhile.
    trying.standby.stir(one.account)
    await those_before_were_looked_at()
    assert trying.tried == ["one"]


async def test_one_of_which_it_is_not_known_what_it_needs_is_tried_to_learn_that() -> None:
    trying = Trying(could=False)
    trying.standby.enter(entry("loaded"))
    await until(lambda: trying.tried == ["loaded"])


async def test_a_few_of_each_priority_are_tried_at_once_and_principals_take_turns() -> None:
    trying = Trying()
    flood = [entry(f"flood {number}", "flooding") for number in range(MOST_TRIED + 4)]
    other = entry("other", "other")
    trying.enter(*flood, other, entry("urgent", "flooding", "high"))
    await until(lambda: trying.tried)
    assert len(trying.tried) == MOST_TRIED + 1
    assert trying.tried[0] == "urgent"
    assert "other" in trying.tried[:3]
    trying.standby.leave(flood[0])
    await until(lambda: len(trying.tried) == MOST_TRIED + 2)


async def test_one_that_was_tried_in_vain_has_a_pause_that_grows() -> None:
    trying = Trying()
    one = entry("one")
    trying.enter(one)
    pauses = []
    for count in range(1, 4):
        await until(lambda count=count: len(trying.tried) == count)  # type: ignore[misc]
        trying.standby.enter(one)
        pauses.append(one.pause)
        one.not_before = 0.0
        trying.standby.stir(one.account)
    assert pauses == [0.25, 0.5, 1.0]


async def test_one_whose_time_is_over_is_ended_and_tried_again_where_that_cannot_be_written() -> None:
    trying = Trying()
    one = entry("one")
    one.exp = trying.clock.at
    trying.enter(one)
    trying.fails = True
    await trying.standby.look()
    assert trying.expired == []
    trying.fails = False
    await trying.standby.look()
    assert (trying.expired, trying.tried) == (["one"], [])


async def test_none_is_tried_when_the_manager_ends() -> None:
    trying = Trying()
    trying.enter(entry("one"))
    trying.standby.close()
    await those_before_were_looked_at()
    trying.standby.stir("a" * 52)
    await those_before_were_looked_at()
    assert trying.tried == []
