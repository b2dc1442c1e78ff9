"""The fleet: whatever its delegates' streams say, it chooses whom looking at every delegate that is known would choose."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from manager.fleet import Delegate, Fleet
from manager.probed import Probed
from manager.routing import Wanted
from shared.documents.certificate import CertificateDocument
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified
from shared.messages import Challenge, Credit, Drain, FromManager, Heartbeat, Hello, Need, Result, Task, Use, Welcome
from shared.session import Phase, Session, Side
from shared.trust.group import NO_GROUPS, Groups, tags_of
from tests.fakes.scanning import choose, could_wait, doubted, has_sound
from tests.fakes.world import World

WORLD = World()
NAMES = ("one", "two", "three")
OF = {"one": "builders", "two": "builders", "three": None}
"""Which groups they are of."""


def certified(name: str, *tags: str) -> Verified[CertificateDocument]:
    return WORLD.certificate(key=WORLD.identity(name).key, name=name, tags=(*tags, name), group=OF[name])


CERTIFICATES = {name: certified(name) for name in NAMES}
RENEWED = {name: certified(name, "disk:fast") for name in NAMES}
GROUPS: list[dict[str, Verified[GroupDocument]]] = [
    {},
    *(
        {name: WORLD.sign(GroupDocument(v=1, acct=WORLD.id, id=name, rev=1, iat=0, tags=tags), WORLD.administrator)}
        for name, tags in (("builders", ("disk:fast",)), ("builders", ("gpu", "two")))
    ),
]
TASKS = ("a", "b", "c")
WANTED = Wanted("main", 1, frozenset({"Local"}), frozenset())


async def _send(message: FromManager) -> None:
    """To nobody."""


def connected(name: str, credits: int, groups: Groups = NO_GROUPS) -> Delegate:
    session = Session()
    session.record(Side.MANAGER, Challenge(bytes(32)))
    session.record(Side.DELEGATE, Hello("", b"", "", "", (), (), 0))
    session.record(Side.MANAGER, Welcome(1, 1, 1))
    if credits:
        session.record(Side.DELEGATE, Credit(credits))
    certificate = CERTIFICATES[name]
    return Delegate(
        account=WORLD.id,
        kid=WORLD.identity(name).kid,
        certificate=certificate,
        tags=tags_of(certificate.document, groups),
        generations=frozenset({1}),
        kinds=frozenset({"Local"}),
        version="",
        capacity=4,
        session=session,
        send=_send,
        cut=lambda: None,
        connected_at=0,
        last_seen=0,
    )


@dataclass(frozen=True)
class Event:
    """Something that happens to the stream of one delegate, or to what was its stream before."""

    what: str
    name: str
    task: str = "a"
    number: int = 1


events = st.builds(
    Event,
    what=st.sampled_from(
        [
            "join",
            "leave",
            "late",
            "credit",
            "give",
            "give",
            "answer",
            "need",
            "over",
            "drain",
            "renew",
            "regroup",
            "test",
            "lapse",
        ]
    ),
    name=st.sampled_from(NAMES),
    task=st.sampled_from(TASKS),
    number=st.integers(0, 2),
)


def happen(fleet: Fleet, streams: dict[str, list[Delegate]], event: Event, groups: Groups = NO_GROUPS) -> None:
    """To the newest stream of that delegate; `late` to the one before, which was replaced."""
    if event.what == "regroup":
        fleet.regroup(WORLD.id, groups)
        return
    if event.what == "join":
        joined = connected(event.name, event.number, groups)
        fleet.join(joined)
        streams[event.name].append(joined)
        return
    at = -2 if event.what == "late" else -1
    if len(streams[event.name]) < -at:
        return
    delegate = streams[event.name][at]
    session, owed = delegate.session, delegate.session.outstanding
    match event.what:
        case "leave" | "late":
            fleet.leave(streams[event.name].pop(at), 0)
        case "credit" if event.number:
            session.record(Side.DELEGATE, Credit(event.number))
        case "answer" if event.task in owed:
            session.record(Side.DELEGATE, Result(event.task, owed[event.task], "answer"))
        case "need" if event.task in owed:
            session.record(Side.DELEGATE, Need(event.task, owed[event.task], ()))
        case "over":
            session.record(Side.DELEGATE, Heartbeat(cpu=Use(90, 80, event.number > 0)))
        case "drain":
            session.record(Side.DELEGATE, Drain())
        case "renew":
            fleet.renew(delegate, RENEWED[event.name], groups)
        case "test":
            fleet.mark(delegate, "vault", Probed("vault", "denied" if event.number else "ok", 0, 300))
        case "lapse":
            fleet.mark(delegate, "vault", None)
        case _:
            pass


@settings(deadline=None, max_examples=200)
@given(
    st.lists(events, max_size=40),
    st.sampled_from([frozenset[str](), frozenset({"disk:fast"}), frozenset({"two"}), frozenset({"builders", "gpu"})]),
)
def test_the_fleet_chooses_whom_looking_at_everybody_would_choose(what: list[Event], selectors: frozenset[str]) -> None:
    fleet, streams = Fleet(), {name: list[Delegate]() for name in NAMES}
    for name in NAMES:
        happen(fleet, streams, Event("join", name))
    groups: Groups = NO_GROUPS
    for event in what:
        groups = GROUPS[event.number] if event.what == "regroup" else groups
        happen(fleet, streams, event, groups)
        through = frozenset({"vault"}) if event.task == "b" else frozenset[str]()
        wanted = replace(WANTED, selectors=selectors if event.number else frozenset(), connectors=through)
        candidates = fleet.candidates(WORLD.id, 0, event.task)
        for one in candidates:
            if one.online and one.name != "three":
                by_group = groups["builders"].document.tags if groups else ()
                assert one.tags - {"disk:fast"} == {one.name, "builders", *by_group} - {"disk:fast"}
                assert "disk:fast" in one.tags or "disk:fast" not in by_group
        expected = choose(candidates, wanted)
        chosen = fleet.choose(WORLD.id, wanted, event.task)
        assert (chosen and chosen.kid) == (expected and expected.delegate)
        assert fleet.could_wait(WORLD.id, wanted) == could_wait(candidates, wanted)
        assert fleet.has_sound(WORLD.id, wanted) == has_sound(candidates, wanted)
        assert {one.kid for one in fleet.doubted(WORLD.id, wanted, 10)} == doubted(candidates, wanted)
        if event.what == "give" and chosen is not None:
            chosen.session.record(Side.MANAGER, Task(event.task, 1, "document"))
            fleet.take_turn(chosen)


def test_what_is_left_of_an_older_stream_changes_nothing_of_the_newer() -> None:
    fleet, older, newer = Fleet(), connected("one", 1), connected("one", 1)
    fleet.join(older)
    assert fleet.join(newer) is older
    older.session.record(Side.DELEGATE, Drain())
    assert older.session.phase is Phase.DRAINING
    fleet.take_turn(older)
    fleet.renew(older, RENEWED["one"])
    assert fleet.choose(WORLD.id, WANTED, "a") is newer
    assert fleet.choose(WORLD.id, replace(WANTED, selectors=frozenset({"disk:fast"})), "a") is None
    fleet.leave(older, 0)
    assert fleet.choose(WORLD.id, WANTED, "a") is newer
    fleet.leave(newer, 0)
    fleet.take_turn(newer)
    assert fleet.choose(WORLD.id, WANTED, "a") is None
    assert not fleet.could_wait(WORLD.id, WANTED)
    assert not fleet.could_wait("nobody", WANTED)


def test_a_groups_tags_count_for_the_choice_at_once_and_tell_who_has_changed() -> None:
    fleet = Fleet()
    for name in NAMES:
        fleet.join(connected(name, 1))
    fast = replace(WANTED, selectors=frozenset({"disk:fast"}))
    assert fleet.choose(WORLD.id, fast, "a") is None and not fleet.could_wait(WORLD.id, fast)
    assert {one.name for one in fleet.regroup(WORLD.id, GROUPS[1])} == {"one", "two"}
    assert fleet.regroup(WORLD.id, GROUPS[1]) == []
    chosen = fleet.choose(WORLD.id, fast, "a")
    assert chosen is not None and chosen.name == "one" and chosen.group == "builders"
    assert {one.name for one in fleet.regroup(WORLD.id, GROUPS[0])} == {"one", "two"}
    assert fleet.choose(WORLD.id, fast, "a") is None
    assert fleet.regroup("nobody", GROUPS[1]) == []
