"""Adversary against conditions: stripped and changed by a manager, set aside by a task, told by other texts, shouting and look-alikes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from client.choice import TASK_ORIGINS
from shared.canonical import b64u, digest, encode
from shared.condition import DEEPEST, LONGEST, MOST_TAGS
from shared.documents.answer import AnswerDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, parse_as
from shared.documents.task import TaskDocument, WantedSelector
from shared.errors import Conflict, Denied, Malformed, PrivySealError, Tampered
from tests.adversary.judging import ORG, held, judge, stage
from tests.fakes.heart import Heart
from tests.fakes.refusal import refused
from tests.fakes.world import Version, World, pins_of
from tests.vectors.actors import edited
from tests.vectors.conditions import ANOTHER_TEXT, MALFORMED

EU, NOT_TEST = "region=eu", "not tier=test"
PLAIN, IN_EU, TEST = ["delegate"], ["delegate", "region=eu"], ["delegate", "region=eu", "tier=test"]


def changed(signed: Verified[Any], **changes: Any) -> str:
    """The document with other claims under its old signature."""
    header, _, signature = signed.compact.split(".")
    return f"{header}.{b64u(encode(structs.replace(signed.document, **changes)))}.{signature}"


async def told(world: World, tags: list[str], task: Verified[TaskDocument], *versions: Version) -> str:
    """What a delegate with those tags comes to, whatever the manager thinks of it."""
    return await Heart(world, tags).told(task, stored=[one.record.raw for one in versions])


# ---- the delegate judges


async def test_a_delegate_that_does_not_meet_the_tasks_condition_refuses() -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, where=f"{EU} and {NOT_TEST}")
    assert await told(world, IN_EU, task, version) == "ok"
    for tags in (PLAIN, TEST, [*PLAIN, "tier=test"], [*PLAIN, "region=europe"], [*PLAIN, "region"]):
        assert await told(world, tags, task, version) == "condition_unmet"


async def test_a_delegate_that_does_not_meet_the_connectors_condition_refuses_every_operation() -> None:
    world = World()
    local = world.connector = world.revise(world.connector, where=EU)
    version = held(world, local)
    later = world.store(version.secret, b"new", None, version)
    for tags, expect in ((PLAIN, "condition_unmet"), (IN_EU, "ok")):
        heart = Heart(world, tags)
        assert await heart.told(world.reveal([version]), stored=[version.record.raw]) == expect
        assert await heart.told(world.check(local)) == expect
        assert await heart.told(later.task, inputs=[later.input.raw]) == expect
        assert await heart.told(world.delete(version.secret, version), stored=[version.record.raw]) == expect


async def test_the_refusal_says_which_condition_and_changes_nothing() -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, where=EU)
    (item,) = await Heart(world, TEST[:1]).items(task, stored=[version.record.raw])
    assert isinstance(item, PrivySealError)
    assert (type(item), item.code, item.facts["condition"]) == (Denied, "condition_unmet", EU)
    assert EU in item.detail


async def test_what_may_happen_once_is_not_begun_by_who_does_not_meet_the_condition() -> None:
    world, _, version = stage()
    task = world.delete(version.secret, version, where=EU)
    heart = Heart(world, PLAIN)
    for _ in range(2):
        # Not `task_repeated`: it never began.
        assert await heart.told(task, stored=[version.record.raw]) == "condition_unmet"


async def test_one_condition_of_many_is_enough_to_refuse() -> None:
    world = World()
    world.connector = world.revise(world.connector, where=EU)
    version = held(world, world.connector)
    strict = world.publish(world.connector_document("strict", where=NOT_TEST))
    other = held(world, strict, "other")
    assert await told(world, IN_EU, world.reveal([version, other]), version, other) == "ok"
    for tags in (PLAIN, TEST):
        assert await told(world, tags, world.reveal([version, other]), version, other) == "condition_unmet"
    # Those that exclude each other are for nobody.
    nobody = world.reveal([other], where="tier=test")
    assert {await told(world, tags, nobody, other) for tags in (PLAIN, IN_EU, TEST)} == {"condition_unmet"}


async def test_the_answer_to_a_condition_unmet_is_sealed_and_signed() -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, where=EU)
    result = await Heart(world, PLAIN).result(task.compact, stored=[version.record.raw])
    answer = parse_as(AnswerDocument, result.answer).verified_by(world.delegate.public).document
    assert (answer.code, answer.task) == ("denied", task.digest)
    assert EU.encode() not in result.sealed and EU not in result.answer


# ---- a manager strips and changes


@pytest.mark.parametrize("where", ["", "region=us", f"{EU} or delegate", "delegate"])
async def test_a_manager_that_strips_or_changes_a_tasks_condition_breaks_its_signature(where: str) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, where=EU)
    other = changed(task, where=where)
    with refused(Tampered, "signature_invalid"):
        world.book().verify(parse_as(TaskDocument, other))
    result = await Heart(world, PLAIN).result(other, stored=[version.record.raw])
    answer = parse_as(AnswerDocument, result.answer).document
    assert (answer.code, result.sealed, answer.task) == ("tampered", b"", digest(other))


@pytest.mark.parametrize("where", ["", "region=us", "delegate"])
def test_a_manager_that_strips_or_changes_a_connectors_condition_breaks_its_signature(where: str) -> None:
    world = World()
    kms = world.connector_with("kms", [], where=EU)
    with refused(Tampered, "signature_invalid"):
        world.book().admit(changed(kms, where=where), world.now)
    with refused(Tampered, "signature_invalid"):
        parse_as(ConnectorDocument, changed(kms, where=where)).verified_by(world.administrator.public)


def test_a_manager_goes_back_to_the_revision_without_a_condition() -> None:
    world = World()
    kms = world.connector_with("kms", [])
    version = held(world, kms)
    stale = world.reveal([version])
    strict = world.revise(kms, where=EU)
    with refused(Conflict, "pin_stale"):
        judge(world, stale)
    with refused(Conflict, "pin_stale"):
        judge(world, world.reveal([version], pins=(*pins_of([kms]), *stale.document.pins)))
    (use,) = judge(world, world.reveal([version])).uses
    assert use.connector == strict
    with refused(Conflict, "revision_stale"):
        world.book().admit(world.sign(structs.replace(kms.document, name="x"), world.administrator).compact, world.now)


def test_who_may_use_a_connector_does_not_change_its_condition() -> None:
    world = World()
    user = world.identity("user")
    world.grant(user, ["use", "reveal", "view", "exec"], ORG)
    kms = world.connector_with("kms", [], ORG, where=EU)
    with refused(Denied, "grant_missing"):
        world.book().admit(world.next(kms, user, where="").compact, world.now)


# ---- a task sets aside


@pytest.mark.parametrize("origin", TASK_ORIGINS)
async def test_a_tasks_selectors_set_the_connectors_aside_and_not_its_condition(origin: Any) -> None:
    world = World()
    world.connector = world.revise(world.connector, selectors=("linux",), where=EU)
    version = held(world, world.connector)
    wanted = (WantedSelector("delegate", origin),)
    assert await told(world, PLAIN, world.reveal([version], selectors=wanted), version) == "condition_unmet"
    assert await told(world, IN_EU, world.reveal([version], selectors=wanted), version) == "ok"
    assert await told(world, IN_EU, world.reveal([version]), version) == "selectors_missing"
    # Nor does a wider condition of the task's own.
    wide = world.reveal([version], selectors=wanted, where=f"{EU} or not {EU}")
    assert await told(world, PLAIN, wide, version) == "condition_unmet"


def test_a_lower_origin_adds_nothing_to_a_higher_one() -> None:
    world, reader, version = stage()
    for at, origin in enumerate(TASK_ORIGINS):
        below = tuple(WantedSelector(f"below-{one.lower()}", one) for one in TASK_ORIGINS[at + 1 :])
        task = world.reveal([version], reader, selectors=(*below, WantedSelector("this", origin)))
        assert judge(world, task).selectors == {"this"}


@pytest.mark.parametrize("origin", ["connector", "Step", "", "step "])
def test_a_task_speaks_for_no_connector(origin: str) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader)
    with pytest.raises(Malformed):
        parse_as(TaskDocument, edited(reader, task.document, lambda said: said.update(selectors=[["eu", origin]])))


async def test_a_condition_is_not_lost_behind_a_credential() -> None:
    world = World()
    holder = world.connector_with("holder", [], where=NOT_TEST)
    world.store(world.secret("key", connector=holder.document.id), b"AKIA")
    kms = world.connector_with("kms", ["account.key"], where=EU)
    version = held(world, kms)
    granted = judge(world, world.reveal([version]))
    assert [str(one) for one in granted.conditions] == [NOT_TEST, EU]
    # Named twice, by a target and as a credential's holder, it is still one.
    both = judge(world, world.reveal([version, held(world, holder, "other")]))
    assert both.conditions == granted.conditions


# ---- other texts


WRONG = {**ANOTHER_TEXT, **{name: text for name, text in MALFORMED.items() if text}}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_granted_signer_writes_another_text(text: str) -> None:
    """An older or careless client: what is not the one text of a condition is no document, before anybody looks at it."""
    world, reader, version = stage()
    task = world.reveal([version], reader)
    with pytest.raises(Malformed):
        parse_as(TaskDocument, edited(reader, task.document, lambda said: said.update(where=text)))
    connector = world.connector_document("kms")
    with pytest.raises(Malformed):
        world.book().admit(edited(world.administrator, connector, lambda said: said.update(where=text)), world.now)


SHOUTS = {
    "as long as may be": " or ".join(["x" * 60] * 16)[:LONGEST],
    "with brackets to the last": "not (" * (DEEPEST // 2) + "a and b" + ")" * (DEEPEST // 2),
    "a million characters": "a" * 1_000_000,
    "a hundred thousand brackets": "(" * 100_000,
    "brackets within the length": "(" * LONGEST,
    "not within the length": "not " * (LONGEST // 4),
    "too many tags within the length": " or ".join(["a"] * (MOST_TAGS + 1)),
    "spaces": " " * 1_000_000,
}


@pytest.mark.parametrize("text", SHOUTS.values(), ids=SHOUTS)
def test_deep_and_long_conditions_cost_nothing_and_end_nothing(text: str) -> None:
    world, reader, version = stage()
    compact = edited(reader, world.reveal([version], reader).document, lambda said: said.update(where=text))
    try:
        parse_as(TaskDocument, compact)
    except Malformed:
        return
    assert len(text) <= LONGEST


def test_as_many_conditions_as_a_task_has_connectors_are_judged() -> None:
    world = World()
    # The worst that signers can do: all of them different, long and deep.
    text = " and ".join(f"not (t{at:02} and (u{at:02} or v))" for at in range(21))
    assert len(text) <= LONGEST
    made = [world.connector_with(f"kms{at}", [], where=f"{text} and k{at}") for at in range(40)]
    versions = [held(world, one, f"s{at}") for at, one in enumerate(made)]
    granted = judge(world, world.reveal(versions))
    assert len(granted.conditions) == 40
    assert all(one.holds([f"k{at}" for at in range(40)]) for one in granted.conditions)
    assert not all(one.holds([f"k{at}" for at in range(39)]) for one in granted.conditions)


@pytest.mark.parametrize(
    "look",
    [
        "r\u0435gion=eu",
        "region\uff1deu",
        "region=\u0435u",
        "reg\u0131on=eu",
        "region=eu\u200b",
        "region=eu\u00a0",
        "\u212a",
    ],
    ids=ascii,
)
def test_a_look_alike_is_no_tag(look: str) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader)
    for text in (look, f"not {look}", f"a or {look}"):
        with pytest.raises(Malformed):
            parse_as(TaskDocument, edited(reader, task.document, lambda said, text=text: said.update(where=text)))  # type: ignore[misc]
        with pytest.raises(Malformed):
            parse_as(TaskDocument, edited(reader, task.document, lambda said: said.update(selectors=[[look, "step"]])))


def test_a_delegate_is_certified_with_no_look_alike() -> None:
    world = World()
    certifying = world.keyring.newest.certifying
    for members in (
        {"tags": ["region=\u0435u"]},
        {"tags": ["Region=eu"]},
        {"scopes": ["org/\u0430cme"]},
        {"name": "d\u0435"},
    ):
        compact = edited(certifying, world.certificate().document, lambda said, members=members: said.update(members))  # type: ignore[misc]
        with pytest.raises(Malformed):
            parse_as(type(world.certificate().document), compact)


@pytest.mark.parametrize("name", ["and", "or", "not"])
async def test_a_delegate_whose_tag_is_a_word_of_the_grammar_is_just_not_named(name: str) -> None:
    world, reader, version = stage()
    task = world.reveal([version], reader, where=EU)
    assert await told(world, [*PLAIN, name], task, version) == "condition_unmet"
    with pytest.raises(Malformed):
        parse_as(TaskDocument, edited(reader, task.document, lambda said: said.update(where=name)))
