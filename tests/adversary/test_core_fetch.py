"""Adversary against direct fetches: without the permission, past the path that was granted, and by names that mean two things."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.canonical import b64u, encode
from shared.documents.fields import Permission
from shared.documents.task import Target
from shared.documents.usage import TaskUsage, Usage
from shared.errors import Conflict, Denied, Malformed
from shared.trust.uses import fetched_resource
from tests.adversary.judging import ORG, credential, judge
from tests.adversary.paths import NOWHERE, PERMISSIONS, fetching
from tests.fakes.refusal import refused
from tests.fakes.world import World

BELOW = f"{ORG}/project/web"


@pytest.mark.parametrize("reference", ["team/db", "team/db#key", "team/db#a.b#c", "team/db/eu", "team/db/eu/x#key"])
def test_what_lies_below_the_granted_path_is_read(reference: str) -> None:
    world, vault, reader = fetching()
    granted = judge(world, world.fetch(vault, reference, reader))
    (use,) = granted.uses
    assert (use.secret, use.connector, use.target.reference, use.is_login) == (None, vault, reference, False)
    assert granted.connectors == (vault,)


ELSEWHERE = [
    "team",
    "team/other",
    "team/d",
    "team/db2",
    "team/db-eu",
    "team/db.eu",
    "team/db%2feu",
    "team/db\\eu",
    "team/db ",
    " team/db",
    "Team/db",
    "TEAM/DB",
    "x/team/db",
    "team/d\u0062\u0301",
    "team/\uff44\uff42",
    "team\u2215db",
    "team\u2044db",
    "team\uff0fdb",
    "team/d\u200bb",
    "te\u0430m/db",
    "team%2Fdb",
    "connector/team/db",
    "%74eam/db",
    "team;db",
    "team?db",
    "team/%64b",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_other_path_is_read_however_alike_it_looks(path: str) -> None:
    """Nothing is decoded, folded or normalised: two spellings are two paths, and only one of them is granted."""
    world, vault, reader = fetching()
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, path, reader))
    judge(world, world.fetch(vault, path))


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("key", ["", "#key"])
def test_a_path_that_could_lead_elsewhere_is_read_by_nobody(path: str, key: str) -> None:
    world, vault, reader = fetching()
    for signer in (reader, world.administrator):
        task = world.fetch(vault, path + key, signer)
        with refused(Malformed, "path_malformed" if path + key else "task_malformed"):
            judge(world, task)


@pytest.mark.parametrize(
    "path", ["team/db/%2e%2e/other", "team/db/%2E%2e", "team/db/...", "team/db/\uff0e\uff0e/x", "team/db/..x"]
)
def test_what_is_no_step_upwards_is_a_name_below(path: str) -> None:
    """Kinds percent-encode each part, the percent sign included; it stays a name."""
    world, vault, reader = fetching()
    judge(world, world.fetch(vault, path, reader))


def test_a_key_counts_for_nothing() -> None:
    """A grant is for a path: `#` can neither end it early nor go on after it."""
    world, vault, reader = fetching()
    for reference in ("team#/db", "team#db", "#team/db", "team/other#/../db", "te#am/db"):
        with pytest.raises((Denied, Malformed)):
            judge(world, world.fetch(vault, reference, reader))


# Without the permission.


@pytest.mark.parametrize(
    "held", [["fetch"], ["reveal"], ["use", "reveal", "edit", "view"], ["admin", "reveal"], ["fetch", "exec"]]
)
def test_a_fetch_takes_both_permissions(held: list[Permission]) -> None:
    world, vault, _ = fetching()
    mallory = world.identity("mallory")
    world.grant(mallory, held, ORG)
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, "team/db", mallory))


@pytest.mark.parametrize("held", [["fetch", "reveal"], ["fetch", "exec"], ["exec", "reveal"]])
def test_a_command_takes_all_three(held: list[Permission]) -> None:
    world, vault, _ = fetching()
    mallory = world.identity("mallory")
    grant = world.opaque("grant")
    target = Target(connector=vault.document.id, reference="team/db")
    world.grant(mallory, held, ORG, id=grant)
    with refused(Denied, "grant_missing"):
        judge(world, world.exec([target], mallory).task)
    world.grant(
        mallory, ["exec", "fetch", "reveal"], ORG, id=world.opaque("all"), resource=f"{vault.document.resource}/team"
    )
    granted = judge(world, world.exec([target], mallory).task)
    assert granted.uses[0].secret is None


def test_the_two_permissions_may_be_of_two_grants_but_each_covers_the_path() -> None:
    world, vault, _ = fetching()
    reader = world.identity("other")
    world.grant(reader, ["reveal"], ORG, id=world.opaque("one"))
    world.grant(reader, ["fetch"], ORG, id=world.opaque("two"), resource=f"{vault.document.resource}/team")
    judge(world, world.fetch(vault, "team/db", reader))
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, "other", reader))


def test_who_may_fetch_every_path_of_one_connector_fetches_nothing_of_another() -> None:
    world, vault, reader = fetching(None)
    judge(world, world.fetch(vault, "anything", reader))
    other = world.connector_with("other", (), ORG, type="Vault")
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(other, "anything", reader))


def test_a_grant_below_the_connector_s_scope_fetches_nothing() -> None:
    """Whoever holds a project holds none of what an organisation's connector can read."""
    world, vault, _ = fetching()
    mallory = world.identity("mallory")
    for at, scope in enumerate((BELOW, "org/other")):
        world.grant(mallory, ["fetch", "reveal", "exec", "admin"], scope, id=world.opaque(f"grant {at}"))
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, "team/db", mallory))


def test_a_grant_of_a_secret_is_no_grant_of_a_connector_of_the_same_id() -> None:
    world, vault, _ = fetching()
    mallory = world.identity("mallory")
    world.grant(mallory, PERMISSIONS, resource=vault.document.id)
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, "team/db", mallory))


def test_a_grant_of_a_path_reveals_no_secret_and_makes_no_connector() -> None:
    world, vault, _ = fetching()
    mallory = world.identity("mallory")
    every: list[Permission] = ["delete", "edit", "exec", "fetch", "reveal", "use", "view"]
    world.grant(mallory, every, resource=f"{vault.document.resource}/team")
    version = credential(world, "password", ORG, connector=vault.document.id)
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version], mallory))
    with refused(Denied, "grant_missing"):
        judge(world, world.check(vault, mallory))
    with refused(Denied, "grant_missing"):
        world.book().admit(world.next(vault, mallory, spec={"url": "https://evil"}).compact, world.now)


def test_fetch_that_is_lost_is_lost_at_once() -> None:
    world, vault, reader = fetching()
    judge(world, world.fetch(vault, "team/db", reader))
    world.revise_status(grants=(world.opaque(f"grant {reader.kid} {ORG}"),))
    with refused(Denied, "grant_revoked"):
        judge(world, world.fetch(vault, "team/db", reader))


# What else a target says.


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"gcp_project_id": "other"}},
        {"metadata": {"regions": "us-east-1"}},
        {"metadata": {"version": "1", "path": "other"}},
        {"metadata": {"Version": "1"}},
        {"n": 1},
        {"version": b64u(bytes(32))},
        {"n": 1, "version": b64u(bytes(32))},
        {"latest": True},
        {"excluded": True},
        {"secret": "a" * 26},
        {"connector": None},
    ],
)
def test_nothing_besides_a_version_is_said_of_what_is_fetched(changes: dict[str, Any]) -> None:
    world, vault, reader = fetching()
    target = Target(connector=vault.document.id, reference="team/db")
    pins = world.pins([target], reader)
    judge(world, world.task("reveal", [structs.replace(target, metadata={"version": "3"})], reader))
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("reveal", [structs.replace(target, **changes)], reader, pins=pins))


def test_a_stored_secret_is_not_read_from_elsewhere() -> None:
    """Who may reveal a secret doesn't say where it is: neither a path nor what leads to another one."""
    world, vault, _ = fetching()
    version = credential(world, "password", ORG, connector=vault.document.id, reference="team/password")
    reader = world.identity("other")
    world.grant(reader, ["reveal"], ORG)
    judge(world, world.reveal([version], reader))
    for changes in (
        {"reference": "team/db"},
        {"metadata": {"version": "1"}},
        {"reference": "x", "metadata": {"a": "b"}},
    ):
        with refused(Malformed, "task_malformed"):
            judge(world, world.task("reveal", [version.target(**changes)], reader))


@pytest.mark.parametrize("op", ["store", "delete", "check"])
def test_nothing_but_a_reveal_or_a_command_is_of_a_path(op: str) -> None:
    world, vault, _ = fetching()
    target = Target(connector=vault.document.id, reference="team/db")
    with refused(Malformed, "task_malformed"):
        judge(world, world.task(op, [target], input=(b64u(bytes(32)),) if op == "store" else ()))
    with refused(Malformed, "task_malformed"):
        judge(world, world.task(op, [structs.replace(target, reference="", metadata={"version": "1"})]))


def test_a_reveal_of_a_connector_alone_is_nothing() -> None:
    world, vault, _ = fetching()
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("reveal", [Target(connector=vault.document.id)]))


def test_a_fetch_carries_its_connector_s_credentials() -> None:
    world = World()
    credential(world)
    vault = world.connector_with("vault", ["account.key"], type="Vault")
    assert judge(world, world.fetch(vault, "a")).credentials.keys() == {vault.document.id}
    with refused(Malformed, "pin_missing"):
        judge(world, world.fetch(vault, "a", credentials=()))


# The connector.


def test_a_fetch_is_for_what_the_grant_and_the_connector_are_for() -> None:
    world, vault, reader = fetching(usage=Usage(environments=("test",)))
    stated = TaskUsage(environment="test")
    with refused(Denied, "usage_missing"):
        judge(world, world.fetch(vault, "team/db", reader))
    with refused(Denied, "usage_other"):
        judge(world, world.fetch(vault, "team/db", reader, usage=TaskUsage(environment="production")))
    judge(world, world.fetch(vault, "team/db", reader, usage=stated))
    narrow = world.identity("narrow")
    world.grant(narrow, PERMISSIONS, ORG, usage=Usage(environments=("production",)))
    with refused(Denied, "usage_not_granted"):
        judge(world, world.fetch(vault, "team/db", narrow, usage=stated))


def test_a_fetch_from_a_connector_of_another_keyring_or_a_deleted_one_is_refused() -> None:
    world, vault, reader = fetching(keyring="other")
    with refused(Denied, "connector_of_other_keyring"):
        judge(world, world.fetch(vault, "team/db", reader))
    world, vault, reader = fetching()
    task = world.fetch(vault, "team/db", reader)
    world.revise(vault, deleted=True)
    with refused(Conflict, "pin_stale"):
        judge(world, task)
    with refused(Conflict, "connector_deleted"):
        judge(world, world.fetch(vault, "team/db", reader))


def test_a_fetch_does_not_wake_the_platform_s_delegates() -> None:
    world, vault, reader = fetching(spec={"executeOnDelegate": False})
    with refused(Denied, "connector_for_platform"):
        judge(world, world.fetch(vault, "team/db", reader))
    world.revise(world.keyring_document, platform=True)
    judge(world, world.fetch(vault, "team/db", reader))
    own = world.connector_with("own", (), ORG, type="Vault")
    with refused(Denied, "connector_not_for_platform"):
        judge(world, world.fetch(own, "team/db"))


def test_a_fetch_falls_with_who_signed_the_connector() -> None:
    world = World()
    editor = world.identity("editor")
    granted = world.grant(editor, ["edit"], ORG)
    vault = world.connector_with("vault", (), ORG, editor, type="Vault")
    judge(world, world.fetch(vault, "a"))
    world.revise(granted, permissions=("view",))
    with refused(Denied, "grant_missing"):
        judge(world, world.fetch(vault, "a"))


# Custom secret managers.


def test_inputs_of_a_script_are_no_path() -> None:
    """Who is granted a path of a custom secret manager fetches nothing: what a script makes of inputs, nobody can tell."""
    world = World()
    custom = world.custom("custom", world.template("script"))
    reader, other = world.identity("reader"), world.identity("other")
    world.grant(reader, PERMISSIONS, resource=custom.document.resource)
    world.grant(other, PERMISSIONS, resource=f"{custom.document.resource}/a")
    for inputs in ('{"path":"a/../b"}', "a", "a/b", '{"path":"a"}#key', "#"):
        judge(world, world.fetch(custom, inputs, reader))
        with refused(Denied, "grant_missing"):
            judge(world, world.fetch(custom, inputs, other))
    assert fetched_resource(custom.document, "a") == custom.document.resource


def test_a_target_says_no_more_than_older_parties_know_unless_it_means_it() -> None:
    assert encode(Target(secret="a" * 26, n=1)) == b'{"n":1,"secret":"' + b"a" * 26 + b'"}'
