"""Adversary against SSHKeys and templates that stand on each other: round and round, and too deep."""

from __future__ import annotations

import pytest

from shared.documents.task import Target
from shared.errors import Malformed
from tests.adversary.judging import held, judge
from tests.fakes.refusal import refused
from tests.fakes.world import World


def test_a_custom_secret_manager_does_not_keep_the_key_that_it_logs_in_with() -> None:
    world = World()
    custom = world.custom("custom", world.template("script"), ["account.login"])
    key = held(world, custom, "key", "account")
    world.login("login", ["key"])
    for task in (world.check(custom), world.reveal([key]), world.check_login(world.login("login", ["key"]))):
        with refused(Malformed, "credential_cycle"):
            judge(world, task)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("depth", [3, 4])
def test_an_sshkey_hides_no_depth(depth: int, order: int) -> None:
    """Each connector stands on a key in the one below, by an SSHKey; one SSHKey is also named from the top."""
    world = World()
    below = world.connector
    customs = []
    template = world.template("script")
    for at in range(depth):
        held(world, below, f"key{at}", "account")
        world.login(f"login{at}", [f"key{at}"])
        below = world.custom(f"custom{at}", template, [f"account.login{at}"])
        customs.append(below)
    targets = [Target(connector=one.document.id) for one in customs][::order]
    if depth == 3:
        granted = judge(world, world.task("check", targets))
        assert len(granted.connectors) == 4
    else:
        with refused(Malformed, "credential_chain_long"):
            judge(world, world.task("check", targets))


def test_an_sshkey_that_was_judged_higher_up_is_no_way_to_go_deeper() -> None:
    """Four connectors below each other by way of an SSHKey that the first target names too, where it isn't too deep."""
    world = World()
    template = world.template("script")
    held(world, world.connector, "key0", "account")
    stacked1 = world.connector_with("stacked1", ["account.key0"])
    held(world, stacked1, "key1", "account")
    world.login("login", ["key1"])
    shallow = world.custom("shallow", template, ["account.login"])
    judge(world, world.check(shallow))
    held(world, shallow, "key2", "account")
    deep = world.connector_with("deep", ["account.key2"])
    judge(world, world.task("check", [Target(connector=one.document.id) for one in (shallow, deep)]))
    held(world, world.custom("middle", template, ["account.login"]), "key3", "account")
    held(world, world.connector_with("upper", ["account.key3"]), "key4", "account")
    top = world.connector_with("top", ["account.key4"])
    for connectors in ((shallow, top), (top, shallow)):
        with refused(Malformed, "credential_chain_long"):
            judge(world, world.task("check", [Target(connector=one.document.id) for one in connectors]))


def test_an_sshkey_named_twice_is_one_credential() -> None:
    world = World()
    held(world, world.connector, "key", "account")
    login = world.login("login", ["key"])
    custom = world.custom("custom", world.template("script"), ["account.login"])
    other = world.custom("other", world.template("script"), ["account.login"])
    task = world.task("check", [Target(connector=one.document.id) for one in (custom, other)])
    granted = judge(world, task)
    assert len(task.document.credentials) == 2
    for one in (custom, other):
        assert granted.credentials[one.document.id]["account.login"].secret == login
