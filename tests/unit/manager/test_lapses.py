"""What counts for a while: what lapses first goes first, by account, and it takes no more room than there is."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st

from manager.lapses import SLACK, Lapses

EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 9))), max_size=60
)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Thing:
    """Equal to others of its name, and held as long as somebody holds this one."""

    name: str


@given(EVENTS, st.integers(0, 9))
def test_what_has_lapsed_is_what_looking_at_everything_would_find(
    events: list[tuple[str, str, int | None]], now: int
) -> None:
    lapses, obvious = Lapses[tuple[str, str]](), dict[tuple[str, str], int]()
    for account, name, until in events:
        thing = account, name
        if until is None:
            lapses.drop(account, thing)
            obvious.pop(thing, None)
        else:
            lapses.set(account, thing, until)
            obvious[thing] = until
        assert lapses.next() == min(obvious.values(), default=float("inf"))
    if obvious:
        counts = {account: sum(thing[0] == account for thing in obvious) for account in "ab"}
        surplus = lapses.surplus()
        assert counts[surplus[0]] == max(counts.values())
        assert obvious[surplus] == min(until for thing, until in obvious.items() if thing[0] == surplus[0])
    due = list(lapses.due(now))
    assert sorted(due) == sorted(thing for thing, until in obvious.items() if until <= now)
    assert lapses.next() == min((until for until in obvious.values() if until > now), default=float("inf"))


def test_one_that_is_set_again_and_again_takes_the_room_of_one() -> None:
    lapses, made = Lapses[Thing](), list[ref[Thing]]()

    def thing(name: str) -> Thing:
        one = Thing(name)
        made.append(ref(one))
        return one

    def held() -> int:
        return sum(one() is not None for one in made)

    for at in range(10_000):
        lapses.set("a", thing("x"), at)
    assert held() <= 3 + SLACK
    for at in range(10_000):
        lapses.set("b", thing(str(at)), at)
        lapses.drop("b", thing(str(at)))
    assert held() <= 3 + SLACK
