"""Adversary against tasks: forged, changed, stretched, moved, aimed at other documents, and asked by who may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from shared.canonical import b64u, encode
from shared.crypto.identity import Identity
from shared.documents.fields import Permission
from shared.documents.grant import DAY
from shared.documents.jws import Verified, parse_as
from shared.documents.status import DEFAULT_SECONDS
from shared.documents.task import KnownStatus, Pin, Target, TaskDocument, WantedSelector
from shared.errors import (
    Conflict,
    Denied,
    Expired,
    Malformed,
    NotReady,
    PrivySealError,
    StaleRecipient,
    Tampered,
    Unauthenticated,
)
from shared.trust.authority import SKEW_SECONDS
from shared.trust.warrant import warrant
from tests.adversary.judging import ORG, judge, stage
from tests.fakes.refusal import refused
from tests.fakes.world import Version, World


def changed(task: Verified[TaskDocument], **changes: Any) -> str:
    """The task with other claims under its old signature."""
    header, _, signature = task.compact.split(".")
    return f"{header}.{b64u(encode(structs.replace(task.document, **changes)))}.{signature}"


def test_the_unchanged_task_is_allowed() -> None:
    world, reader, version = stage()
    judge(world, world.reveal([version], reader))


OTHER_READER = b64u(World(name="evil").reader.public.raw)
CHANGES: dict[str, dict[str, Any]] = {
    "the reader's key replaced": {"reader": OTHER_READER},
    "its time stretched": {"exp": World().now + 3600},
    "its beginning moved": {"iat": World().now - 1},
    "its operation changed": {"op": "check"},
    "made repeatable": {"repeat": "never", "to": World().delegate.kid},
    "another target": {"targets": (Target(secret="s" * 26, n=1, version="A" * 43),)},
    "without selectors": {"selectors": ()},
    "another generation": {"gen": 2},
    "another keyring": {"keyring": "other"},
    "a pin removed": {"pins": (Pin("account", "account", 1, "A" * 43),)},
    "an older status": {"status": KnownStatus(1, "A" * 43)},
    "another sealed input": {"input": ("A" * 43,)},
    "a new name": {"jti": "z" * 26},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_task_does_not_verify_with(changes: dict[str, Any]) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, selectors=(WantedSelector("eu", "step"),))
    with refused(Tampered, "signature_invalid"):
        world.book().verify(parse_as(TaskDocument, changed(task, **changes)))


def test_a_task_for_one_delegate_does_not_verify_for_another_or_for_any() -> None:
    world, _, version = stage()
    task = world.delete(version.secret, version)
    for to in (None, world.identity("other delegate").kid):
        with refused(Tampered, "signature_invalid"):
            world.book().verify(parse_as(TaskDocument, changed(task, to=to)))


def test_a_task_signed_again_by_a_stranger_is_nobody_s() -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader)
    for stranger in (world.identity("stranger"), world.delegate, world.keyring.newest.certifying):
        with refused(Unauthenticated, "signer_unknown"):
            judge(world, world.sign(task.document, stranger))


def test_a_task_signed_again_by_somebody_else_needs_his_own_grants() -> None:
    world, reader, version = stage()
    other = world.identity("other")
    world.grant(other, ["view", "use", "edit", "delete", "admin"], ORG)
    with refused(Denied, "grant_missing"):
        judge(world, world.sign(world.reveal([version], reader).document, other))


def test_a_task_of_another_account_is_refused() -> None:
    world, reader, version = stage()
    with refused(Tampered, "account_foreign"):
        judge(world, world.reveal([version], reader, acct=World(name="other").id))


def test_a_grant_presented_as_a_task_is_refused() -> None:
    world, reader, _ = stage()
    with refused(Malformed, "document_malformed"):
        parse_as(TaskDocument, world.grant(reader, ["reveal"]).compact)


# Permissions.

OPERATIONS: dict[str, tuple[Permission, Callable[[World, Version, Identity], Verified[TaskDocument]]]] = {
    "reveal": ("reveal", lambda world, version, who: world.reveal([version], who)),
    "store": ("edit", lambda world, version, who: world.store(version.secret, b"new", who, version).task),
    "delete": ("delete", lambda world, version, who: world.delete(version.secret, version, who)),
    "delete all": ("delete", lambda world, version, who: world.delete(version.secret, None, who)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("permission", ["view", "use", "reveal", "edit", "delete", "exec", "renew", "admin"])
def test_an_operation_takes_its_own_permission_and_no_other(operation: str, permission: Permission) -> None:
    world, who, version = stage(permission)
    wanted, make = OPERATIONS[operation]
    task = make(world, version, who)
    if permission == wanted:
        judge(world, task)
    else:
        with refused(Denied, "grant_missing"):
            judge(world, task)


@pytest.mark.parametrize("permission", ["view", "use", "reveal"])
def test_a_check_takes_use_of_the_connector(permission: Permission) -> None:
    world = World()
    who = world.identity("who")
    world.grant(who, [permission])
    if permission == "use":
        judge(world, world.check(world.connector, who))
    else:
        with refused(Denied, "grant_missing"):
            judge(world, world.check(world.connector, who))


@pytest.mark.parametrize("scope", ["org/other", "org/acme/project/web", "account"])
def test_a_grant_elsewhere_reveals_nothing_here(scope: str) -> None:
    world = World()
    reader = world.identity("reader")
    world.grant(reader, ["reveal"], scope if scope != "account" else "org/other/project/x")
    version = world.store(world.secret("password", ORG), b"hunter2")
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version], reader))


def test_one_target_that_may_not_be_revealed_refuses_the_whole_task() -> None:
    world, reader, version = stage()
    other = world.store(world.secret("other", "org/other"), b"x")
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version, other], reader))


@pytest.mark.parametrize("operation", ["reveal", "store", "delete"])
def test_a_revoked_signer_asks_for_nothing(operation: str) -> None:
    wanted, make = OPERATIONS[operation]
    world, who, version = stage(wanted)
    task = make(world, version, who)
    world.revise_status(keys=(who.kid,))
    with refused(Denied, "key_revoked"):
        judge(world, task)


def test_a_grant_that_is_not_pinned_does_not_count() -> None:
    """So that everybody who judges the task judges by the same documents."""
    world, reader, version = stage()
    pins = [pin for pin in world.pins([version.target()], reader) if pin.kind != "grant"]
    with refused(Denied, "grant_missing"):
        judge(world, world.reveal([version], reader, pins=tuple(pins)))


# Time.


@pytest.mark.parametrize(
    ("iat", "exp", "error", "code"),
    [
        (0, DAY, None, ""),
        (0, DAY + 1, Denied, "task_too_long"),
        (0, -1, Denied, "task_too_long"),
        (-60, 0, Expired, "task_expired"),
        (-60, 1, None, ""),
        (SKEW_SECONDS, SKEW_SECONDS + 60, None, ""),
        (SKEW_SECONDS + 1, SKEW_SECONDS + 60, Denied, "clock_skew"),
    ],
)
def test_a_task_starts_in_its_time_by_clocks_that_differ_a_little(
    iat: int, exp: int, error: type[PrivySealError] | None, code: str
) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, iat=world.now + iat, exp=world.now + exp)
    if error is None:
        judge(world, task)
    else:
        with refused(error, code):
            judge(world, task)


def test_a_task_that_may_happen_once_starts_within_two_minutes() -> None:
    world, _, version = stage()
    judge(world, world.delete(version.secret, version, exp=world.now + 120))
    with refused(Denied, "task_too_long"):
        judge(world, world.delete(version.secret, version, exp=world.now + 121))


@pytest.mark.parametrize(
    "changes",
    [{"repeat": "any", "to": None}, {"to": None}],
    ids=["repeated", "to nobody"],
)
def test_what_may_happen_once_names_its_delegate(changes: dict[str, Any]) -> None:
    world, _, version = stage()
    with refused(Malformed, "task_malformed"):
        judge(world, world.delete(version.secret, version, **changes))


@pytest.mark.parametrize("changes", [{"repeat": "never"}, {"to": "A" * 43}], ids="".join)
def test_what_may_happen_twice_names_none(changes: dict[str, Any]) -> None:
    world, reader, version = stage()
    with refused(Malformed, "task_malformed"):
        judge(world, world.reveal([version], reader, **changes))


# Status.


def test_a_withheld_status_is_noticed_by_a_task_that_knows_it() -> None:
    world, reader, version = stage()
    newer = world.next(world.status, grants=("g" * 26,))
    task = world.reveal([version], reader, status=KnownStatus(newer.document.rev, newer.digest))
    with refused(NotReady, "status_behind"):
        judge(world, task)


def test_two_statuses_with_one_serial_are_noticed() -> None:
    world, reader, version = stage()
    with refused(Tampered, "status_forked"):
        judge(world, world.reveal([version], reader, status=KnownStatus(1, "A" * 43)))


def test_a_task_of_a_signer_who_is_behind_is_judged_by_the_newer_status() -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader)
    world.revise_status()
    judge(world, task)
    world.revise_status(secrets={version.secret.document.id: 2})
    with refused(Denied, "version_excluded"):
        judge(world, task)


def test_an_excluded_version_may_still_be_deleted_and_newer_ones_revealed() -> None:
    world, reader, version = stage()
    second = world.store(version.secret, b"new", after=version)
    world.revise_status(secrets={version.secret.document.id: 2})
    judge(world, world.delete(version.secret, version))
    judge(world, world.reveal([second], reader))
    with refused(Denied, "version_excluded"):
        judge(world, version.task)


def test_an_excluded_or_older_generation_is_stale() -> None:
    world, reader, version = stage()
    old = world.reveal([version], reader)
    world.rotate()
    with refused(StaleRecipient, "generation_stale"):
        judge(world, world.reveal([version], reader, gen=1))
    with refused(Conflict, "pin_stale"):
        judge(world, old)
    world.revise_status(keyrings={"main": 2})
    with refused(StaleRecipient, "generation_excluded"):
        judge(world, world.reveal([version], reader, gen=1))
    judge(world, world.reveal([version], reader))


def test_a_keyring_of_a_removed_administrator_serves_no_task() -> None:
    world, reader, version = stage()
    second = world.identity("second")
    kept = world.account_document.document.administrators
    added = (*kept, structs.replace(kept[0], name="second", key=second.key))
    world.revise(world.account_document, world.root, administrators=added)
    world.revise(world.keyring_document, second)
    judge(world, world.reveal([version], reader))
    book = world.book()
    book.admit(world.revise(world.account_document, world.root, administrators=kept).compact, world.now)
    with refused(Denied, "keyring_unfounded"):
        warrant(book, world.reveal([version], reader), world.now)


def test_a_status_that_expires_during_a_task_s_wait_refuses_it() -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, iat=world.now + DEFAULT_SECONDS, exp=world.now + DEFAULT_SECONDS + DAY)
    book = world.book()
    with refused(NotReady, "status_expired"):
        warrant(book, task, world.now + DEFAULT_SECONDS)
