"""Records under AWS KMS in the attacker's hands: through another connector, in another context, with keys exchanged on the way."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.crypto.plaintext import Plaintext
from shared.errors import Tampered, Unavailable
from tests.adversary.aws_stage import (
    OTHER_VALUE,
    VALUE,
    Case,
    change_tasks,
    refused,
    second,
    task_of,
)
from tests.fakes.world import pins_of

# ---- a record of one connector, opened through another


async def test_a_record_of_one_connector_does_not_open_through_another_of_the_same_key(case: Case) -> None:
    await second(case)
    mine, theirs = await case.given(), await case.given("account.theirs")
    before = case.asked_for("Decrypt")
    for reference, other in (("account.token", theirs), ("account.theirs", mine)):
        change_tasks(case, lambda task, _, other=other: replace(task, stored=other.stored))  # type: ignore[misc]
        why = await refused(case.client.reveal(reference))
        assert (type(why), why.code) == (Tampered, "record_forged")
        case.stage.evil.behave()
    # Neither was asked of KMS, which would have opened it for who asks as the other.
    assert case.asked_for("Decrypt") == before


async def test_a_secret_that_is_moved_to_another_connector_takes_no_record_along(case: Case) -> None:
    twin = await second(case)
    task = await case.given()
    before = case.asked_for("Decrypt")
    moved = case.stage.world.next(case.token, connector=twin.document.id)
    await case.stage.teach("alpha", [*case.stage.world.documents, moved.compact])
    (pin, at) = pins_of([moved, twin])
    document = task_of(task)
    kept = [one for one in document.pins if one.id not in {pin.id, case.kms.document.id, at.id}]
    signed = case.stage.world.task("reveal", document.targets, credentials=document.credentials, pins=(*kept, pin, at))
    refusal = await case.stage.refusal("alpha", signed, stored=task.stored, credentials=task.credentials)
    assert refusal == ("conflict", "field_immutable")
    assert case.asked_for("Decrypt") == before


async def test_what_is_kept_for_one_connector_is_served_to_no_other_and_to_no_later_revision(case: Case) -> None:
    await second(case)
    for _ in range(3):
        assert await case.client.reveal("account.token") == Plaintext(VALUE)
    assert case.asked_for("Decrypt") == 1
    for _ in range(3):
        assert await case.client.reveal("account.theirs") == Plaintext(OTHER_VALUE)
    assert case.asked_for("Decrypt") == 2
    # The key is kept; the record that it belongs to still is of its own place alone.
    mine = await case.given()
    change_tasks(case, lambda task, _: replace(task, stored=mine.stored))
    assert (await refused(case.client.reveal("account.theirs"))).code == "record_forged"
    case.stage.evil.behave()
    # Whoever may decide where a connector leads asks KMS as what it says now.
    case.stage.world.revise(case.kms, name="renamed")
    await case.stage.publish()
    assert await case.client.reveal("account.token") == Plaintext(VALUE)
    assert case.asked_for("Decrypt") == 3


# ---- whoever stands between the delegate and KMS


async def test_a_context_that_is_stripped_on_the_way_is_noticed_as_soon_as_it_is_not(case: Case) -> None:
    case.aws.on_request("GenerateDataKey", lambda asked: {**asked, "EncryptionContext": {}})
    await case.client.store("account.token", OTHER_VALUE)
    why = await refused(case.client.reveal("account.token"))
    assert (type(why), why.code) == (Tampered, "decryption_failed")
    assert await case.client.reveal("account.token", version=1) == Plaintext(VALUE)


async def test_with_the_context_stripped_both_ways_a_record_still_opens_at_its_place_alone(case: Case) -> None:
    """KMS's own binding is then gone; ours doesn't stand on it."""
    for operation in ("GenerateDataKey", "Decrypt"):
        case.aws.on_request(operation, lambda asked: {**asked, "EncryptionContext": {}})
    await second(case)
    await case.client.store("account.token", b"a second version")
    mine = await case.given()
    before = case.asked_for("Decrypt")
    for reference in ("account.theirs", "account.token"):
        change_tasks(
            case, lambda task, document: replace(task, stored=mine.stored) if document.targets[0].n == 1 else task
        )
        why = await refused(case.client.reveal(reference, version=1))
        assert (type(why), why.code) == (Tampered, "record_forged")
        case.stage.evil.behave()
    assert case.asked_for("Decrypt") == before


async def test_the_key_of_another_context_opens_nothing(case: Case) -> None:
    await second(case)
    await case.client.reveal("account.theirs")
    theirs = next(asked.parameters for asked in case.aws.asked if asked.operation == "Decrypt")
    case.aws.on_request("Decrypt", lambda _: theirs)
    why = await refused(case.client.reveal("account.token"))
    assert isinstance(why, Tampered)
    case.aws.behave()
    # Nor is it kept: asked in earnest, KMS gives the right one.
    assert await case.connect("beta")
    assert await case.client.reveal("account.token") == Plaintext(VALUE)


ANSWERS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "another key": lambda asked, told: {**told, "KeyId": asked["KeyId"][:-1] + "x"},
    "an alias": lambda asked, told: {**told, "KeyId": asked["KeyId"].replace(":key/", ":alias/")},
    "no key": lambda _, told: {name: value for name, value in told.items() if name != "KeyId"},
    "half a key": lambda _, told: {**told, "Plaintext": told["Plaintext"][:20] + "=="[: -20 % 4]},
    "nothing": lambda _, told: {},
}


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("operation", ["GenerateDataKey", "Decrypt"])
async def test_an_answer_that_is_not_to_what_kms_was_asked_is_refused(case: Case, operation: str, what: str) -> None:
    case.aws.on_answer(operation, ANSWERS[what])
    act = case.client.reveal("account.token") if operation == "Decrypt" else case.client.store("account.token", b"x")
    why = await refused(act)
    assert (type(why), why.code) == (Unavailable, "aws_garbled")
    case.aws.behave()
    assert await case.client.reveal("account.token") == Plaintext(VALUE)


async def test_a_data_key_that_was_exchanged_on_the_way_opens_nothing(case: Case) -> None:
    exchanged = base64.b64encode(bytes(32)).decode()
    case.aws.on_answer("Decrypt", lambda _, told: {**told, "Plaintext": exchanged})
    assert isinstance(await refused(case.client.reveal("account.token")), Tampered)
