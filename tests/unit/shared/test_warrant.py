"""The warrant of a command, and what a warrant says that may be touched."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.canonical import blob_digest
from shared.documents.fields import Permission
from shared.documents.task import LONGEST_COMMAND_SECONDS, OPERATIONS, REPEAT, WantedSelector
from shared.errors import Denied, Malformed
from shared.trust.uses import PERMISSIONS
from tests.adversary.judging import ORG, judge, stage
from tests.fakes.refusal import refused
from tests.fakes.world import World


def test_every_operation_has_its_permissions_and_its_repeat() -> None:
    assert set(PERMISSIONS) == set(REPEAT) == set(OPERATIONS)


def test_a_command_is_allowed_to_who_may_run_one_and_see_what_it_is_given() -> None:
    world, runner, version = stage("exec")
    world.grant(runner, ["reveal"], ORG, id=world.opaque("another grant"))
    command = world.exec([version, version], runner, ["env"], ["A", "B"])
    allowed = judge(world, command.task)
    assert [use.target for use in allowed.uses] == [version.target()] * 2
    assert allowed.task.document.input == (blob_digest(command.input.raw),)
    assert allowed.task.document.seconds == 60


@pytest.mark.parametrize("permission", ["view", "use", "reveal", "edit", "delete", "exec", "renew", "admin"])
def test_one_permission_alone_runs_no_command(permission: Permission) -> None:
    world, runner, version = stage(permission)
    with refused(Denied, "grant_missing"):
        judge(world, world.exec([version], runner).task)


def test_both_permissions_are_needed_for_each_target() -> None:
    world, runner, version = stage("exec")
    world.grant(runner, ["reveal"], ORG, id=world.opaque("one"), resource=version.secret.document.id)
    other = world.store(world.secret("other", ORG), b"x")
    judge(world, world.exec([version], runner).task)
    for versions in ([version, other], [other, version]):
        with refused(Denied, "grant_missing"):
            judge(world, world.exec(versions, runner).task)


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": None},
        {"input": ()},
        {"input": ("A" * 43,) * 2},
        {"repeat": "any", "to": None},
        {"repeat": "any"},
        {"to": None},
    ],
    ids=str,
)
def test_a_command_has_one_input_a_time_limit_and_one_delegate(changes: dict[str, Any]) -> None:
    world, _, version = stage()
    with refused(Malformed, "task_malformed"):
        judge(world, world.exec([version], **changes).task)


@pytest.mark.parametrize("seconds", [1, LONGEST_COMMAND_SECONDS])
def test_nothing_but_a_command_has_a_time_limit(seconds: int) -> None:
    world, _, version = stage()
    judge(world, world.exec([version], seconds=seconds).task)
    with refused(Malformed, "task_malformed"):
        judge(world, world.reveal([version], seconds=seconds))
    with refused(Malformed, "task_malformed"):
        judge(world, world.delete(version.secret, seconds=seconds))


@pytest.mark.parametrize("seconds", [0, -1, LONGEST_COMMAND_SECONDS + 1])
def test_a_time_limit_is_within_a_day(seconds: int) -> None:
    world, _, version = stage()
    with refused(Malformed, "task_document_malformed"):
        judge(world, world.exec([version], seconds=seconds).task)


@pytest.mark.parametrize("changes", [{"n": 0}, {"version": None}, {"n": 0, "version": None}], ids=str)
def test_a_command_is_given_versions(changes: dict[str, Any]) -> None:
    world, _, version = stage()
    fields: dict[str, Any] = {"input": ("A" * 43,)}
    with refused(Malformed, "task_malformed"):
        judge(world, world.task("exec", [structs.replace(version.target(), **changes)], **fields))
    excluded = structs.replace(version.target(), excluded=True)
    assert judge(world, world.task("exec", [excluded], **fields)).uses[0].target.excluded


def test_a_command_begins_within_two_minutes() -> None:
    world, _, version = stage()
    judge(world, world.exec([version], exp=world.now + 120, seconds=86_400).task)
    with refused(Denied, "task_too_long"):
        judge(world, world.exec([version], exp=world.now + 121).task)


def test_the_selectors_of_those_that_hold_credentials_count_too() -> None:
    world = World()
    holder = world.connector_with("holder", [], selectors=("inside", "linux"))
    world.store(world.secret("key", connector=holder.document.id), b"AKIA")
    kms = world.connector_with("kms", ["account.key"], selectors=("eu", "linux"))
    version = world.store(world.secret("password", ORG, connector=kms.document.id), b"hunter2")
    allowed = judge(world, world.reveal([version]))
    assert allowed.selectors == {"eu", "inside", "linux"}
    assert {one.document.identifier for one in allowed.connectors} == {"holder", "kms"}
    chosen = world.reveal([version], selectors=(WantedSelector("gpu", "step"),))
    assert judge(world, chosen).selectors == {"gpu"}


@pytest.mark.parametrize("op", ["check", "delete", "store"])
def test_only_who_reads_takes_records_of_an_excluded_generation(op: str) -> None:
    world, _, version = stage()
    target = structs.replace(version.target(), n=2) if op == "store" else version.target()
    with refused(Malformed, "task_malformed"):
        judge(world, world.task(op, [structs.replace(target, excluded=True)]))
