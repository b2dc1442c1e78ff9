"""Adversary against credentials: pointed elsewhere, replaced, outdated, left out, added, and made to stand on each other."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.canonical import b64u, encode
from shared.documents.fields import Permission
from shared.documents.jws import Verified, header_bytes, parse_as
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, Malformed
from shared.trust.warrant import warrant
from tests.adversary.judging import ORG, credential, editor_of, held, judge, only
from tests.fakes.refusal import refused
from tests.fakes.world import World

BELOW = f"{ORG}/project/web"


def test_a_credential_is_a_use_on_behalf_of_the_connector_that_names_it() -> None:
    world = World()
    key, other = credential(world), credential(world, "other", ORG)
    kms = world.connector_with("kms", ["account.key", "org.other", "other"], ORG, selectors=("linux",))
    version = held(world, kms)
    reader = world.identity("reader")
    world.grant(reader, ["reveal"], ORG)
    allowed = judge(world, world.reveal([version], reader))
    uses = allowed.credentials[kms.document.id]
    assert allowed.credentials.keys() == {kms.document.id}
    assert uses.keys() == {"account.key", "org.other", "other"}
    assert uses["account.key"].target == key.target(latest=True)
    assert (uses["account.key"].secret, uses["account.key"].connector) == (key.secret, world.connector)
    assert uses["org.other"] == uses["other"] and uses["other"].secret == other.secret
    assert allowed.connectors == (kms, world.connector)
    assert allowed.selectors == {"linux"}


def test_a_connector_that_names_nothing_needs_nothing() -> None:
    world = World()
    assert judge(world, world.reveal([held(world, world.connector)])).credentials == {}


@pytest.mark.parametrize("op", ["check", "delete", "exec", "reveal", "store"])
def test_every_operation_takes_the_credentials_of_its_connector(op: str) -> None:
    world = World()
    credential(world)
    kms = world.connector_with("kms", ["account.key"])
    version = held(world, kms)

    def task(**changes: Any) -> Verified[TaskDocument]:
        made = {
            "check": lambda: world.check(kms, **changes),
            "delete": lambda: world.delete(version.secret, version, **changes),
            "exec": lambda: world.exec([version], **changes).task,
            "reveal": lambda: world.reveal([version], **changes),
            "store": lambda: world.store(version.secret, b"new", None, version, **changes).task,
        }
        return made[op]()

    assert judge(world, task()).credentials[kms.document.id].keys() == {"account.key"}
    with refused(Malformed, "pin_missing"):
        judge(world, task(credentials=()))


# Who may point a connector at what.


def test_an_editor_without_use_can_not_point_a_connector_at_a_credential() -> None:
    world = World()
    credential(world)
    credential(world, "below", BELOW)
    editor = editor_of(world)
    kms = world.connector_with("kms", ["account.key"], ORG)
    version = held(world, kms)
    judge(world, world.reveal([version]))
    # Not even at the one that it has: who signs it vouches for where its values go.
    world.revise(kms, editor, name="renamed")
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version]))
    theirs = held(world, world.connector_with("theirs", ["below"], BELOW, editor), "x", BELOW)
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([theirs]))
    world.grant(editor, ["use"], BELOW)
    judge(world, world.reveal([theirs]))


def test_the_refusal_names_the_connector_and_not_who_asks() -> None:
    world = World()
    credential(world)
    version = held(world, world.connector_with("kms", ["account.key"], ORG, editor_of(world)))
    with pytest.raises(Denied) as caught:
        judge(world, world.reveal([version]))
    assert caught.value.detail.startswith("who signed secret manager kms may not use account.key: ")
    assert "signs it anew" in caught.value.hint


@pytest.mark.parametrize("permission", ["view", "reveal", "edit", "delete", "exec", "renew", "admin"])
def test_nothing_but_use_lets_a_connector_name_a_credential(permission: Permission) -> None:
    world = World()
    editor = editor_of(world)
    world.grant(editor, [permission])
    credential(world)
    version = held(world, world.connector_with("kms", ["account.key"], ORG, editor))
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version]))


def test_the_task_s_signer_needs_no_use_and_his_does_not_count() -> None:
    world = World()
    reader, editor = world.identity("reader"), editor_of(world)
    world.grant(reader, ["reveal", "use"])
    key = credential(world)
    version = held(world, world.connector_with("kms", ["account.key"], ORG, editor))
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version], reader))
    only(world, key, editor)
    world.grant(reader, ["reveal"], id=world.opaque("grant less"))
    judge(world, world.reveal([version], reader))


def test_use_of_one_credential_is_no_use_of_another() -> None:
    world = World()
    editor = editor_of(world)
    key, other = credential(world), credential(world, "other")
    only(world, key, editor)
    kms = world.connector_with("kms", ["account.key"], ORG, editor)
    version = held(world, kms)
    judge(world, world.reveal([version]))
    world.revise(kms, editor, secrets=("account.other",))
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version]))
    assert other.n == 1


@pytest.mark.parametrize("lost", ["grant", "key", "time", "pin"])
def test_use_that_is_lost_is_lost_at_once(lost: str) -> None:
    world = World()
    editor = editor_of(world)
    key = credential(world)
    grant = only(world, key, editor, exp=world.now + 100)
    version = held(world, world.connector_with("kms", ["account.key"], ORG, editor))
    task = world.reveal([version], exp=world.now + 200)
    judge(world, task)
    expected = {"grant": "grant_revoked", "key": "key_revoked", "time": "grant_expired", "pin": "grant_missing"}[lost]
    if lost == "grant":
        world.revise_status(grants=(grant,))
    elif lost == "key":
        world.revise_status(keys=(editor.kid,))
    elif lost == "time":
        world.now += 100
    else:
        task = world.reveal([version], pins=tuple(pin for pin in task.document.pins if pin.id != grant))
    book = world.book(now=version.task.document.iat)
    # A revoked key is refused where it signed the connector, before what that names is looked at.
    with refused(Denied, expected):
        warrant(book, book.verify(parse_as(TaskDocument, task.compact)), world.now)


def test_an_older_revision_of_a_connector_does_not_bring_its_credentials_back() -> None:
    world = World()
    editor = editor_of(world)
    credential(world)
    kms = world.connector_with("kms", ["account.key"], ORG)
    version = held(world, kms)
    old = world.reveal([version])
    world.revise(kms, editor, secrets=())
    with refused(Conflict, "pin_stale"):
        judge(world, old)
    assert judge(world, world.reveal([version])).credentials == {}


# What stands where a credential stood.


def test_a_credential_made_anew_by_somebody_else_needs_use_of_its_own() -> None:
    world = World()
    editor = editor_of(world)
    mallory = world.identity("mallory")
    world.grant(mallory, ["edit", "delete"])
    key = credential(world)
    only(world, key, editor)
    version = held(world, world.connector_with("kms", ["account.key"], ORG, editor))
    old = world.reveal([version])
    gone = world.revise(key.secret, mallory, deleted=True)
    with refused(Conflict, "pin_stale"):
        judge(world, old)
    with refused(Conflict, "secret_deleted"):
        judge(world, world.reveal([version], credentials=(key.target(latest=True),)))
    with refused(Malformed, "pin_missing"):
        judge(world, world.reveal([version]))
    assert gone.document.deleted
    anew = world.store(world.secret("key", signer=mallory, id=world.opaque("anew")), b"of mallory", mallory)
    assert anew.secret.document.id != key.secret.document.id
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version]))
    # Who may use all that lives there trusts all who may edit there.
    world.grant(editor, ["use"])
    uses = judge(world, world.reveal([version])).credentials
    assert [use.secret for secrets in uses.values() for use in secrets.values()] == [anew.secret]


def test_a_credential_signed_by_who_may_not_edit_there_does_not_count() -> None:
    world = World()
    mallory = world.identity("mallory")
    grant = world.grant(mallory, ["edit"])
    world.secret("key", signer=mallory)
    key = world.store(world.secret("key", signer=mallory, id=world.opaque("mallory's")), b"x", mallory)
    version = held(world, world.connector_with("kms", ["account.key"], ORG))
    task = world.reveal([version], credentials=(key.target(latest=True),))
    judge(world, task)
    world.revise_status(grants=(grant.document.id,))
    with refused(Denied, "grant_revoked"):
        judge(world, task)


def test_a_secret_of_another_place_is_not_the_credential() -> None:
    """Neither the same name elsewhere nor another name there."""
    world = World()
    credential(world)
    near, beside = credential(world, "key", ORG), credential(world, "other")
    version = held(world, world.connector_with("kms", ["account.key"], ORG))
    for key in (near, beside):
        with refused(Malformed, "pin_missing"):
            judge(world, world.reveal([version], credentials=(key.target(latest=True),)))


def test_a_name_alone_is_looked_for_where_the_connector_lives_and_not_where_the_secret_does() -> None:
    world = World()
    above, below = credential(world, "key", ORG), credential(world, "key", BELOW)
    version = held(world, world.connector_with("kms", ["key"], ORG), scope=BELOW)
    (uses,) = judge(world, world.reveal([version])).credentials.values()
    assert uses["key"].secret == above.secret
    with refused(Malformed, "pin_missing"):
        judge(world, world.reveal([version], credentials=(below.target(latest=True),)))


def test_org_is_no_place_for_a_connector_of_the_account() -> None:
    """Such a document is none, whoever signs it."""
    world = World()
    payload = encode(world.connector_document("kms", secrets=("key",))).replace(b'["key"]', b'["org.key"]')
    signed = f"{b64u(header_bytes('connector', world.administrator.kid))}.{b64u(payload)}"
    compact = f"{signed}.{b64u(world.administrator.sign(signed.encode()))}"
    with refused(Malformed, "connector_document_malformed"):
        world.book().admit(compact, world.now)


# Versions.


def test_a_credential_below_the_floor_is_refused() -> None:
    world = World()
    key = credential(world)
    version = held(world, world.connector_with("kms", ["account.key"]))
    world.revise_status(secrets={key.secret.document.id: 2})
    for task in (world.reveal([version]), world.delete(version.secret, version)):
        with refused(Denied, "version_excluded"):
            judge(world, task)
    world.store(key.secret, b"AKIB", after=key)
    judge(world, world.reveal([version]))


@pytest.mark.parametrize(
    "changes",
    [
        {"latest": False},
        {"excluded": True},
        {"n": 0},
        {"version": None},
        {"n": 0, "version": None},
        {"secret": None},
        {"connector": "c" * 26},
        {"secret": None, "connector": "c" * 26},
    ],
    ids=str,
)
def test_a_credential_is_the_newest_version_of_a_secret_and_authentic(changes: dict[str, Any]) -> None:
    world = World()
    key = credential(world)
    version = held(world, world.connector_with("kms", ["account.key"]))
    right = world.reveal([version])
    wrong = structs.replace(key.target(latest=True), **changes)
    with refused(Malformed, "task_malformed"):
        judge(world, world.reveal([version], credentials=(wrong,), pins=right.document.pins))


# The task's own list.


def test_two_credentials_of_one_place_are_refused() -> None:
    world = World()
    key = credential(world)
    newer = world.store(key.secret, b"AKIB", after=key)
    twin = credential(world, id=world.opaque("twin"))
    version = held(world, world.connector_with("kms", ["account.key"]))
    for other in (key, newer, twin):
        targets = (newer.target(latest=True), other.target(latest=True))
        with refused(Malformed, "task_malformed"):
            judge(world, world.reveal([version], credentials=targets))


def test_a_credential_that_none_of_the_connectors_needs_is_refused() -> None:
    world = World()
    credential(world)
    other = credential(world, "other")
    version, plain = held(world, world.connector_with("kms", ["account.key"])), held(world, world.connector, "plain")
    needed = world.reveal([version]).document.credentials
    for versions, credentials in (
        ([version], (*needed, other.target(latest=True))),
        ([plain], needed),
        ([plain], (version.target(latest=True),)),
    ):
        with refused(Malformed, "task_malformed"):
            judge(world, world.reveal(versions, credentials=credentials))


@pytest.mark.parametrize("kind", ["secret", "connector"])
def test_what_a_credential_stands_on_is_pinned(kind: str) -> None:
    world = World()
    key = credential(world)
    version = held(world, world.connector_with("kms", ["account.key"]))
    left_out = {"secret": key.secret.document.id, "connector": world.connector.document.id}[kind]
    pins = tuple(pin for pin in world.reveal([version]).document.pins if pin.id != left_out)
    with refused(Malformed, "pin_missing"):
        judge(world, world.reveal([version], pins=pins))


def test_one_credential_serves_all_the_connectors_that_name_it() -> None:
    world = World()
    key = credential(world)
    one, other = world.connector_with("one", ["account.key"]), world.connector_with("other", ["account.key"], ORG)
    task = world.reveal([held(world, one, "a"), held(world, other, "b"), held(world, one, "c")])
    assert task.document.credentials == (key.target(latest=True),)
    assert judge(world, task).credentials.keys() == {one.document.id, other.document.id}


def test_who_may_not_use_a_credential_is_refused_although_another_connector_may() -> None:
    world = World()
    editor = editor_of(world)
    credential(world)
    one = world.connector_with("one", ["account.key"])
    other = world.connector_with("other", ["account.key"], ORG, editor)
    first, second = held(world, one, "a"), held(world, other, "b")
    for versions in ([first, second], [second, first]):
        with refused(Denied, "grant_missing"):
            judge(world, world.reveal(versions))
