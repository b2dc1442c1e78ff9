"""Figure: how long the manager takes to choose one of 10,000 delegates, by selectors that it was never asked for before.

The delegates have 1,000 distinct tag sets, beside their own names and hosts. A task asks for one to three tags of one of these
sets, drawn anew each time, for a keyring's generation and for a kind. Before each choice 1 % of the delegates change: most are
given a task or answer one, some get other tags, some leave and others come. The changes are timed too, for information, and so is
what everybody would write first: looking at each delegate. Both must choose the same one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace

from manager.routing import Candidate, Wanted
from manager.selection import Selection
from tests.bench.child import Unmeasured
from tests.bench.report import Row, against_value, info, median, percentile
from tests.fakes.scanning import choose

DELEGATES = 10_000
TAG_SETS = 1_000
TAGS = 400
CHURN = DELEGATES // 100
CAPACITIES = (4, 10, 20, 50)
KINDS = tuple(f"Kind{number}" for number in range(18))
SCOPES = frozenset({"org/payments"})


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    return await asyncio.to_thread(_measure, 500 if quick else 5_000, 20 if quick else 100)


def _measure(rounds: int, scans: int) -> list[Row]:
    fleet = _Fleet()
    choices, slow = [], []
    for number in range(rounds):
        for _ in range(CHURN):
            fleet.change()
        wanted = fleet.question()
        began = time.perf_counter()
        chosen = fleet.selection.choose(wanted)
        choices.append(time.perf_counter() - began)
        if number % (rounds // scans) == 0:
            candidates = list(fleet.candidates.values())
            began = time.perf_counter()
            scanned = choose(candidates, wanted)
            slow.append(time.perf_counter() - began)
            if chosen != (scanned.delegate if scanned else None):
                raise Unmeasured("another delegate is chosen than by looking at each")
    name = "choosing among 10,000 delegates, 1 % of them changed"
    return [
        against_value(f"{name}, p50", median(choices) * 1e6, "us", 50, "at most", floor=median(slow) * 1e6),
        info(f"{name}, p99", percentile(choices, 99) * 1e6, "us"),
        info("choosing by looking at each, p50 (the floor above)", median(slow) * 1e6, "us"),
        info("a delegate's change, p50", median(fleet.changes) * 1e6, "us"),
        info("a delegate's change, p99", percentile(fleet.changes, 99) * 1e6, "us"),
    ]


class _Fleet:
    """The same delegates as candidates and as a selection."""

    def __init__(self) -> None:
        self._chance = random.Random(1)  # noqa: S311 (the same fleet in each run)
        tags = [f"tag:{number}" for number in range(TAGS)]
        self._sets = [frozenset(self._chance.sample(tags, self._chance.randint(3, 8))) for _ in range(TAG_SETS)]
        self._made = self._turns = 0
        self.selection = Selection()
        self.candidates: dict[str, Candidate] = {}
        self.changes: list[float] = []
        for _ in range(DELEGATES):
            self._join()
        self._ids = list(self.candidates)

    def question(self) -> Wanted:
        """What a task needs."""
        tags = sorted(self._chance.choice(self._sets))
        selectors = frozenset(self._chance.sample(tags, self._chance.randint(1, 3)))
        return Wanted(
            "main", self._chance.randint(1, 2), frozenset({self._chance.choice(KINDS)}), selectors, scopes=SCOPES
        )

    def change(self) -> None:
        """Something happens to one delegate."""
        at = self._chance.randrange(DELEGATES)
        one, what = self.candidates[self._ids[at]], self._chance.random()
        if what < 0.02:
            del self.candidates[one.delegate]
            self._timed(lambda: self.selection.remove(one.delegate))
            self._ids[at] = self._join()
        elif what < 0.04:
            own = frozenset({one.name, f"host-{one.name}"})
            self._put(replace(one, tags=self._chance.choice(self._sets) | own))
        else:
            self._load(one, self._chance.choice(CAPACITIES), is_given=what < 0.52)

    def _load(self, one: Candidate, capacity: int, is_given: bool) -> None:
        executing = self._chance.randint(0, capacity)
        changed = replace(one, load=executing / capacity, free=executing < capacity)
        if is_given:
            self._turns += 1
            changed = replace(changed, order=self._turns)
        self.candidates[one.delegate] = changed

        def update() -> None:
            self.selection.report(one.delegate, True, changed.load if changed.free else None)
            if is_given:
                self.selection.turn(one.delegate)

        self._timed(update)

    def _join(self) -> str:
        self._made += 1
        name, tags = f"delegate-{self._made}", self._sets[self._made % TAG_SETS]
        generations = frozenset({1, 2} if self._made % 20 else {2})
        kinds = frozenset(KINDS if self._made % 10 else KINDS[:12])
        own = frozenset({name, f"host-{name}"})
        self._put(Candidate(name, name, tags | own, "main", generations, kinds, True, False, True, 0.0, 0))
        return name

    def _put(self, candidate: Candidate) -> None:
        self.candidates[candidate.delegate] = candidate
        self._timed(lambda: self.selection.put(candidate))

    def _timed(self, change: Callable[[], None]) -> None:
        began = time.perf_counter()
        change()
        self.changes.append(time.perf_counter() - began)
