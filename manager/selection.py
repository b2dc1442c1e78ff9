"""Whom routing chooses, found among many thousands without looking at each. Pure: no I/O, no clock.

All who can take tasks stand in one queue, who was given a task goes to its end. What they have in common makes crowds: those
that know a kind, carry a tag, have the same load. A crowd is also a *mask*, a number that has the bit of each one's place in the
queue, so that `&` of a few masks gives those who fit, and the lowest bit the one that waited longest. Nothing is remembered of
questions, so that a new one costs no more than an old one.

Promises the very choice of whoever would apply `routing.reasons` to each and take the least (load, order) of those without one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Hashable, Iterator
from functools import reduce
from operator import and_, or_

from manager.routing import BUSY, CLOCK_WRONG, PROBE_FAILED, Candidate, Standing, Wanted, takes
from shared.condition import All, Any, Condition, Not, Tag
from shared.documents.task import EXEC

FEW = 32
"""Those who carry a rarer tag than this (a name, a host) are looked at one by one: masks of each would fill the memory."""

STEPS = 3
"""Places that are looked at for each one taken at the queue's end, to close gaps: it stays within thrice its members."""


class _Crowd:
    """Those who have something in common. `mask` is made when it is first asked for, and kept right from then on."""

    __slots__ = ("mask", "members")

    def __init__(self) -> None:
        self.members: set[_Member] = set()
        self.mask: int | None = None

    def places(self) -> int:
        """The mask."""
        if self.mask is None:
            bits = bytearray(max((one.place for one in self.members), default=0) // 8 + 1)
            for one in self.members:
                bits[one.place >> 3] |= 1 << (one.place & 7)
            self.mask = int.from_bytes(bits, "little")
        return self.mask


class _Member:
    """One delegate: its place in the queue, the crowds that it is in, its load if it is free."""

    __slots__ = ("crowds", "delegate", "load", "place", "traits")

    def __init__(self, delegate: str, place: int) -> None:
        self.delegate = delegate
        self.place = place
        self.traits: frozenset[Hashable] = frozenset()
        self.crowds: set[_Crowd] = set()
        self.load: float | None = None


class Selection:
    """The delegates of one account that are connected, ready to be chosen among."""

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self._members: dict[str, _Member] = {}
        self._queue: list[_Member | None] = []
        self._closed = self._looked = 0
        self._crowds: dict[Hashable, _Crowd] = {}
        self._levels: dict[float, _Crowd] = {}
        self._loads: list[float] = []
        self._open = _Crowd()
        self._fresh = _Crowd()
        self._everybody = _Crowd()
        self._failed: dict[str, _Crowd] = {}
        """Whose test of a connector's revision failed, by its digest; and by `CLOCK_WRONG` whose clock is, which no task goes without."""
        self._owned: set[tuple[str, ...]] = set()
        """What somebody's policy takes: few, as a rule one or two."""
        self._last = 0, 0
        """Who could take what was last chosen for, and who of them was as little loaded as the chosen one."""

    def __len__(self) -> int:
        return len(self._members)

    @property
    def places(self) -> int:
        """The queue's length, with the gaps in it."""
        return len(self._queue)

    # What changes.

    def put(self, candidate: Candidate) -> None:
        """It is here, or has other tags, kinds or generations. Its place is by `turn`: `order` isn't looked at."""
        member = self._members.get(candidate.delegate)
        if member is None:
            member = self._members[candidate.delegate] = _Member(candidate.delegate, len(self._queue))
            self._queue.append(member)
            self._enter(member, self._fresh)
            self._enter(member, self._everybody)
            self._close_gaps()
        traits = frozenset(_traits(candidate))
        for trait in member.traits - traits:
            self._quit(member, trait)
        for trait in traits - member.traits:
            crowd = self._crowds.get(trait)
            if crowd is None:
                crowd = self._crowds[trait] = _Crowd()
            self._enter(member, crowd)
        member.traits = traits
        for connector, one in candidate.probed.items():
            self.mark(candidate.delegate, connector, one.has_failed)
        self.mark(candidate.delegate, CLOCK_WRONG, candidate.is_off)
        self._owned.add(candidate.scopes)
        is_open = candidate.online and not candidate.draining
        self.report(candidate.delegate, is_open, candidate.load if candidate.free else None)

    def report(self, delegate: str, is_open: bool, load: float | None) -> None:
        """It isn't draining (`is_open`), and how loaded it is; None where it takes no task now. Nobody known: nothing happens."""
        member = self._members.get(delegate)
        if member is None:
            return
        if is_open != (self._open in member.crowds):
            (self._enter if is_open else self._leave)(member, self._open)
        load = load if is_open else None
        if load == member.load:
            return
        self._quit_level(member)
        if load is not None:
            level = self._levels.get(load)
            if level is None:
                level = self._levels[load] = _Crowd()
                insort(self._loads, load)
            self._enter(member, level)
        member.load = load

    def mark(self, delegate: str, connector: str, has_failed: bool) -> None:
        """Whether its test of that revision failed, and still counts, or its clock is wrong. Nobody known: nothing happens."""
        member, crowd = self._members.get(delegate), self._failed.get(connector)
        if member is None or has_failed == (crowd is not None and crowd in member.crowds):
            return
        if crowd is None:
            crowd = self._failed[connector] = _Crowd()
        (self._enter if has_failed else self._leave)(member, crowd)
        if not crowd.members:
            del self._failed[connector]

    def turn(self, delegate: str) -> None:
        """It was given a task: among equals it is last now."""
        member = self._members[delegate]
        if self._fresh in member.crowds:
            self._leave(member, self._fresh)
        self._queue.append(None)
        self._move(member, len(self._queue) - 1)
        self._close_gaps()

    def remove(self, delegate: str) -> None:
        """It is gone. Nobody known: nothing happens."""
        member = self._members.pop(delegate, None)
        if member is None:
            return
        self._quit_level(member)
        for trait in member.traits:
            self._quit(member, trait)
        for crowd in list(member.crowds):
            self._leave(member, crowd)
        for connector in [name for name, crowd in self._failed.items() if not crowd.members]:
            del self._failed[connector]
        self._queue[member.place] = None

    # What is asked.

    def choose(self, wanted: Wanted) -> str | None:
        """The least loaded that may have the task now, the one that waited longest among equals."""
        fitting = self._fitting(wanted)
        if not fitting:
            return None
        for load in self._loads:
            able = fitting & self._levels[load].places()
            if able:
                self._last = fitting, able
                # Who never had a task comes before all who had one.
                able = able & self._fresh.places() or able
                chosen = self._queue[(able & -able).bit_length() - 1]
                assert chosen is not None
                return chosen.delegate
        return None

    def could_wait(self, wanted: Wanted) -> bool:
        """Whether somebody may have the task, now or as soon as he is less busy or his test passes."""
        return bool(self._fitting(wanted, forgiving=True) & self._open.places())

    def has_sound(self, wanted: Wanted) -> bool:
        """Whether somebody may have it, now or as soon as he is less busy, against whom neither a failed test nor his clock speaks."""
        return bool(self._fitting(wanted) & self._open.places())

    def doubted(self, wanted: Wanted, most: int) -> list[str]:
        """Those against whom failed tests and clocks alone speak, at most so many, where at most one other is left; else nobody."""
        if wanted.forgiving or self._failed.keys().isdisjoint({CLOCK_WRONG, *wanted.connectors}):
            return []
        fitting = self._fitting(wanted, forgiving=True) & self._open.places()
        doubted = fitting & self._failing({CLOCK_WRONG, *wanted.connectors})
        if (fitting ^ doubted).bit_count() > 1:
            return []
        found: list[str] = []
        while doubted and len(found) < most:
            member = self._queue[(doubted & -doubted).bit_length() - 1]
            assert member is not None
            found.append(member.delegate)
            doubted &= doubted - 1
        return found

    def standing(self) -> Standing:
        """How the one stood that was chosen last; to be asked before anything changes."""
        fitting, equal = self._last
        able = sum((fitting & level.places()).bit_count() for level in self._levels.values())
        return Standing(able, equal.bit_count(), bool(equal & self._fresh.places()))

    def tally(self, wanted: Wanted) -> dict[str, int]:
        """How many are refused by each reason's code; one over a limit counts as busy, one may count for several."""
        all_, everybody = len(self), self._everybody.places()
        of_keyring = self._places(("keyring", wanted.keyring))
        of_generation = self._places(("generation", wanted.keyring, wanted.generation))
        kinds = wanted.kinds - {EXEC}
        free = sum(len(level.members) for level in self._levels.values())
        counts = {
            "not_chosen": 0 if wanted.to is None else all_ - (self._bit(wanted.to) != 0),
            "wrong_keyring": all_ - of_keyring.bit_count(),
            "generation_missing": (of_keyring & ~of_generation).bit_count(),
            "selectors_missing": all_ - self._all("tag", wanted.selectors, everybody),
            "condition_unmet": all_ - reduce(and_, map(self._holding, wanted.conditions), everybody).bit_count(),
            "out_of_scope": all_ - (self._taking(wanted.scopes).bit_count() if wanted.scopes else all_),
            "exec_off": all_ - self._all("kind", wanted.kinds & {EXEC}, everybody),
            "kind_unknown": all_ - self._all("kind", kinds, everybody),
            "tried": sum(one in self._members for one in wanted.tried),
            PROBE_FAILED: 0 if wanted.forgiving else self._failing(wanted.connectors).bit_count(),
            CLOCK_WRONG: 0 if wanted.forgiving else self._failing({CLOCK_WRONG}).bit_count(),
            "draining": all_ - len(self._open.members),
            BUSY: len(self._open.members) - free,
        }
        return {code: count for code, count in counts.items() if count}

    def _all(self, trait: str, names: frozenset[str], everybody: int) -> int:
        """How many have all of them."""
        return reduce(and_, (self._places((trait, name)) for name in names), everybody).bit_count()

    def _fitting(self, wanted: Wanted, *, forgiving: bool = False) -> int:
        """The places of those against whom nothing speaks but that they are busy or draining; `forgiving` as the task's."""
        needed = set()
        for trait in _needs(wanted):
            crowd = self._crowds.get(trait)
            if crowd is None:
                return 0
            needed.add(crowd)
        least = min(needed, key=lambda crowd: len(crowd.members))
        if len(least.members) <= self._few:
            fitting = 0
            for one in least.members:
                if needed <= one.crowds:
                    fitting |= 1 << one.place
        else:
            fitting = least.places()
            for crowd in needed:
                fitting &= crowd.places()
        for condition in wanted.conditions:
            fitting &= self._holding(condition)
        if fitting and wanted.scopes:
            fitting &= self._taking(wanted.scopes)
        if wanted.to is not None:
            fitting &= self._bit(wanted.to)
        for delegate in wanted.tried:
            fitting ^= fitting & self._bit(delegate)
        if fitting and self._failed and not (forgiving or wanted.forgiving):
            fitting ^= fitting & self._failing({CLOCK_WRONG, *wanted.connectors})
        return fitting

    def _failing(self, names: Collection[str]) -> int:
        """The places of those whose test of one of these connectors failed, or whose clock is wrong."""
        return reduce(or_, (self._among(self._failed.get(one)) for one in names), 0)

    def _holding(self, condition: Condition) -> int:
        """The places of those for whose tags it holds."""
        match condition:
            case Tag(tag):
                return self._places(("tag", tag))
            case Not(of):
                return self._everybody.places() ^ self._holding(of)
            case All(of):
                return reduce(and_, map(self._holding, of))
            case Any(of):
                return reduce(or_, map(self._holding, of))

    def _taking(self, scopes: frozenset[str]) -> int:
        """The places of those whose own policy takes tasks about all of the scopes."""
        self._owned = {owned for owned in self._owned if ("scopes", owned) in self._crowds}
        return reduce(or_, (self._places(("scopes", owned)) for owned in self._owned if takes(owned, scopes)), 0)

    def _places(self, trait: Hashable) -> int:
        """Of those who have it; a rare one isn't kept as a mask."""
        return self._among(self._crowds.get(trait))

    def _among(self, crowd: _Crowd | None) -> int:
        if crowd is None:
            return 0
        if crowd.mask is None and len(crowd.members) <= self._few:
            return reduce(or_, (1 << one.place for one in crowd.members), 0)
        return crowd.places()

    def _bit(self, delegate: str) -> int:
        member = self._members.get(delegate)
        return 0 if member is None else 1 << member.place

    # The queue and the crowds.

    def _move(self, member: _Member, place: int) -> None:
        """To an empty place."""
        self._queue[member.place], self._queue[place] = None, member
        bits = 1 << member.place | 1 << place
        member.place = place
        for crowd in member.crowds:
            if crowd.mask is not None:
                crowd.mask ^= bits

    def _close_gaps(self) -> None:
        """A few steps of a walk along the queue, after which none is left of the gaps that there were: nobody waits for all."""
        for _ in range(STEPS):
            if self._looked == len(self._queue):
                del self._queue[self._closed :]
                self._closed = self._looked = 0
            member = self._queue[self._looked]
            if member is not None:
                if self._closed < self._looked:
                    self._move(member, self._closed)
                self._closed += 1
            self._looked += 1

    @staticmethod
    def _enter(member: _Member, crowd: _Crowd) -> None:
        crowd.members.add(member)
        member.crowds.add(crowd)
        if crowd.mask is not None:
            crowd.mask |= 1 << member.place

    @staticmethod
    def _leave(member: _Member, crowd: _Crowd) -> None:
        crowd.members.remove(member)
        member.crowds.remove(crowd)
        if crowd.mask is not None:
            crowd.mask ^= 1 << member.place

    def _quit(self, member: _Member, trait: Hashable) -> None:
        crowd = self._crowds[trait]
        self._leave(member, crowd)
        if not crowd.members:
            del self._crowds[trait]

    def _quit_level(self, member: _Member) -> None:
        load = member.load
        if load is None:
            return
        level = self._levels[load]
        self._leave(member, level)
        if not level.members:
            del self._levels[load], self._loads[bisect_left(self._loads, load)]


def _traits(candidate: Candidate) -> Iterator[Hashable]:
    """What a task can ask of it."""
    yield "scopes", candidate.scopes
    yield "keyring", candidate.keyring
    for generation in candidate.generations:
        yield "generation", candidate.keyring, generation
    for kind in candidate.kinds:
        yield "kind", kind
    for tag in candidate.tags:
        yield "tag", tag


def _needs(wanted: Wanted) -> Iterator[Hashable]:
    """The same for what a task asks."""
    yield "generation", wanted.keyring, wanted.generation
    for kind in wanted.kinds:
        yield "kind", kind
    for tag in wanted.selectors:
        yield "tag", tag
