"""Selection: whatever happens to a fleet, it chooses whom looking at every delegate would choose."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from manager.probed import Probed
from manager.routing import CLOCK_WRONG, Candidate, Wanted, fits, reasons
from manager.selection import FEW, STEPS, Selection
from shared.condition import parsed
from shared.documents.task import EXEC
from tests.fakes.scanning import choose, could_wait, doubted, has_sound

ids = st.sampled_from([f"kid-{number}" for number in range(12)])
tags = st.frozensets(st.sampled_from(["zone:a", "zone:b", "disk:fast", "host-1", "kid-1"]), max_size=4)
kinds = st.frozensets(st.sampled_from(["Local", "AwsKms", EXEC]))
generations = st.sampled_from([frozenset({1}), frozenset({1, 2}), frozenset({2, 3}), frozenset()])
groups = st.sampled_from(["", "", "builders", "others"])
group_tags = st.frozensets(st.sampled_from(["zone:a", "zone:b", "disk:fast", "builders"]), max_size=3)
keyrings = st.sampled_from(["main", "main", "main", "other"])
owned = st.sampled_from([(), (), ("org/a",), ("org/a/project/x", "org/b"), ("account",)])
loads = st.sampled_from([0.0, 0.0, 0.5, 1.0])
revisions = st.sampled_from(["vault 1", "vault 2", "kms 1"])
wanteds = st.just(Wanted("main", 1, frozenset(), frozenset())) | st.builds(
    Wanted,
    keyring=keyrings,
    generation=st.sampled_from([1, 1, 2, 3]),
    kinds=st.frozensets(st.sampled_from(["Local", "AwsKms", EXEC]), max_size=2),
    selectors=st.frozensets(
        st.sampled_from(["zone:a", "zone:b", "disk:fast", "host-1", "kid-1", "builders", "others", "nobody's"]),
        max_size=2,
    ),
    to=st.none() | ids,
    conditions=st.lists(
        st.sampled_from(
            [
                "zone:a",
                "not zone:a",
                "zone:a or disk:fast",
                "not (zone:b and host-1) and kid-1",
                "nobody",
                "not builders",
            ]
        ).map(parsed),
        max_size=2,
    ).map(tuple),
    scopes=st.frozensets(st.sampled_from(["account", "org/a", "org/a/project/x", "org/b"]), max_size=2),
    tried=st.frozensets(ids, max_size=3),
    connectors=st.frozensets(revisions, max_size=2),
    forgiving=st.booleans(),
)


class Fleets(RuleBasedStateMachine):
    """One fleet, known twice: as a list of candidates and as a selection."""

    def __init__(self) -> None:
        super().__init__()
        self.candidates: dict[str, Candidate] = {}
        self.own: dict[str, frozenset[str]] = {}
        self.groups: dict[str, frozenset[str]] = {}
        self.turns = 0

    @initialize(few=st.sampled_from([0, 2, FEW]))
    def begin(self, few: int) -> None:
        self.selection = Selection(few)

    @rule(
        id=ids, tags=tags, kinds=kinds, generations=generations, keyring=keyrings, load=loads, owned=owned, group=groups
    )
    def join(
        self,
        id: str,
        group: str,
        owned: tuple[str, ...],
        tags: frozenset[str],
        kinds: frozenset[str],
        generations: frozenset[int],
        keyring: str,
        load: float,
    ) -> None:
        """Of an identity that is here already, the older stream is forgotten."""
        self.leave(id)
        self.own[id] = tags | {id}
        all_ = self.tags_of(id, group)
        one = Candidate(
            id, id, all_, keyring, generations, kinds, True, False, True, load, 0, scopes=owned, group=group
        )
        self.candidates[id] = one
        self.selection.put(one)

    def tags_of(self, id: str, group: str) -> frozenset[str]:
        """Its own tags, its group's name and its group's tags."""
        return self.own[id] | self.groups.get(group, frozenset()) | ({group} if group else set())

    @rule(group=groups, tags=group_tags)
    def regroup(self, group: str, tags: frozenset[str]) -> None:
        """An administrator gives a group other tags, which change for all who are of it."""
        if not group:
            return
        self.groups[group] = tags
        for id, one in self.candidates.items():
            if one.group == group:
                self.candidates[id] = replace(one, tags=self.tags_of(id, group))
                self.selection.put(self.candidates[id])

    @rule(id=ids, revision=revisions, code=st.sampled_from(["ok", "denied", "denied", ""]))
    def test(self, id: str, revision: str, code: str) -> None:
        """What came of a test, or with no code that the last one counts no longer."""
        if id in self.candidates:
            probed = {**self.candidates[id].probed, revision: Probed(revision, code, 0, 300)}
            if not code:
                del probed[revision]
            self.candidates[id] = replace(self.candidates[id], probed=probed)
        self.selection.mark(id, revision, code == "denied")

    @rule(id=ids, seconds=st.sampled_from([0, 120, -120, 121, -121, 3_600]))
    def clock(self, id: str, seconds: int) -> None:
        """By how much its clock differs; two minutes are tolerated."""
        if id in self.candidates:
            self.candidates[id] = replace(self.candidates[id], clock=seconds)
        self.selection.mark(id, CLOCK_WRONG, abs(seconds) > 120)

    @rule(id=ids)
    def leave(self, id: str) -> None:
        self.candidates.pop(id, None)
        self.selection.remove(id)

    @rule(id=ids, tags=tags, kinds=kinds, generations=generations, owned=owned)
    def change(
        self, id: str, tags: frozenset[str], kinds: frozenset[str], generations: frozenset[int], owned: tuple[str, ...]
    ) -> None:
        if id in self.candidates:
            self.own[id] = tags
            all_ = self.tags_of(id, self.candidates[id].group)
            self.candidates[id] = replace(
                self.candidates[id], tags=all_, kinds=kinds, generations=generations, scopes=owned
            )
            self.selection.put(self.candidates[id])

    @rule(id=ids, online=st.booleans(), draining=st.booleans(), free=st.booleans(), load=loads)
    def report(self, id: str, online: bool, draining: bool, free: bool, load: float) -> None:
        self.selection.report(id, online and not draining, load if free else None)
        if id in self.candidates:
            self.candidates[id] = replace(self.candidates[id], online=online, draining=draining, free=free, load=load)

    @rule(wanted=wanteds, load=loads)
    def give(self, wanted: Wanted, load: float) -> None:
        """A task goes to whom it should, who has more to do then."""
        expected = choose(self.candidates.values(), wanted)
        assert self.selection.choose(wanted) == (expected.delegate if expected else None)
        if expected is not None:
            self.turns += 1
            self.candidates[expected.delegate] = given = replace(expected, load=load, order=self.turns)
            self.selection.report(given.delegate, True, load)
            self.selection.turn(given.delegate)

    @rule(wanted=wanteds)
    def ask(self, wanted: Wanted) -> None:
        everybody = self.candidates.values()
        assert self.selection.could_wait(wanted) == could_wait(everybody, wanted)
        assert self.selection.has_sound(wanted) == has_sound(everybody, wanted)
        assert [fits(one, wanted) for one in everybody] == [not reasons(one, wanted) for one in everybody]
        found = self.selection.doubted(wanted, 100)
        assert set(found) == doubted(everybody, wanted) and len(set(found)) == len(found)
        assert self.selection.doubted(wanted, 1) == found[:1]
        assert self.selection.tally(wanted).get("probe_failed", 0) == sum(
            any(one.probed[name].has_failed for name in wanted.connectors & one.probed.keys())
            for one in everybody
            if not wanted.forgiving
        )
        off = 0 if wanted.forgiving else sum(one.is_off for one in everybody)
        assert self.selection.tally(wanted).get(CLOCK_WRONG, 0) == off

    @invariant()
    def everybody_is_known(self) -> None:
        if hasattr(self, "selection"):
            assert len(self.selection) == len(self.candidates)


TestFleets = Fleets.TestCase
TestFleets.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def fleet_of(size: int) -> Selection:
    """So many alike, all free."""
    selection = Selection()
    for number in range(size):
        selection.put(
            Candidate(
                f"kid-{number}", "x", frozenset({f"host-{number}"}), "main", frozenset({1}), frozenset({"Local"}),
                True, False, True, 0.0, 0,
            )
        )  # fmt: skip
    return selection


ANY = Wanted("main", 1, frozenset({"Local"}), frozenset())


def test_equals_have_their_turns_one_after_the_other_for_ever() -> None:
    selection = fleet_of(100)
    for turn in range(1_000):
        assert selection.choose(ANY) == f"kid-{turn % 100}"
        selection.turn(f"kid-{turn % 100}")


def test_the_queue_stays_short_and_whatever_was_asked_before_is_still_right() -> None:
    selection = fleet_of(100)
    for number in range(100):  # the masks are there, and must be kept right
        assert selection.choose(replace(ANY, selectors=frozenset({f"host-{number}"}))) == f"kid-{number}"
    longest = 0
    for turn in range(3_000):
        selection.turn(f"kid-{turn * 7 % 50}")
        longest = max(longest, selection.places)
    assert longest <= 3 * 100 + STEPS
    # Those who never had a turn are first, and there are fifty.
    for number in range(50, 100):
        assert selection.choose(ANY) == f"kid-{number}"
        selection.turn(f"kid-{number}")
    for number in range(100):
        assert selection.choose(replace(ANY, selectors=frozenset({f"host-{number}"}))) == f"kid-{number}"


def test_a_name_or_host_finds_one_among_many() -> None:
    selection = fleet_of(2_000)
    assert selection.choose(replace(ANY, selectors=frozenset({"host-1234"}))) == "kid-1234"
    assert selection.choose(replace(ANY, selectors=frozenset({"host-1234", "host-1"}))) is None
    assert selection.choose(replace(ANY, to="kid-77")) == "kid-77"
    assert selection.choose(replace(ANY, to="somebody")) is None
    assert selection.choose(replace(ANY, tried=frozenset({"kid-0", "kid-1"}))) == "kid-2"


def test_who_has_just_come_is_before_those_who_had_a_turn_and_after_those_who_came_earlier() -> None:
    selection = fleet_of(3)
    selection.turn("kid-0")
    one = Candidate("new", "x", frozenset(), "main", frozenset({1}), frozenset({"Local"}), True, False, True, 0.0, 0)
    selection.put(one)
    selection.turn("kid-2")
    chosen = []
    for _ in range(4):
        chosen.append(selection.choose(ANY) or "")
        selection.turn(chosen[-1])
    assert chosen == ["kid-1", "new", "kid-0", "kid-2"]


def test_an_empty_fleet_has_nobody() -> None:
    selection = fleet_of(1)
    selection.remove("kid-0")
    selection.remove("kid-0")
    selection.report("kid-0", True, 0.0)
    assert (selection.choose(ANY), selection.could_wait(ANY), len(selection)) == (None, False, 0)
    selection.put(
        Candidate("a", "a", frozenset(), "main", frozenset({1}), frozenset({"Local"}), True, False, True, 0, 0)
    )
    assert selection.choose(ANY) == "a"
