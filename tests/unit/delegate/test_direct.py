"""Direct stores: a reference is believed only as this keyring made it, and a provider is asked only for documents' places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from delegate.secret_managers.direct import Direct
from delegate.secret_managers.interface import SecretVersion, stored_bytes, stored_value
from delegate.secret_managers.ownership import (
    ACCOUNT_TAG,
    SECRET_TAG,
    check_owner,
    inline_name,
    is_of_account,
    tags_of,
)
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.crypto.reference import make
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Tampered
from shared.values import Wrapped
from tests.fakes.shelf import Shelf
from tests.fakes.versions import whole
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def direct(world: World, shelf: Shelf) -> Direct:
    return Direct(shelf, Zone(world.keyring, world.book()))


def version(world: World, identifier: str = "db", n: int = 1, scope: str = "org/acme", **changes: Any) -> SecretVersion:
    secret = world.secret_document(identifier, scope=scope, **changes)
    signed = world.sign(secret, world.administrator)
    aad = world.place(signed, n, digest(f"the store task of {identifier} {n}") if n else "")
    return SecretVersion(secret, world.connector.document, n, aad)


# ---- inline secrets


async def test_a_value_is_written_under_its_computed_name_and_read_by_its_version(world: World, shelf: Shelf) -> None:
    manager, first, second = direct(world, shelf), version(world), version(world, n=2)
    old = await manager.store(first, Plaintext(b"old"))
    new = await manager.store(second, Plaintext(b"new"))
    assert list(shelf.kept) == ["shelf/acme.db"]
    assert shelf.kept["shelf/acme.db"].tags == {ACCOUNT_TAG: world.id, SECRET_TAG: first.secret.id}
    assert (await manager.fetch(first, old)).reveal() == b"old"
    assert (await manager.fetch(second, stored_value(stored_bytes(new)))).reveal() == b"new"


async def test_a_forged_moved_or_changed_reference_never_reaches_the_provider(world: World, shelf: Shelf) -> None:
    manager, secret = direct(world, shelf), version(world)
    good = await manager.store(secret, Plaintext(b"x"))
    shelf.calls.clear()
    unknown = make(world.keyring.rotated(bytes(32)).newest, secret.aad, good.locator, {}, good.version)
    for stored in (
        structs.replace(good, version="other"),
        structs.replace(good, locator="shelf/other.db"),
        structs.replace(good, metadata={"version": "1"}),
        unknown,
        Wrapped(b"\x01" + bytes(200)),
    ):
        with pytest.raises(Tampered):
            await manager.fetch(secret, stored)
        with pytest.raises(Tampered):
            await manager.delete(secret, stored)
    with pytest.raises(Tampered):
        await manager.fetch(version(world, "other"), good)
    assert shelf.calls == []


async def test_an_excluded_generations_reference_opens_only_with_consent(world: World, shelf: Shelf) -> None:
    secret = version(world)
    stored = await direct(world, shelf).store(secret, Plaintext(b"x"))
    world.rotate()
    world.revise_status(keyrings={world.keyring.name: 2})
    manager = direct(world, shelf)
    shelf.calls.clear()
    with pytest.raises(Denied) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "generation_excluded" and shelf.calls == []
    assert (await manager.fetch(replace(secret, excluded=True), stored)).reveal() == b"x"


async def test_the_thief_of_an_excluded_generation_points_no_consenting_reader_elsewhere(
    world: World, shelf: Shelf
) -> None:
    victim, mine = version(world, "victim"), replace(version(world, "mine"), excluded=True)
    stored = await direct(world, shelf).store(victim, Plaintext(b"treasure"))
    stolen = world.keyring.newest
    world.rotate()
    world.revise_status(keyrings={world.keyring.name: 2})
    shelf.calls.clear()
    forged = make(stolen, mine.aad, "shelf/acme.victim", {}, stored.version)
    with pytest.raises(Conflict) as caught:
        await direct(world, shelf).fetch(mine, forged)
    assert caught.value.code == "locator_changed" and shelf.calls == []
    with pytest.raises(NotFound):
        await direct(world, shelf).fetch(mine, make(stolen, mine.aad, "shelf/acme.mine", {}, stored.version))


async def test_a_version_stored_under_another_prefix_says_so(world: World, shelf: Shelf) -> None:
    secret = version(world)
    stored = await direct(world, shelf).store(secret, Plaintext(b"x"))
    shelf.prefix = "moved/"
    shelf.calls.clear()
    with pytest.raises(Conflict) as caught:
        await direct(world, shelf).fetch(secret, stored)
    assert caught.value.code == "locator_changed" and shelf.calls == []


async def test_a_secret_that_is_kept_under_another_prefix_is_not_deleted_in_silence(world: World, shelf: Shelf) -> None:
    secret = version(world)
    stored = await direct(world, shelf).store(secret, Plaintext(b"x"))
    shelf.prefix = "moved/"
    shelf.calls.clear()
    with pytest.raises(Conflict) as caught:
        await direct(world, shelf).delete(whole(secret), stored)
    assert caught.value.code == "locator_changed" and shelf.calls == []
    await direct(world, shelf).delete(whole(secret), Wrapped(b"\x01" + bytes(200)))
    assert shelf.calls == ["remove"]


async def test_a_value_longer_than_the_provider_takes_is_refused_with_its_limit(world: World, shelf: Shelf) -> None:
    with pytest.raises(Malformed) as caught:
        await direct(world, shelf).store(version(world), Plaintext(bytes(65_537)))
    assert caught.value.code == "value_too_large" and "65,536 bytes" in caught.value.detail
    assert caught.value.facts == {"longest": 65_536} and shelf.calls == []


async def test_nothing_is_written_where_the_keyring_is_behind(world: World, shelf: Shelf) -> None:
    old = world.keyring
    world.rotate()
    manager = Direct(shelf, Zone(old, world.book()))
    for act in (manager.check(), manager.store(version(world), Plaintext(b"x"))):
        with pytest.raises(NotReady):
            await act
    assert shelf.calls == []


async def test_deleting_removes_one_version_or_all_and_may_be_repeated(world: World, shelf: Shelf) -> None:
    manager, first, second = direct(world, shelf), version(world), version(world, n=2)
    old = await manager.store(first, Plaintext(b"old"))
    new = await manager.store(second, Plaintext(b"new"))
    await manager.delete(first, old)
    await manager.delete(first, old)
    await manager.delete(first, None)
    with pytest.raises(NotFound):
        await manager.fetch(first, old)
    assert (await manager.fetch(second, new)).reveal() == b"new"
    await manager.delete(whole(first), None)
    await manager.delete(whole(first), None)
    assert shelf.kept == {}


async def test_what_others_keep_under_the_name_is_neither_overwritten_nor_deleted(world: World, shelf: Shelf) -> None:
    manager, secret = direct(world, shelf), version(world)
    shelf.place("shelf/acme.db", "theirs")
    for act in (manager.store(secret, Plaintext(b"mine")), manager.delete(whole(secret), None)):
        with pytest.raises(Conflict) as caught:
            await act
        assert caught.value.code == "origin_foreign"
    assert list(shelf.kept["shelf/acme.db"].versions.values()) == ["theirs"]


async def test_a_read_only_connector_reads_references_and_nothing_else(world: World) -> None:
    shelf = Shelf(read_only=True)
    shelf.place("prod/db", "theirs")
    manager, secret, inline = direct(world, shelf), version(world, reference="prod/db"), version(world)
    stored = await manager.store(secret, Plaintext(b""))
    assert (await manager.fetch(secret, stored)).reveal() == b"theirs"
    for act in (manager.store(inline, Plaintext(b"x")), manager.delete(whole(inline), None)):
        with pytest.raises(Denied) as caught:
            await act
        assert caught.value.code == "connector_read_only"


async def test_checking_and_closing_reach_the_store(world: World, shelf: Shelf) -> None:
    manager = direct(world, shelf)
    await manager.check()
    await manager.close()
    assert (shelf.calls, shelf.closed, manager.concurrency) == (["check"], 1, 8)


# ---- references


async def test_a_reference_is_checked_by_a_real_fetch_and_always_reads_the_newest(world: World, shelf: Shelf) -> None:
    manager, secret = direct(world, shelf), version(world, reference="prod/db#user.name")
    with pytest.raises(NotFound):
        await manager.store(secret, Plaintext(b""))
    shelf.place("prod/db", '{"user": {"name": "sa"}}')
    stored = await manager.store(secret, Plaintext(b""))
    assert (stored.version, stored.locator) == ("1", "prod/db#user.name")
    assert (await manager.fetch(secret, stored)).reveal() == b"sa"
    shelf.place("prod/db", '{"user": {"name": "admin"}}')
    assert (await manager.fetch(secret, stored)).reveal() == b"admin"
    assert "write" not in shelf.calls


async def test_a_references_key_must_be_there_when_it_is_made(world: World, shelf: Shelf) -> None:
    shelf.place("prod/db", '{"user": "sa"}')
    with pytest.raises(NotFound) as caught:
        await direct(world, shelf).store(version(world, reference="prod/db#password"), Plaintext(b""))
    assert caught.value.code == "key_missing"


async def test_a_reference_by_version_reads_that_one(world: World, shelf: Shelf) -> None:
    shelf.place("prod/db", "old")
    shelf.place("prod/db", "new")
    manager, secret = direct(world, shelf), version(world, reference="prod/db", metadata={"version": "1"})
    stored = await manager.store(secret, Plaintext(b""))
    assert (stored.version, stored.metadata) == ("1", {"version": "1"})
    assert (await manager.fetch(secret, stored)).reveal() == b"old"


async def test_a_version_is_bound_to_its_reference_and_metadata(world: World, shelf: Shelf) -> None:
    shelf.place("prod/db", "theirs")
    shelf.place("prod/other", "others")
    manager, secret = direct(world, shelf), version(world, reference="prod/db")
    stored = await manager.store(secret, Plaintext(b""))
    for changes in ({"reference": "prod/other"}, {"reference": ""}, {"metadata": {"version": "1"}}):
        changed = replace(secret, secret=structs.replace(secret.secret, **changes))  # type: ignore[arg-type]
        with pytest.raises(Conflict):
            await manager.fetch(changed, stored)


async def test_a_value_beside_a_reference_is_refused(world: World, shelf: Shelf) -> None:
    shelf.place("prod/db", "theirs")
    with pytest.raises(Malformed) as caught:
        await direct(world, shelf).store(version(world, reference="prod/db"), Plaintext(b"x"))
    assert caught.value.code == "reference_with_value" and shelf.calls == []


async def test_a_reference_to_what_another_secret_keeps_would_pass_by_its_grants(world: World, shelf: Shelf) -> None:
    manager, victim = direct(world, shelf), version(world, scope="org/acme/project/web")
    await manager.store(victim, Plaintext(b"treasure"))
    thief = version(world, scope="org/evil", reference="shelf/acme.web.db")
    with pytest.raises(Denied) as caught:
        await manager.store(thief, Plaintext(b""))
    assert caught.value.code == "reference_to_inline" and "treasure" not in str(caught.value.problem())


async def test_a_direct_fetch_reads_what_others_keep_and_nothing_that_a_secret_of_ours_does(
    world: World, shelf: Shelf
) -> None:
    shelf.place("prod/db", '{"user": "theirs"}')
    manager, victim = direct(world, shelf), version(world, scope="org/acme/project/web")
    await manager.store(victim, Plaintext(b"treasure"))
    assert await manager.look_up(version(world, reference="prod/db#user")) == Plaintext(b"theirs")
    with pytest.raises(Denied) as caught:
        await manager.look_up(version(world, reference="shelf/acme.web.db"))
    assert caught.value.code == "reference_to_inline" and "treasure" not in str(caught.value.problem())


async def test_deleting_a_reference_leaves_what_it_refers_to(world: World, shelf: Shelf) -> None:
    shelf.place("prod/db", "theirs")
    manager, secret = direct(world, shelf), version(world, reference="prod/db")
    stored = await manager.store(secret, Plaintext(b""))
    await manager.delete(secret, stored)
    await manager.delete(whole(secret), None)
    assert "remove" not in shelf.calls and "prod/db" in shelf.kept


async def test_a_place_with_too_long_a_name_is_refused(world: World) -> None:
    shelf = Shelf(prefix="p" * 4096)
    with pytest.raises(Malformed):
        await direct(world, shelf).store(version(world), Plaintext(b"x"))
    assert shelf.calls == []


# ---- whose it is

IDENTIFIERS = st.sampled_from(["a", "b", "_", "account", "org", "project", "a_b"])
SCOPES = st.one_of(
    st.just("account"),
    IDENTIFIERS.map("org/{}".format),
    st.tuples(IDENTIFIERS, IDENTIFIERS).map(lambda one: f"org/{one[0]}/project/{one[1]}"),
)
PREFIXES = st.lists(st.sampled_from(["a", "b", "org", "account", "a.b"]), max_size=3).map(
    lambda parts: "".join(f"{part}/" for part in parts)
)
WORLD = World()


@given(PREFIXES, SCOPES, IDENTIFIERS, PREFIXES, SCOPES, IDENTIFIERS)
def test_two_secrets_of_an_account_never_have_one_name(
    prefix: str, scope: str, identifier: str, another: str, other_scope: str, other: str
) -> None:
    names = [
        Shelf(before).locator(version(WORLD, name, scope=where))
        for before, where, name in ((prefix, scope, identifier), (another, other_scope, other))
    ]
    if (scope, identifier) != (other_scope, other):
        assert names[0] != names[1]


def test_a_secrets_name_says_where_it_lives() -> None:
    names = [inline_name(version(WORLD, "db", scope=s), ".") for s in ("account", "org/a", "org/a/project/b")]
    assert names == ["db", "a.db", "a.b.db"]


def test_an_owner_is_account_and_secret_together() -> None:
    mine, other = version(WORLD), version(WORLD, "other")
    check_owner(mine, {**tags_of(mine), "team": "x"})
    assert is_of_account(mine, tags_of(other)) and not is_of_account(mine, {})
    for tags, code in (
        (tags_of(other), "origin_other"),
        ({ACCOUNT_TAG: WORLD.id}, "origin_other"),
        ({SECRET_TAG: mine.secret.id}, "origin_other"),
        ({"createdBy": "somebody"}, "origin_foreign"),
    ):
        with pytest.raises(Conflict) as caught:
            check_owner(mine, tags)
        assert caught.value.code == code
