"""Adversary against connectors that stand on each other's secrets, and against whose delegates serve them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.task import Target, TaskDocument
from shared.errors import Conflict, Denied, Malformed
from shared.trust.authority import Authority, Chain
from shared.trust.credentials import Credentials
from shared.trust.pinned import Pinned
from shared.trust.uses import Judge
from tests.adversary.judging import ORG, credential, editor_of, held, judge, only
from tests.fakes.refusal import refused
from tests.fakes.world import Version, World


def stacked(world: World, *names: str) -> list[Version]:
    """Connectors of these names, each with its credential in the one before and the first's in the built-in one.

    Gives, for each, a version of a secret that lives in it; it is the credential of the next.
    """
    versions = [credential(world, "key_of_all")]
    for name in names:
        connector = world.connector_with(name, [f"account.{versions[-1].secret.document.identifier}"])
        versions.append(held(world, connector, f"in_{name}", "account"))
    return versions[1:]


def test_a_holder_of_credentials_is_judged_as_any_connector() -> None:
    world = World()
    mallory = world.identity("mallory")
    grant = world.grant(mallory, ["edit"])

    def asked(holder: Verified[ConnectorDocument], scope: str = "account") -> Verified[TaskDocument]:
        name = holder.document.identifier
        credential(world, f"key_{name}", scope, connector=holder.document.id)
        kms = world.connector_with(f"kms_{name}", [f"key_{name}"], scope)
        return world.reveal([held(world, kms, f"secret_{name}", scope)])

    elsewhere = world.publish(world.connector_document("elsewhere", keyring="other"))
    with refused(Denied, "connector_of_other_keyring"):
        judge(world, asked(elsewhere))
    with refused(Denied, "connector_out_of_scope"):
        judge(world, asked(world.publish(world.connector_document("beside", "org/other")), ORG))
    gone = world.publish(world.connector_document("gone"))
    asked(gone)
    world.revise(gone, deleted=True)
    with refused(Conflict, "connector_deleted"):
        judge(world, asked(gone))
    of_mallory = asked(world.publish(world.connector_document("of_mallory"), mallory))
    judge(world, of_mallory)
    world.revise_status(grants=(grant.document.id,))
    with refused(Denied, "grant_revoked"):
        judge(world, of_mallory)


def test_a_holder_names_credentials_in_its_turn_and_its_own_signer_may_use_them() -> None:
    world = World()
    editor = editor_of(world)
    key = credential(world)
    holder = world.connector_with("holder", ["account.key"], ORG, editor)
    credential(world, "inner", ORG, connector=holder.document.id)
    version = held(world, world.connector_with("kms", ["org.inner"], ORG))
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version]))
    only(world, key, editor)
    assert len(judge(world, world.reveal([version])).credentials) == 2
    without = tuple(one for one in world.reveal([version]).document.credentials if one.secret != key.secret.document.id)
    with refused(Malformed, "pin_missing"):
        judge(world, world.reveal([version], credentials=without))


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_credentials_that_stand_on_each_other_are_refused(length: int) -> None:
    world = World()
    names = [f"c{at}" for at in range(length)]
    ids = [world.opaque(f"connector account {name}") for name in names]
    for at in range(length):
        world.connector_with(names[at], [f"account.key{at}"])
    for at in range(length):
        world.secret(f"key{at}", connector=ids[(at + 1) % length])
    keys = tuple(
        Target(secret=world.opaque(f"secret account key{at}"), n=1, version="A" * 43, latest=True)
        for at in range(length)
    )
    version = Target(secret=world.secret("password", connector=ids[0]).document.id, n=1, version="A" * 43)
    with refused(Malformed, "credential_cycle"):
        judge(world, world.task("reveal", [version], credentials=keys))


def test_four_connectors_stand_on_each_other_and_five_do_not() -> None:
    world = World()
    versions = stacked(world, "a", "b", "c", "d")
    judge(world, world.reveal([versions[2]]))
    with refused(Malformed, "credential_chain_long"):
        judge(world, world.reveal([versions[3]]))


def test_no_order_of_the_targets_hides_a_chain_that_is_too_long() -> None:
    """What is known of a holder's height counts where it is met again, deeper down."""
    world = World()
    a, b, c, d = stacked(world, "a", "b", "c", "d")
    for versions in ([a, b, c, d], [d, c, b, a], [c, d], [b, d], [d, a], [c, a, d]):
        with refused(Malformed, "credential_chain_long"):
            judge(world, world.reveal(versions))
    for versions in ([a, b, c], [c, b, a], [b, a, c]):
        judge(world, world.reveal(versions))


def test_no_order_of_the_references_hides_it_either() -> None:
    world = World()
    _, b, c, _ = stacked(world, "a", "b", "c", "d")
    names = sorted(f"account.{one.secret.document.identifier}" for one in (b, c))
    with refused(Malformed, "credential_chain_long"):
        judge(world, world.reveal([held(world, world.connector_with("top", names), "x")]))
    judge(world, world.reveal([held(world, world.connector_with("lower", names[:1]), "y")]))


def test_many_ways_to_one_credential_are_gone_once() -> None:
    """Three layers of connectors, each naming all the credentials of the one below: the questions grow with what is
    named, and not with the ways through it."""
    world = World()
    width, below = 12, [credential(world, f"key{at}") for at in range(12)]
    for layer in range(3):
        names = [f"account.{one.secret.document.identifier}" for one in below]
        holders = [world.connector_with(f"c{layer}_{at}", names) for at in range(width)]
        below = [held(world, one, f"key_{one.document.identifier}", "account") for one in holders]
    task = world.reveal(below)
    assert len(task.document.credentials) == 3 * width
    book = world.book()
    pinned = Pinned(book, task.document.pins)
    asked: list[str] = []

    class Counting(Authority):
        def chain(self, *question: Any) -> Chain:
            asked.append(question[1])
            return super().chain(*question)

    authority = Counting(world.account_document.document, world.status.document, pinned.grants)
    counted = Judge(
        task.document, task.kid, pinned, world.keyring_document, authority, world.status.document, world.now
    )
    uses = [counted.use(target) for target in task.document.targets]
    asked.clear()
    assert sum(len(found) for found in Credentials(counted, uses).found.values()) == 3 * width * width
    # Each reference once; each credential's signer and its holder's once.
    assert (asked.count("use"), asked.count("edit")) == (3 * width * width, 2 * 3 * width)


# The platform's delegates.


def test_a_keyring_of_the_platform_serves_who_asks_for_it_and_nobody_else() -> None:
    world = World()
    away: dict[str, Any] = {"spec": {"executeOnDelegate": False}}
    ours = held(world, world.connector_with("ours", []), "a")
    theirs = held(world, world.connector_with("theirs", [], **away), "b")
    judge(world, world.reveal([ours]))
    with refused(Denied, "connector_for_platform"):
        judge(world, world.reveal([theirs]))
    with refused(Denied, "connector_for_platform"):
        judge(world, world.reveal([ours, theirs]))
    world.revise(world.keyring_document, platform=True)
    judge(world, world.reveal([theirs]))
    with refused(Denied, "connector_not_for_platform"):
        judge(world, world.reveal([ours]))


def test_a_holder_of_credentials_has_to_ask_for_the_platform_too() -> None:
    world = World()
    away: dict[str, Any] = {"spec": {"executeOnDelegate": False}}
    credential(world)
    version = held(world, world.connector_with("kms", ["account.key"], **away))
    world.revise(world.keyring_document, platform=True)
    with refused(Denied, "connector_not_for_platform"):
        judge(world, world.reveal([version]))
    world.revise(world.connector, **away)
    judge(world, world.reveal([version]))
    world.revise(world.keyring_document, platform=False)
    with refused(Denied, "connector_for_platform"):
        judge(world, world.reveal([version]))


@pytest.mark.parametrize("value", [True, None, 0, "false", []], ids=repr)
def test_only_false_asks_for_the_platform(value: object) -> None:
    world = World()
    version = held(world, world.connector_with("kms", [], spec={"executeOnDelegate": value}))
    judge(world, world.reveal([version]))
