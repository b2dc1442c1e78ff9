"""Adversary against usage: stated without being granted, stripped by older revisions and newer ones, and passed on wider."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.documents.fields import Permission
from shared.documents.usage import TaskUsage, Usage
from shared.errors import Conflict, Denied
from tests.adversary.judging import ORG, credential, held, judge
from tests.fakes.refusal import refused
from tests.fakes.world import World, pins_of

LIVE, TEST = Usage(environments=("live",)), Usage(environments=("test",))
EITHER = Usage(environments=("live", "test"))
IN_LIVE, IN_TEST = TaskUsage(environment="live"), TaskUsage(environment="test")
APART = TaskUsage(application="orders")


def test_a_task_states_what_its_grant_does_not_cover() -> None:
    world = World()
    tester = world.identity("tester")
    world.grant(tester, ["reveal"], ORG, usage=TEST)
    version = world.store(world.secret("password", ORG, usage=LIVE), b"hunter2", usage=IN_LIVE)
    with refused(Denied, "usage_not_granted"):
        judge(world, world.reveal([version], tester, usage=IN_LIVE))
    with refused(Denied, "usage_other"):
        judge(world, world.reveal([version], tester, usage=IN_TEST))
    both = world.identity("both")
    world.grant(both, ["reveal"], ORG, usage=EITHER)
    assert judge(world, world.reveal([version], both, usage=IN_LIVE)).uses


def test_saying_nothing_is_no_way_out_of_a_grant_for_some() -> None:
    world = World()
    tester = world.identity("tester")
    world.grant(tester, ["reveal"], ORG, usage=TEST)
    version = world.store(world.secret("password", ORG), b"hunter2")
    for stated in (None, APART, IN_LIVE):
        with refused(Denied, "usage_not_granted"):
            judge(world, world.reveal([version], tester, usage=stated))
    assert judge(world, world.reveal([version], tester, usage=IN_TEST)).uses


@pytest.mark.parametrize("op", ["check", "delete", "exec", "reveal", "store"])
def test_every_operation_states_what_the_connector_is_for(op: str) -> None:
    world = World()
    kms = world.publish(world.connector_document("kms", usage=LIVE))
    version = world.store(world.secret("password", ORG, connector=kms.document.id), b"hunter2", usage=IN_LIVE)

    def task(usage: TaskUsage | None) -> Any:
        made = {
            "check": lambda: world.check(kms, usage=usage),
            "delete": lambda: world.delete(version.secret, version, usage=usage),
            "exec": lambda: world.exec([version], usage=usage).task,
            "reveal": lambda: world.reveal([version], usage=usage),
            "store": lambda: world.store(version.secret, b"new", None, version, usage=usage).task,
        }
        return made[op]()

    assert judge(world, task(IN_LIVE)).uses
    for stated, code in ((None, "usage_missing"), (APART, "usage_missing"), (IN_TEST, "usage_other")):
        with refused(Denied, code):
            judge(world, task(stated))


def test_one_secret_of_many_is_for_something_else() -> None:
    world = World()
    versions = [
        world.store(world.secret(name, ORG, usage=usage), b"x", usage=stated)
        for name, usage, stated in (("a", LIVE, IN_LIVE), ("b", None, None), ("c", TEST, IN_TEST))
    ]
    with refused(Denied, "usage_other"):
        judge(world, world.reveal(versions, usage=IN_LIVE))
    assert judge(world, world.reveal(versions[:2], usage=IN_LIVE)).uses


def test_labels_are_stripped_by_pinning_an_older_revision() -> None:
    world = World()
    secret = world.secret("password", ORG)
    version = world.store(secret, b"hunter2")
    stale = world.reveal([version])
    newest = world.revise(secret, usage=LIVE)
    with refused(Conflict, "pin_stale"):
        judge(world, stale)
    with refused(Conflict, "pin_stale"):
        judge(world, world.reveal([version], pins=stale.document.pins, usage=IN_LIVE))
    with refused(Denied, "usage_missing"):
        judge(world, world.reveal([version]))
    assert judge(world, world.reveal([version], usage=IN_LIVE)).uses[0].secret == newest
    # Nor does pinning both choose the one that suits.
    with refused(Conflict, "pin_stale"):
        pins = (*pins_of([secret]), *world.pins([version.target()], world.administrator))
        judge(world, world.reveal([version], pins=pins))


@pytest.mark.parametrize("permission", ["edit", "delete"])
def test_who_is_limited_strips_labels_by_a_revision_of_his_own(permission: Permission) -> None:
    world = World()
    tester = world.identity("tester")
    world.grant(tester, ["edit", "delete", "use"], ORG, usage=EITHER)
    secret = world.secret("password", ORG, usage=LIVE)
    changes: dict[str, Any] = {"deleted": True} if permission == "delete" else {"usage": None}
    book = world.book()
    for usage in (changes, {**changes, "usage": TEST}, {**changes, "usage": LIVE}):
        with refused(Denied, "usage_not_granted"):
            book.admit(world.next(secret, tester, **usage).compact, world.now)
    for made in (world.connector_document("kms", ORG, usage=TEST), world.secret_document("new", ORG, usage=TEST)):
        with refused(Denied, "usage_not_granted"):
            book.admit(world.sign(made, tester).compact, world.now)


def test_who_is_limited_stores_a_version_of_what_is_there() -> None:
    world = World()
    tester = world.identity("tester")
    world.grant(tester, ["edit"], ORG, usage=TEST)
    secret = world.secret("password", ORG, usage=EITHER)
    assert judge(world, world.store(secret, b"x", tester, usage=IN_TEST).task).uses
    with refused(Denied, "usage_not_granted"):
        judge(world, world.store(secret, b"x", tester, usage=IN_LIVE).task)


@pytest.mark.parametrize("usage", [None, LIVE, EITHER, Usage(applications=("orders",))])
def test_a_chain_widens(usage: Usage | None) -> None:
    world = World()
    first, second = world.identity("first"), world.identity("second")
    above = world.grant(first, ["admin", "reveal"], ORG, usage=TEST)
    wide = world.grant_document(second, ["reveal"], ORG, parent=above.document.id, usage=usage)
    book = world.book()
    with refused(Denied, "grant_exceeds"):
        book.admit(world.sign(wide, first).compact, world.now)
    book.admit(world.sign(structs.replace(wide, usage=TEST), first).compact, world.now)


def test_a_chain_is_cut_by_narrowing_what_it_stands_on() -> None:
    world = World()
    first, second = world.identity("first"), world.identity("second")
    above = world.grant(first, ["admin", "reveal"], ORG, usage=EITHER)
    world.grant(second, ["reveal"], ORG, first, parent=above.document.id, usage=EITHER)
    version = world.store(world.secret("password", ORG), b"hunter2")
    assert judge(world, world.reveal([version], second, usage=IN_LIVE)).uses
    world.revise(above, usage=TEST)
    for stated in (IN_LIVE, IN_TEST):
        with refused(Denied, "grant_exceeds"):
            judge(world, world.reveal([version], second, usage=stated))


def test_an_organisation_is_made_by_who_administers_for_anything() -> None:
    world = World()
    deputy = world.identity("deputy")
    world.grant(deputy, ["admin"], "account", usage=TEST)
    with refused(Denied, "usage_not_granted"):
        world.book().admit(world.sign(world.scope_document("acme"), deputy).compact, world.now)


def test_a_credential_for_something_else_is_reached_through_a_connector_for_anything() -> None:
    world = World()
    key = credential(world)
    kms = world.connector_with("kms", ["account.key"])
    version = held(world, kms)
    assert judge(world, world.reveal([version])).uses
    world.revise(key.secret, usage=LIVE)
    for stated, code in ((None, "usage_missing"), (IN_TEST, "usage_other")):
        with refused(Denied, code):
            judge(world, world.reveal([version], usage=stated))
    assert judge(world, world.reveal([version], usage=IN_LIVE)).credentials
    # The credential's own secret manager too.
    world.connector = world.revise(world.connector, usage=TEST)
    with refused(Denied, "usage_other"):
        judge(world, world.reveal([version], usage=IN_LIVE))


def test_a_connector_is_signed_by_who_may_use_its_credential_for_some_only() -> None:
    world = World()
    key = credential(world)
    editor = world.identity("editor")
    world.grant(editor, ["edit"], ORG)
    world.grant(editor, ["use"], "account", resource=key.secret.document.id, usage=LIVE)
    kms = world.connector_with("kms", ["account.key"], ORG, editor)
    with refused(Denied, "usage_not_granted"):
        judge(world, world.reveal([held(world, kms)], usage=IN_LIVE))


def test_a_status_is_renewed_by_who_may_for_some_only() -> None:
    world = World()
    cron = world.identity("cron")
    world.grant(cron, ["renew"], "account", usage=TEST)
    with refused(Denied, "usage_not_granted"):
        renewed = world.next(world.status, cron, base=world.status.digest)
        world.book().admit(renewed.compact, world.now)
