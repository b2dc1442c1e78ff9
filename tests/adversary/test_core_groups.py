"""Adversary against groups: forged, foreign and old documents, documents that don't come, and delegates that claim a group."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from delegate.trust import Trust
from delegate.zone import Zone
from shared.crypto.identity import Identity
from shared.documents.account import Administrator
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument, WantedSelector
from shared.errors import Conflict, Denied, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.trust.group import tags_of
from tests.fakes.delegates import WorldClock
from tests.fakes.heart import Heart
from tests.fakes.refusal import refused
from tests.fakes.world import Version, World

FAST = "disk:fast"


def group(world: World, *tags: str, name: str = "builders", **changes: Any) -> GroupDocument:
    """A first revision."""
    return structs.replace(GroupDocument(v=1, acct=world.id, id=name, rev=1, iat=world.now, tags=tags), **changes)


def staged() -> tuple[World, Version]:
    """A world with a value in it."""
    world = World()
    return world, world.store(world.secret("password"), b"hunter2")


def fast(world: World, version: Version, **changes: Any) -> Verified[TaskDocument]:
    """A task for who has the group's tag."""
    return world.reveal([version], **{"selectors": (WantedSelector(FAST, "step"),), **changes})


async def told(heart: Heart, task: Verified[TaskDocument], version: Version) -> str:
    """What the delegate comes to."""
    return await heart.told(task, stored=[version.record.raw])


@pytest.mark.parametrize(
    ("who", "error", "code"),
    [
        ("holder", Denied, "group_unfounded"),
        ("root", Unauthenticated, "signer_unknown"),
        ("certifier", Unauthenticated, "signer_unknown"),
        ("delegate", Unauthenticated, "signer_unknown"),
        ("mallory", Unauthenticated, "signer_unknown"),
    ],
)
def test_a_group_by_anybody_but_an_administrator_gives_no_tags(
    who: str, error: type[PrivySealError], code: str
) -> None:
    """The holder of every permission over the account is no administrator."""
    world = World()
    world.grant(world.identity("holder"))
    signers: dict[str, Identity] = {
        "holder": world.identity("holder"),
        "root": world.root,
        "certifier": world.keyring.newest.certifying,
        "delegate": world.delegate,
        "mallory": world.identity("mallory"),
    }
    book = world.book()
    with refused(error, code):
        book.admit(world.sign(group(world, FAST), signers[who]).compact, world.now)
    assert FAST not in tags_of(world.certificate(group="builders").document, book.groups)


def test_a_group_that_was_changed_on_the_way_is_refused() -> None:
    world = World()
    genuine = world.sign(group(world, "gpu"), world.administrator).compact.split(".")
    other = world.sign(group(world, FAST), world.administrator).compact.split(".")
    book = world.book()
    with refused(Tampered, "signature_invalid"):
        book.admit(".".join((genuine[0], other[1], genuine[2])), world.now)
    assert book.groups == {}


def test_a_group_of_another_account_gives_no_tags() -> None:
    """Even where one person administers both, and so signs with one key."""
    world, other = World(), World(name="other")
    book = world.book()
    for document in (group(other, FAST), group(world, FAST, acct=other.id)):
        with refused(Tampered, "account_foreign"):
            book.admit(world.sign(document, world.administrator).compact, world.now)
    assert book.groups == {}


def test_an_older_revision_of_a_group_does_not_come_back() -> None:
    world = World()
    first = world.publish(group(world, FAST))
    second = world.revise(first, tags=("gpu",))
    book = world.book()
    book.admit(first.compact, world.now)
    with refused(Conflict, "revision_stale"):
        book.admit(world.sign(group(world, FAST, "more"), world.administrator).compact, world.now)
    with refused(Tampered, "revision_forked"):
        book.admit(world.next(first, tags=(FAST,)).compact, world.now)
    assert book.groups["builders"] == second


async def test_a_delegate_has_no_tag_of_a_group_that_it_was_not_shown() -> None:
    world, version = staged()
    before = Heart(world, ["delegate"], "builders")
    world.publish(group(world, FAST))
    assert await told(before, fast(world, version), version) == "selectors_missing"
    assert await told(Heart(world, ["delegate"], "builders"), fast(world, version), version) == "ok"
    assert await told(Heart(world, ["delegate"]), fast(world, version), version) == "selectors_missing"
    named = fast(world, version, selectors=(WantedSelector("builders", "step"),))
    assert await told(before, named, version) == "ok"


@pytest.mark.parametrize("where", ["not production", "disk:fast"])
async def test_a_delegate_that_was_shown_an_old_group_alone_does_nothing_under_a_status_that_knows_a_newer_one(
    where: str,
) -> None:
    """The manager withholds the revision that made it a machine of production, and took its fast disk away."""
    world, version = staged()
    first = world.publish(group(world, FAST))
    world.revise_status(groups={"builders": 1})
    task = world.reveal([version], where=where)
    assert await told(Heart(world, ["delegate"], "builders"), task, version) == "ok"
    # What the signer of the next task knows.
    world.revise_status(groups={"builders": 2})
    behind = Heart(world, ["delegate"], "builders")
    after = world.reveal([version], where=where)
    assert await told(behind, after, version) == "group_stale"
    assert await told(Heart(world, ["delegate"], "others"), world.reveal([version]), version) == "ok"
    world.revise(first, tags=("production",))
    assert await told(Heart(world, ["delegate"], "builders"), after, version) == "condition_unmet"


async def test_a_group_whose_administrator_was_removed_stops_its_delegates_until_another_signs() -> None:
    world, version = staged()
    second = world.identity("second")
    people = (*world.account_document.document.administrators, Administrator("second", second.key))
    world.revise(world.account_document, world.root, administrators=people)
    first = world.publish(group(world, FAST), second)
    world.revise_status(groups={"builders": 1})
    assert await told(Heart(world, ["delegate"], "builders"), fast(world, version), version) == "ok"
    world.revise(world.account_document, world.root, administrators=people[:1])
    assert await told(Heart(world, ["delegate"], "builders"), fast(world, version), version) == "group_stale"
    world.revise(first)
    assert await told(Heart(world, ["delegate"], "builders"), fast(world, version), version) == "ok"


async def test_a_delegate_that_claims_a_group_speaks_for_itself_alone() -> None:
    """Who holds the keyring could as well certify himself the tags: a claim gives him no more, and others nothing."""
    world, version = staged()
    world.publish(group(world, FAST))
    groups = world.book().groups
    claims = world.certificate(key=world.identity("claimer").key, name="claimer", tags=("claimer",), group="builders")
    assert tags_of(claims.document, groups) == {"claimer", "builders", FAST}
    assert tags_of(world.certificate().document, groups) == {"delegate"}
    assert await told(Heart(world, ["delegate"]), fast(world, version), version) == "selectors_missing"


def test_a_delegate_says_that_its_group_is_unknown_instead_of_taking_tasks() -> None:
    world = World()
    world.revise_status(groups={"builders": 1})
    book = world.book()
    trust = Trust(book, Zone(world.keyring, book), WorldClock(world), "builders")
    problem = trust.problem()
    assert isinstance(problem, NotReady) and problem.code == "group_stale"
    book.admit(world.sign(group(world, FAST), world.administrator).compact, world.now)
    assert trust.problem() is None and trust.owned(["a"]) == {"a", "builders", FAST}
