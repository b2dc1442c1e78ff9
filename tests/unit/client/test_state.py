"""What was seen before: nobody shows this client an older world, in this run or a later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from client.home import Home
from client.state import State
from shared.audit import Head
from shared.documents.jws import Verified, parse
from shared.errors import Malformed, Tampered
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def revisions(world: World) -> tuple[Verified[Any], Verified[Any]]:
    first = world.secret("token")
    return first, world.revise(first, description="newer")


def test_an_older_revision_is_refused_in_a_later_run(world: World, home: Home) -> None:
    first, second = revisions(world)
    state = State(world.id, home)
    state.check(parse(first.compact))
    state.take(first)
    state.take(second)
    state.save()
    later = State(world.id, home)
    later.check(parse(second.compact))
    with pytest.raises(Tampered, match="revision 2 was seen before"):
        later.check(parse(first.compact))


def test_an_older_head_of_the_account_or_status_is_refused(world: World, home: Home) -> None:
    first = world.status
    state = State(world.id, home)
    state.take(first)
    state.take(world.revise_status())
    state.check(parse(first.compact))  # as the base of a renewed one
    with pytest.raises(Tampered):
        state.check_head(first)


def test_two_documents_with_one_revision_are_a_fork(world: World, home: Home) -> None:
    first, second = revisions(world)
    state = State(world.id, home)
    state.take(second)
    with pytest.raises(Tampered, match="two secret documents"):
        state.take(world.next(first, description="other"))


def test_an_older_or_another_version_is_refused_in_a_later_run(world: World, home: Home) -> None:
    state = State(world.id, home)
    state.take_version("s", 3, "digest of three")
    state.save()
    later = State(world.id, home)
    later.check_version("s", 3, "digest of three")
    later.check_version("s", 4, "digest of four")  # nobody signed it: not remembered
    for n, digest, code in ((2, "digest of two", "version_rolled_back"), (3, "forged", "version_forked")):
        with pytest.raises(Tampered) as caught:
            later.check_version("s", n, digest)
        assert caught.value.code == code
    later.take_version("s", 5, "digest of five")
    assert later.seen.versions["s"] == (5, "digest of five")


def test_an_older_secret_in_the_place_of_a_newer_one_is_refused(world: World, home: Home) -> None:
    state, old = State(world.id, home), world.secret("token")
    world.now += 1000
    state.take(world.publish(world.secret_document("token", id=world.opaque("another"))))
    with pytest.raises(Tampered, match="another, older secret"):
        state.take(old)


def test_a_secret_may_be_made_anew_after_it_was_deleted(world: World, home: Home) -> None:
    state, old = State(world.id, home), world.secret("token")
    world.now += 10
    state.take(old)
    state.take(world.revise(old, deleted=True))
    assert state.seen.places["account:token"][0] == ""
    world.now += 10
    new = world.publish(world.secret_document("token", id=world.opaque("another")))
    state.take(new)
    assert state.seen.places["account:token"] == (new.document.id, world.now)


def test_two_processes_keep_the_union_of_what_they_saw(world: World, home: Home) -> None:
    first, second = revisions(world)
    one, two = State(world.id, home), State(world.id, home)
    one.take(second)
    one.take_version("s", 4, "four")
    one.take_audit(Head(7, b"h" * 32))
    one.take_trust(["document"], "etag")
    two.take(first)
    two.take_version("t", 1, "one")
    one.save()
    two.save()
    seen = State(world.id, home).seen
    assert seen.revisions[f"secret account:{first.document.id}"] == (2, second.digest)
    assert seen.versions == {"s": (4, "four"), "t": (1, "one")}
    assert seen.audit[0] == 7
    assert (seen.documents, seen.etag) == (["document"], "etag")


def test_two_processes_that_were_shown_different_things_find_out(world: World, home: Home) -> None:
    first, second = revisions(world)
    one, two = State(world.id, home), State(world.id, home)
    one.take(second)
    two.take(world.next(first, description="other"))
    one.save()
    with pytest.raises(Tampered, match="two secret documents"):
        two.save()


def test_the_audits_head_never_goes_back(world: World) -> None:
    state = State(world.id)
    assert state.audit == Head()
    state.take_audit(Head(5, b"a" * 32))
    state.take_audit(Head(3, b"b" * 32))
    assert state.audit == Head(5, b"a" * 32)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"v":"x"}', b"\xff\xfe"])
def test_a_damaged_file_is_told_and_left(world: World, home: Home, damage: bytes) -> None:
    path = home.write(damage, "seen", f"{world.id}.json")
    with pytest.raises(Malformed, match="damaged"):
        State(world.id, home)
    assert path.read_bytes() == damage


def test_nothing_is_written_when_nothing_new_was_seen(world: World, home: Home) -> None:
    State(world.id, home).save()
    assert not home.root.exists()
    assert structs.asdict(State(world.id, home).seen)["revisions"] == {}


def test_two_processes_that_were_shown_two_histories_find_out_when_they_save(world: World, home: Home) -> None:
    one, other, third = (State(world.id, home) for _ in range(3))
    one.take_version("s", 3, "a")
    other.take_version("s", 3, "b")
    one.save()
    with pytest.raises(Tampered, match="another version 3"):
        other.save()
    third.take_audit(Head(7, b"x" * 32))
    third.save()
    fourth = State(world.id)
    fourth._home = home
    fourth.take_audit(Head(7, b"y" * 32))
    with pytest.raises(Tampered, match="entry 7"):
        fourth.save()


def test_another_proven_version_with_a_seen_number_is_a_fork(world: World) -> None:
    state = State(world.id)
    state.take_version("s", 3, "a")
    state.take_version("s", 3, "a")
    state.take_version("s", 2, "older ones may be opened")
    with pytest.raises(Tampered, match="another version 3"):
        state.take_version("s", 3, "b")
