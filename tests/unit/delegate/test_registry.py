"""Kinds are found by name, loaded when a connector names them, and never against the local policy."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings, stored_bytes, stored_value
from delegate.secret_managers.local import Local
from delegate.secret_managers.plugins import GROUP
from delegate.secret_managers.registry import BUILT_IN, IDLE_SECONDS, MOST_MANAGERS, Registry, installed_kinds
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Denied, Malformed, NotReady
from shared.values import Reference, Wrapped
from tests.fakes.closing import Closing, Closings, StandingClock, times_closed
from tests.fakes.records import make_record
from tests.fakes.world import World


class Counting:
    """An entry point that says how often it was loaded."""

    def __init__(self) -> None:
        self.loads = 0

    def load(self) -> Any:
        self.loads += 1
        return Local


def registry(world: World, kinds: Any, policy: str = 'kinds = ["*"]') -> Registry:
    zone = Zone(world.keyring, world.book())
    return Registry(kinds, Surroundings(zone, LocalPolicy.parse(policy, ["Local"]), secrets.token_bytes))


async def manager_of(found: Registry, connector: Verified[ConnectorDocument], *versions: str) -> SecretManager:
    async with found.lend(connector, versions) as manager:
        return manager


async def test_the_built_in_kind_is_there_even_without_an_installed_package() -> None:
    world = World()
    assert "Local" in installed_kinds()
    manager = await manager_of(registry(world, BUILT_IN), world.connector)
    assert isinstance(manager, Local)


def test_no_package_can_take_the_place_of_a_built_in_kind() -> None:
    assert installed_kinds()["Local"] is BUILT_IN["Local"]


async def test_a_kind_is_loaded_when_a_connector_first_names_it_and_managers_are_kept() -> None:
    world, point = World(), Counting()
    found = registry(world, {"Other": point})
    assert point.loads == 0
    connector = world.publish(world.connector_document("other", type="Other"))
    manager = await manager_of(found, connector)
    assert await manager_of(found, connector) is manager
    revised = world.revise(connector, name="renamed")
    assert await manager_of(found, revised) is not manager
    assert point.loads == 1


async def test_managers_are_kept_up_to_a_number() -> None:
    world = World()
    found = registry(world, BUILT_IN)
    first = await manager_of(found, world.connector)
    for number in range(MOST_MANAGERS):
        await manager_of(found, world.sign(world.connector_document(f"c{number}"), world.administrator))
    assert await manager_of(found, world.connector) is not first


async def test_what_is_used_is_closed_only_by_its_last_user() -> None:
    world = World()
    found = registry(world, {"Other": Closings()})
    connector = world.publish(world.connector_document("other", type="Other"))
    async with found.lend(connector) as one, found.lend(connector) as same:
        assert one is same
        await manager_of(found, world.revise(connector, name="renamed"))
        assert isinstance(one, Closing)
        assert one.closed == 0
    assert await times_closed(one) == 1
    newest = await manager_of(found, world.revise(connector, name="renamed"))
    await found.close()
    await found.close()
    assert isinstance(newest, Closing)
    assert (one.closed, newest.closed) == (1, 1)


async def test_other_versions_of_its_credentials_make_another_manager_and_the_old_one_goes() -> None:
    world = World()
    found = registry(world, {"Other": Closings()})
    connector = world.publish(world.connector_document("other", type="Other"))
    asked: list[str] = []

    def secrets_of(name: str) -> Callable[[], Awaitable[Mapping[str, Plaintext]]]:
        async def given() -> Mapping[str, Plaintext]:
            asked.append(name)
            return {}

        return given

    async with found.lend(connector, ["a 1"], secrets_of("first")) as old:
        pass
    async with found.lend(connector, ["a 1"], secrets_of("again")) as same:
        assert same is old
    async with found.lend(connector, ["a 2"], secrets_of("second")) as new:
        assert new is not old
        assert await times_closed(old) == 1
    assert asked == ["first", "second"]


async def test_what_nobody_used_for_long_is_closed_with_its_credentials() -> None:
    world, clock = World(), StandingClock()
    zone = Zone(world.keyring, world.book())
    policy = LocalPolicy.parse('kinds = ["*"]', ["Local"])
    found = Registry({"Other": Closings()}, Surroundings(zone, policy, secrets.token_bytes, clock))
    one, two = (world.publish(world.connector_document(name, type="Other")) for name in ("one", "two"))
    first = await manager_of(found, one)
    clock.at += IDLE_SECONDS + 1
    await manager_of(found, two)
    assert await times_closed(first) == 1


async def test_one_that_fails_to_close_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Local):
        async def close(self) -> None:
            raise RuntimeError

    class Point:
        def load(self) -> Any:
            return Broken

    world = World()
    found = registry(world, {"Other": Point()})
    await manager_of(found, world.publish(world.connector_document("other", type="Other")))
    await found.close()


async def test_a_forbidden_kind_is_not_loaded() -> None:
    world, point = World(), Counting()
    found = registry(world, {"Other": point, "Local": point}, 'kinds = ["Local"]')
    connector = world.publish(world.connector_document("other", type="Other"))
    with pytest.raises(Denied, match="doesn't allow the kind Other"):
        await manager_of(found, connector)
    assert (point.loads, found.kinds) == (0, ("Local",))


async def test_an_unknown_kind_and_one_that_can_not_be_loaded_say_what_to_install() -> None:
    world = World()
    found = registry(world, {"Broken": EntryPoint("Broken", "delegate.nowhere:Nothing", GROUP)})
    for kind, code in (("Broken", "kind_unloadable"), ("Unknown", "kind_unknown")):
        connector = world.sign(world.connector_document(kind, type=kind), world.administrator)
        with pytest.raises(NotReady) as caught:
            await manager_of(found, connector)
        assert caught.value.code == code
        assert "install" in caught.value.hint


async def test_a_local_connector_takes_the_settings_of_every_kind_and_none_of_its_own() -> None:
    world = World()
    odd = world.sign(world.connector_document("odd", spec={"region": "eu"}), world.administrator)
    with pytest.raises(Malformed, match=r"spec\.region of the Local connector: there is no such field"):
        await manager_of(registry(world, BUILT_IN), odd)
    plain = world.connector_document("plain", spec={"delegateSelectors": ["zone:a"], "default": False})
    await manager_of(registry(world, BUILT_IN), world.sign(plain, world.administrator))


def test_stored_values_have_one_byte_form_each() -> None:
    world = World()
    wrapped = make_record(world.keyring.newest, world.place(world.secret("x"), 1, "v"), b"x", bytes(32), bytes(32))
    reference = Reference(generation=1, locator="a/b", mac=digest("a MAC"), version="7")
    assert stored_value(stored_bytes(wrapped)) == wrapped
    assert stored_value(stored_bytes(reference)) == reference
    assert isinstance(stored_value(stored_bytes(wrapped)), Wrapped)
    for raw in (b"", b"\x00", b"\x03abc", b"\x02{}", b"\x02 " + stored_bytes(reference)[1:]):
        with pytest.raises(Malformed):
            stored_value(raw)


async def test_a_local_record_is_byte_for_byte_the_documented_one() -> None:
    world = World()
    key, salt, wrap_salt = bytes([1]) * 32, bytes([2]) * 32, bytes([2]) * 32
    given = iter([key, salt, wrap_salt])
    zone = Zone(world.keyring, world.book())
    surroundings = Surroundings(zone, LocalPolicy.parse("", ["Local"]), lambda _: next(given))
    secret = world.secret("x")
    place = world.place(secret, 1, world.opaque("v"))
    made = await Local(world.connector.document, surroundings, {}).store(
        SecretVersion(secret.document, world.connector.document, 1, place), Plaintext(b"hunter2")
    )
    assert made == make_record(world.keyring.newest, place, b"hunter2", key, salt)
