"""Adversary against SSHKeys: named where a value belongs, pointed at another's key, replaced, confused, and made to go round."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.canonical import b64u
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.task import Target, TaskDocument
from shared.documents.usage import TaskUsage, Usage
from shared.errors import Conflict, Denied, Malformed
from shared.trust.warrant import warrant
from tests.adversary.judging import ORG, credential, editor_of, judge, only
from tests.fakes.refusal import refused
from tests.fakes.world import Version, World

BELOW = f"{ORG}/project/web"


def stage() -> tuple[World, Version, Verified[SecretDocument], Verified[ConnectorDocument]]:
    """A key, an SSHKey that names it, and a custom secret manager that logs in with that."""
    world = World()
    key = credential(world)
    login = world.login("login", ["key"])
    custom = world.custom("custom", world.template("script"), ["account.login"])
    return world, key, login, custom


def test_a_connector_gets_an_sshkey_and_that_gets_what_it_names() -> None:
    world, key, login, custom = stage()
    granted = judge(world, world.check(custom))
    assert granted.credentials.keys() == {custom.document.id, login.document.id}
    use = granted.credentials[custom.document.id]["account.login"]
    assert use.is_login and use.secret == login and use.target == Target(secret=login.document.id, latest=True)
    assert granted.credentials[login.document.id]["key"].target == key.target(latest=True)
    # The SSHKey's own connector only says whose delegates it is for; the key's holds a value.
    assert granted.connectors == (custom, world.connector)


def test_a_connector_that_only_an_sshkey_lives_in_is_not_used() -> None:
    world = World()
    home = world.publish(world.connector_document("home", selectors=("gpu",)))
    login = world.login("login", connector=home.document.id)
    custom = world.custom("custom", world.template("script"), ["account.login"], selectors=("linux",))
    granted = judge(world, world.check(custom))
    assert granted.connectors == (custom,)
    assert granted.selectors == {"linux"}
    tried = judge(world, world.check_login(login))
    # A delegate that knows no hosts is not asked.
    assert not tried.connectors
    assert tried.kinds == granted.kinds == frozenset({CUSTOM})


@pytest.mark.parametrize("kind", ["AwsKms", "Vault", "Local"])
def test_no_provider_is_given_a_private_key_for_a_password(kind: str) -> None:
    world, *_ = stage()
    with refused(Malformed, "credential_unfit"):
        judge(world, world.check(world.connector_with("kms", ["account.login"], type=kind)))


def test_no_sshkey_stands_on_another() -> None:
    world, *_ = stage()
    world.login("outer", ["login"])
    custom = world.custom("other", world.template("script"), ["account.outer"])
    with refused(Malformed, "credential_unfit"):
        judge(world, world.check(custom))


def test_no_script_is_given_a_private_key_for_a_text() -> None:
    world, *_ = stage()
    template = world.template("greedy", content={"secrets": ("login",)})
    custom = world.custom("other", template, ["account.login"])
    with refused(Malformed, "credential_unfit"):
        judge(world, world.check(custom))


@pytest.mark.parametrize(
    "spec", [{}, {"connectorRef": "login"}, {"host": "account.login"}, {"connectorRef": ["account.login"]}]
)
def test_nothing_but_the_connectorref_of_a_script_s_connector_is_an_sshkey(spec: dict[str, Any]) -> None:
    """Where a variable of a script names a text that was replaced, the script would be given a private key."""
    world, *_ = stage()
    with refused(Malformed, "credential_unfit"):
        judge(world, world.check(world.custom("other", world.template("script"), ["account.login"], spec=spec)))


def test_a_text_that_is_replaced_by_an_sshkey_is_not_given_to_a_provider() -> None:
    """Whoever may edit the secrets of a scope makes another thing of the same name."""
    world = World()
    key = credential(world)
    kms = world.connector_with("kms", ["account.key"])
    judge(world, world.check(kms))
    world.revise(key.secret, deleted=True)
    world.login("key", id=world.opaque("another key"))
    with refused(Malformed, "credential_unfit"):
        judge(world, world.check(kms))


def test_a_secret_does_not_become_an_sshkey() -> None:
    world = World()
    key = credential(world)
    changed = world.next(key.secret, type="SSHKey", spec={"auth": {}})
    with refused(Conflict, "field_immutable"):
        world.book().admit(changed.compact, world.now)


# Who may point an SSHKey at what.


def test_an_editor_without_use_can_not_log_in_with_another_s_key() -> None:
    world, _, login, _ = stage()
    editor = editor_of(world)
    world.grant(editor, ["edit", "use"], BELOW)
    theirs = world.login("theirs", ["account.key"], BELOW, editor)
    template = world.template("script", BELOW)
    custom = world.custom("evil", template, ["theirs"], BELOW, editor)
    with refused(Denied, "grant_missing"):
        judge(world, world.check(custom, editor))
    with refused(Denied, "grant_missing"):
        judge(world, world.check_login(theirs, signer=editor))
    assert login.document.scope == "account"


def test_use_of_an_sshkey_is_no_use_of_its_key() -> None:
    """The connector's signer needs `use` of the SSHKey alone; who signed that needs `use` of the key."""
    world, key, login, _ = stage()
    editor = editor_of(world)
    custom = world.custom("theirs", world.template("script"), ["account.login"], ORG, editor)
    with refused(Denied, "grant_missing"):
        judge(world, world.check(custom))
    grant = world.opaque("use of the SSHKey")
    world.grant(editor, ["use"], id=grant, resource=login.document.id)
    judge(world, world.check(custom))
    with refused(Denied, "grant_missing"):
        judge(world, world.check(world.connector_with("direct", ["account.key"], ORG, editor)))
    assert key.n == 1


def test_an_sshkey_that_somebody_revised_who_may_not_use_its_key_falls() -> None:
    world, _, login, custom = stage()
    editor = world.identity("editor")
    world.grant(editor, ["edit"])
    world.revise(login, editor, spec={"auth": {"host": "evil"}})
    with refused(Denied, "grant_missing"):
        judge(world, world.check(custom))


def test_the_refusal_names_the_sshkey() -> None:
    world, _, login, custom = stage()
    editor = world.identity("editor")
    world.grant(editor, ["edit"])
    world.revise(login, editor)
    with pytest.raises(Denied) as caught:
        judge(world, world.check(custom))
    assert caught.value.detail.startswith("who signed the SSHKey login may not use key: ")


def test_a_revoked_signer_takes_his_sshkey_with_him() -> None:
    world = World()
    editor = editor_of(world)
    key = credential(world)
    only(world, key, editor)
    login = world.login("login", ["account.key"], ORG, editor)
    custom = world.custom("custom", world.template("script"), ["org.login"], BELOW)
    judge(world, world.check(custom))
    task, book = world.check(custom), world.book()
    book.admit(world.revise_status(keys=(editor.kid,)).compact, world.now)
    with refused(Denied, "key_revoked"):
        warrant(book, task, world.now)
    assert login.document.scope == ORG


# What a task says of one.


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 1},
        {"version": b64u(bytes(32))},
        {"n": 1, "version": b64u(bytes(32))},
        {"latest": False},
        {"excluded": True},
        {"reference": "host"},
        {"metadata": {"version": "1"}},
        {"connector": "a" * 26},
    ],
)
def test_an_sshkey_has_no_version_and_no_host_among_credentials(changes: dict[str, Any]) -> None:
    world, key, login, custom = stage()
    target = Target(secret=login.document.id, latest=True)
    right = (target, key.target(latest=True))
    judge(world, world.check(custom, credentials=right))
    with refused(Malformed, "task_malformed"):
        judge(world, world.check(custom, credentials=(structs.replace(target, **changes), right[1])))


@pytest.mark.parametrize(
    "changes", [{"n": 0, "version": None}, {"n": 0}, {"version": None}, {"reference": "a"}, {"metadata": {"a": "b"}}]
)
def test_a_value_has_a_version_and_no_path_among_credentials(changes: dict[str, Any]) -> None:
    world, key, login, custom = stage()
    target = Target(secret=login.document.id, latest=True)
    with refused(Malformed, "task_malformed"):
        judge(world, world.check(custom, credentials=(target, structs.replace(key.target(latest=True), **changes))))


def test_what_an_sshkey_names_can_not_be_left_out_nor_put_in_place_of_it() -> None:
    world, key, login, custom = stage()
    other = credential(world, "other")
    target = Target(secret=login.document.id, latest=True)
    for left in ((target,), (key.target(latest=True),), ()):
        with refused(Malformed, "pin_missing"):
            judge(world, world.check(custom, credentials=left))
    with refused(Malformed, "pin_missing"):
        judge(world, world.check(custom, credentials=(target, other.target(latest=True))))
    with refused(Malformed, "task_malformed"):
        more = (target, key.target(latest=True), other.target(latest=True))
        judge(world, world.check(custom, credentials=more))


def test_an_sshkey_outlives_a_floor_but_its_key_does_not() -> None:
    world, key, login, custom = stage()
    world.revise_status(secrets={login.document.id: 9})
    judge(world, world.check(custom))
    world.revise_status(secrets={key.secret.document.id: 2})
    with refused(Denied, "version_excluded"):
        judge(world, world.check(custom))


@pytest.mark.parametrize("op", ["reveal", "store", "delete", "exec"])
def test_nothing_but_a_check_is_of_an_sshkey(op: str) -> None:
    world, _, login, _ = stage()
    target = Target(secret=login.document.id)
    one = structs.replace(target, n=1, version=b64u(bytes(32)))
    task = {
        "reveal": lambda: world.task("reveal", [one]),
        "store": lambda: world.store(login, b"x").task,
        "delete": lambda: world.delete(login),
        "exec": lambda: world.exec([one]).task,
    }[op]()
    with refused(Malformed, "task_malformed"):
        judge(world, task)


# The check of an SSHKey at a host.


def test_an_sshkey_is_tried_by_who_may_use_it() -> None:
    world, key, login, _ = stage()
    tester = world.identity("tester")
    world.grant(tester, ["use"], resource=login.document.id)
    granted = judge(world, world.check_login(login, "db.internal:22", tester))
    assert [use.is_login for use in granted.uses] == [True]
    assert granted.uses[0].target.reference == "db.internal:22"
    assert granted.credentials[login.document.id]["key"].target == key.target(latest=True)


@pytest.mark.parametrize("permission", ["view", "reveal", "edit", "delete", "exec", "fetch", "renew", "admin"])
def test_nothing_but_use_tries_an_sshkey(permission: Permission) -> None:
    world, _, login, _ = stage()
    mallory = world.identity("mallory")
    world.grant(mallory, [permission])
    with refused(Denied, "grant_missing"):
        judge(world, world.check_login(login, "evil", mallory))


def test_use_of_its_connector_or_of_its_key_tries_no_sshkey() -> None:
    world, key, login, _ = stage()
    mallory = world.identity("mallory")
    world.grant(mallory, ["use"], resource=world.connector.document.resource)
    world.grant(mallory, ["use"], id=world.opaque("second"), resource=key.secret.document.id)
    with refused(Denied, "grant_missing"):
        judge(world, world.check_login(login, "evil", mallory))


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": ""},
        {"connector": "a" * 26},
        {"n": 1},
        {"version": b64u(bytes(32))},
        {"metadata": {"version": "1"}},
        {"excluded": True},
    ],
)
def test_a_check_of_an_sshkey_names_a_host_and_nothing_else(changes: dict[str, Any]) -> None:
    world, _, login, _ = stage()
    target = structs.replace(Target(secret=login.document.id, reference="host"), **changes)
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("check", [target], pins=world.check_login(login).document.pins))


def test_a_value_is_not_checked_at_a_host() -> None:
    world, key, _, _ = stage()
    with refused(Malformed, "task_malformed"):
        judge(world, world.check_login(key.secret))
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("check", [Target(connector=world.connector.document.id, reference="host")]))
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("check", [Target(reference="host")]))


def test_a_deleted_sshkey_logs_in_nowhere() -> None:
    world, _, login, custom = stage()
    task = world.check(custom)
    world.revise(login, deleted=True)
    with refused(Conflict, "pin_stale"):
        judge(world, task)
    with refused(Conflict, "secret_deleted"):
        judge(world, world.check_login(login))


def test_an_sshkey_of_another_keyring_is_not_for_these_delegates() -> None:
    world = World()
    away = world.publish(world.connector_document("away", keyring="other"))
    login = world.login("login", connector=away.document.id)
    custom = world.custom("custom", world.template("script"), ["account.login"])
    for task in (world.check(custom), world.check_login(login)):
        with refused(Denied, "connector_of_other_keyring"):
            judge(world, task)


def test_an_sshkey_for_one_environment_is_for_tasks_that_state_it() -> None:
    world, _, login, custom = stage()
    world.revise(login, usage=Usage(environments=("production",)))
    for task in (world.check(custom), world.check_login(login)):
        with refused(Denied, "usage_missing"):
            judge(world, task)
    judge(world, world.check(custom, usage=TaskUsage(environment="production")))


def test_an_sshkey_that_is_not_pinned_is_not_used() -> None:
    world, _, login, custom = stage()
    for task in (world.check(custom), world.check_login(login)):
        with refused(Malformed, "pin_missing"):
            judge(world, without(world, task, login))


def without(world: World, task: Verified[TaskDocument], thing: Verified[Any]) -> Verified[TaskDocument]:
    """That task without a pin of that thing."""
    pins = tuple(pin for pin in task.document.pins if pin.digest != thing.digest)
    return world.sign(structs.replace(task.document, pins=pins), world.administrator)


def test_an_sshkey_whose_connector_does_not_cover_it_is_refused() -> None:
    world = World()
    beside = world.publish(world.connector_document("beside", f"{ORG}/project/other"))
    login = world.login("login", (), BELOW, connector=beside.document.id)
    with refused(Denied, "connector_out_of_scope"):
        judge(world, world.check_login(login))


# One id for two things.


@pytest.mark.parametrize("order", [1, -1])
def test_a_connector_that_was_given_an_sshkey_s_id_does_not_get_its_key(order: int) -> None:
    """Values are found by the id of what names them: `key` means another secret to each of the two."""
    world, _, login, custom = stage()
    mallory = world.identity("mallory")
    world.grant(mallory, ["edit", "use"], ORG)
    world.grant(mallory, ["use"], resource=custom.document.resource)
    credential(world, "key", ORG)
    id = login.document.id
    evil = world.connector_with("evil", ["key"], ORG, mallory, id=id, type="Vault", spec={"url": "https://evil"})
    targets = [Target(connector=one.document.id) for one in (custom, evil)][::order]
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("check", targets, mallory))
    judge(world, world.check(evil, mallory))
