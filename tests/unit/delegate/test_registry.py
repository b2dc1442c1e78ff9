"""Kinds are found by name, loaded when a connector names them, and never against the local policy."""

from __future__ import annotations

import secrets
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretVersion, Surroundings, stored_bytes, stored_value
from delegate.secret_managers.local import Local
from delegate.secret_managers.registry import BUILT_IN, GROUP, MOST_MANAGERS, Registry, installed_kinds
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotReady
from shared.values import Reference, Wrapped
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


def test_the_built_in_kind_is_there_even_without_an_installed_package() -> None:
    world = World()
    assert "Local" in installed_kinds()
    manager = registry(world, BUILT_IN).manager(world.connector)
    assert isinstance(manager, Local)


def test_no_package_can_take_the_place_of_a_built_in_kind() -> None:
    assert installed_kinds()["Local"] is BUILT_IN["Local"]


def test_a_kind_is_loaded_when_a_connector_first_names_it_and_managers_are_kept() -> None:
    world, point = World(), Counting()
    found = registry(world, {"Other": point})
    assert point.loads == 0
    connector = world.publish(world.connector_document("other", type="Other"))
    assert found.manager(connector) is found.manager(connector)
    revised = world.revise(connector, name="renamed")
    assert found.manager(revised) is not found.manager(connector)
    assert point.loads == 1


def test_managers_are_kept_up_to_a_number() -> None:
    world = World()
    found = registry(world, BUILT_IN)
    first = found.manager(world.connector)
    for number in range(MOST_MANAGERS):
        found.manager(world.sign(world.connector_document(f"c{number}"), world.administrator))
    assert found.manager(world.connector) is not first


def test_a_forbidden_kind_is_not_loaded() -> None:
    world, point = World(), Counting()
    found = registry(world, {"Other": point, "Local": point}, 'kinds = ["Local"]')
    connector = world.publish(world.connector_document("other", type="Other"))
    with pytest.raises(Denied, match="doesn't allow the kind Other"):
        found.manager(connector)
    assert (point.loads, found.kinds) == (0, ("Local",))


def test_an_unknown_kind_and_one_that_can_not_be_loaded_say_what_to_install() -> None:
    world = World()
    found = registry(world, {"Broken": EntryPoint("Broken", "delegate.nowhere:Nothing", GROUP)})
    for kind, code in (("Broken", "kind_unloadable"), ("Unknown", "kind_unknown")):
        connector = world.sign(world.connector_document(kind, type=kind), world.administrator)
        with pytest.raises(NotReady) as caught:
            found.manager(connector)
        assert caught.value.code == code
        assert "install" in caught.value.hint


def test_a_local_connector_takes_the_settings_of_every_kind_and_none_of_its_own() -> None:
    world = World()
    odd = world.sign(world.connector_document("odd", spec={"region": "eu"}), world.administrator)
    with pytest.raises(Malformed, match=r"spec\.region of the Local connector: there is no such field"):
        registry(world, BUILT_IN).manager(odd)
    plain = world.connector_document("plain", spec={"delegateSelectors": ["zone:a"], "default": False})
    registry(world, BUILT_IN).manager(world.sign(plain, world.administrator))


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
    made = await Local(world.connector.document, surroundings).store(
        SecretVersion(secret.document, world.connector.document, 1, place), Plaintext(b"hunter2")
    )
    assert made == make_record(world.keyring.newest, place, b"hunter2", key, salt)
