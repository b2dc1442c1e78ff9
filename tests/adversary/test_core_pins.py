"""Adversary against what a task is about: pins left out, stale, lying, and targets that aren't what they must be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.documents.jws import Verified
from shared.documents.task import Target
from shared.errors import Conflict, Denied, Malformed, NotReady
from shared.trust.warrant import warrant
from tests.adversary.judging import ORG, judge, stage
from tests.fakes.refusal import refused
from tests.fakes.world import World, pins_of

# Pins.


@pytest.mark.parametrize("kind", ["account", "keyring", "secret", "connector"])
def test_a_missing_pin_is_malformed(kind: str) -> None:
    world, reader, version = stage()
    pins = [pin for pin in world.pins([version.target()], reader) if pin.kind != kind]
    with refused(Malformed, "pin_missing"):
        judge(world, world.reveal([version], reader, pins=tuple(pins)))


@pytest.mark.parametrize("kind", ["account", "keyring", "grant", "secret", "connector"])
def test_a_stale_pin_is_a_conflict_that_names_it(kind: str) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader)
    held: dict[str, Verified[Any]] = {
        "account": world.account_document,
        "keyring": world.keyring_document,
        "grant": world.chain(reader.kid)[0],
        "secret": version.secret,
        "connector": world.connector,
    }
    world.revise(held[kind], world.root if kind == "account" else None)
    with pytest.raises(Conflict) as caught:
        judge(world, task)
    assert caught.value.code == "pin_stale"
    assert caught.value.facts["stale"] == [[kind, getattr(held[kind].document, "id")]]  # noqa: B009


@pytest.mark.parametrize(
    "lie",
    [{"kind": "connector"}, {"id": "z" * 26}, {"rev": 2}],
    ids="".join,
)
def test_a_pin_that_names_another_document_than_its_digest_is_malformed(lie: dict[str, Any]) -> None:
    world, reader, version = stage()
    pins = [
        structs.replace(pin, **lie) if pin.kind == "secret" else pin for pin in world.pins([version.target()], reader)
    ]
    with refused(Malformed, "pin_malformed"):
        judge(world, world.reveal([version], reader, pins=tuple(pins)))


def test_a_pinned_document_that_has_not_come_is_asked_for() -> None:
    world, reader, version = stage()
    unseen = world.next(version.secret, name="newer")
    pins = [pin for pin in world.pins([version.target()], reader) if pin.kind != "secret"]
    with pytest.raises(NotReady) as caught:
        judge(world, world.reveal([version], reader, pins=(*pins, *pins_of([unseen]))))
    assert (caught.value.code, caught.value.facts["missing"]) == ("documents_missing", [unseen.digest])


def test_a_secret_that_its_maker_may_no_longer_edit_is_not_acted_on() -> None:
    world, reader, _ = stage()
    maker = world.identity("maker")
    grant = world.grant(maker, ["edit"], ORG)
    version = world.store(world.secret("made", ORG, maker), b"x")
    judge(world, world.reveal([version], reader))
    book = world.book()
    book.admit(world.revise_status(grants=(grant.document.id,)).compact, world.now)
    with refused(Denied, "grant_revoked"):
        warrant(book, world.reveal([version], reader), world.now)


def test_a_connector_that_its_maker_may_no_longer_edit_is_not_acted_on() -> None:
    world, reader, _ = stage()
    maker = world.identity("maker")
    grant = world.grant(maker, ["edit"], ORG)
    connector = world.publish(world.connector_document("made", ORG), maker)
    version = world.store(world.secret("other", ORG, connector=connector.document.id), b"x")
    judge(world, world.reveal([version], reader))
    book = world.book()
    book.admit(world.revise_status(grants=(grant.document.id,)).compact, world.now)
    with refused(Denied, "grant_revoked"):
        warrant(book, world.reveal([version], reader), world.now)


def test_a_deleted_secret_or_connector_is_not_acted_on() -> None:
    world, reader, version = stage()
    connector = world.publish(world.connector_document("made", ORG))
    other = world.store(world.secret("other", ORG, connector=connector.document.id), b"x")
    world.revise(version.secret, deleted=True)
    world.revise(connector, deleted=True)
    with refused(Conflict, "secret_deleted"):
        judge(world, world.reveal([version], reader))
    with refused(Conflict, "connector_deleted"):
        judge(world, world.reveal([other], reader))


def test_a_connector_serves_its_own_scope_and_below() -> None:
    world, reader, _ = stage()
    beside = world.publish(world.connector_document("beside", "org/other"))
    version = world.store(world.secret("other", ORG, connector=beside.document.id), b"x")
    with refused(Denied, "connector_out_of_scope"):
        judge(world, world.reveal([version], reader))


def test_a_connector_of_another_keyring_is_not_served() -> None:
    world, reader, _ = stage()
    elsewhere = world.publish(world.connector_document("elsewhere", keyring="other"))
    version = world.store(world.secret("other", ORG, connector=elsewhere.document.id), b"x")
    with refused(Denied, "connector_of_other_keyring"):
        judge(world, world.reveal([version], reader))


# Targets.


def malformed(world: World, op: str, target: Target, **changes: Any) -> None:
    """A task with this one target is malformed."""
    pins = world.pins([target], world.administrator) if target.secret or target.connector else ()
    fields = {"input": ("A" * 43,) if op == "store" else (), "pins": pins or world.pins([], world.administrator)}
    with refused(Malformed, "task_malformed"):
        judge(world, world.task(op, [target], **{**fields, **changes}))


def test_targets_are_what_their_operation_is_about() -> None:
    world, _, version = stage()
    secret, connector = version.secret.document.id, world.connector.document.id
    right = version.target()
    for op in ("reveal", "store", "delete"):
        malformed(world, op, Target(connector=connector))
        malformed(world, op, structs.replace(right, connector=connector))
        malformed(world, op, Target())
    for target in (right, Target(), Target(secret=secret, connector=connector)):
        malformed(world, "check", target)
    malformed(world, "check", Target(connector=connector, n=1))
    malformed(world, "check", Target(connector=connector, version="A" * 43))


def test_versions_are_named_as_their_operation_names_them() -> None:
    world, _, version = stage()
    secret, digest = version.secret.document.id, version.task.digest
    for op, n, named in (
        ("reveal", 0, None),
        ("reveal", 0, digest),
        ("reveal", 1, None),
        ("store", 0, None),
        ("store", 1, digest),
        ("store", 2, None),
        ("delete", 0, digest),
        ("delete", 1, None),
    ):
        malformed(world, op, Target(secret=secret, n=n, version=named))


def test_a_store_has_one_input_for_each_target_and_the_others_have_none() -> None:
    world, reader, version = stage()
    for inputs in ((), ("A" * 43, "B" * 42 + "A")):
        with refused(Malformed, "task_malformed"):
            judge(world, world.store(version.secret, b"x", input=inputs).task)
    with refused(Malformed, "task_malformed"):
        judge(world, world.reveal([version], reader, input=("A" * 43,)))


def test_a_store_does_not_put_two_inputs_in_one_place() -> None:
    """Both records would be bound to the same place, and a manager could give out one for the other."""
    world, _, version = stage()
    target = Target(secret=version.secret.document.id, n=2, version=version.task.digest)
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("store", [target, target], input=("A" * 43, "B" * 42 + "A")))
