"""Connectors to AWS in the attacker's hands: redirected, led to other credentials, handed other records of them, misrouted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import Conflict, Denied, NotFound, PrivySealError, Tampered, Unauthenticated
from shared.messages import Result, Task
from tests.adversary.aws_stage import (
    NAMED,
    OTHER_VALUE,
    VALUE,
    Case,
    acting_on,
    change_tasks,
    new_key,
    refused,
    role,
    show,
    spec,
)
from tests.adversary.evil_manager import code_of
from tests.fakes.kms import ACCESS_KEY, ROLE, SECRET_KEY


async def test_a_value_in_kms_is_stored_and_revealed_over_the_real_protocol(case: Case) -> None:
    assert await case.client.reveal("account.token") == Plaintext(VALUE)
    assert case.aws.operations() == ["GenerateDataKey", "Decrypt"]
    assert {asked.access_key for asked in case.aws.asked} == {ACCESS_KEY}
    assert case.aws.said("KeyId") == {case.arn}


# ---- a connector redirected


REDIRECTED: dict[str, Callable[[Case], dict[str, Any]]] = {
    "key": lambda case: spec(new_key(case.moto)),
    "role": lambda case: spec(case.arn, role(ROLE)),
    "region": lambda case: spec("arn:aws:kms:eu-west-1:123456789012:key/1", region="eu-west-1"),
}


async def redirected(case: Case, what: str, signer: str, **changes: Any) -> Verified[ConnectorDocument]:
    """The next revision of `kms`, signed by somebody who may not edit it."""
    stage = case.stage
    by = stage.mallory
    if signer == "reader":
        by = stage.world.identity("reader")
        stage.world.grant(by, ["reveal", "use"])
        await stage.publish()
    told = REDIRECTED[what](case)
    named = NAMED if told["credential"]["type"] == "ManualConfig" else ()
    return stage.world.next(case.kms, by, **{"spec": told, "secrets": named, **changes})


@pytest.mark.parametrize("signer", ["manager", "reader"])
@pytest.mark.parametrize("what", REDIRECTED)
async def test_a_connector_that_is_redirected_by_who_may_not_edit_it_is_taken_by_nobody(
    case: Case, what: str, signer: str
) -> None:
    forged = await redirected(case, what, signer)
    task = await case.given()
    before = len(case.aws.asked)
    # A client that has seen nothing yet, and one that knows better: neither seals anything for it.
    show(case, forged.compact)
    for client in (case.stage.client(), case.client):
        try:
            await client.store("account.token", OTHER_VALUE)
        except PrivySealError as why:
            assert isinstance(why, Denied | NotFound | Tampered | Unauthenticated), why
    case.stage.evil.behave()
    # A delegate that is told of it, and given a task that acts on it.
    refusal = await acting_on(case, task, forged)
    assert refusal in {("denied", "grant_missing"), ("unauthenticated", "signer_unknown")}
    # Whatever was asked of AWS since, nothing was asked that the forged document says.
    assert len(case.aws.asked) > before
    assert set(case.aws.operations()) == {"GenerateDataKey", "Decrypt"}
    assert case.aws.said("KeyId") == {case.arn}
    assert {asked.access_key for asked in case.aws.asked} == {ACCESS_KEY}


async def test_a_connector_of_a_low_scope_with_the_id_of_another_is_taken_by_nobody(case: Case) -> None:
    world = case.stage.world
    editor = world.identity("editor")
    world.grant(editor, ["edit", "use"], "org/acme")
    await case.stage.publish()
    document = world.connector_document("kms", "org/acme", type="AwsKms", spec=spec(new_key(case.moto), role(ROLE)))
    forged = world.sign(structs.replace(document, id=case.kms.document.id), editor)
    task = await case.given()
    show(case, forged.compact)
    why = await refused(case.stage.client().store("account.token", OTHER_VALUE))
    assert isinstance(why, Denied | NotFound | Tampered)
    case.stage.evil.behave()
    code, _ = await acting_on(case, task, forged)
    assert code == "conflict"
    assert case.aws.said("KeyId") == {case.arn}
    assert "AssumeRole" not in case.aws.operations()


async def test_an_older_revision_of_a_connector_sends_no_new_value_to_its_old_key(case: Case) -> None:
    task, old = await case.given(), case.kms
    fresh = case.stage.client()
    newer = {**spec(new_key(case.moto)), "previousKmsArns": [case.arn]}
    case.stage.world.revise(old, spec=newer)
    await case.stage.publish()
    await case.client.store("account.token", b"under the new key")
    before = len(case.aws.asked)
    # A task that was signed before and comes only now, and a client that has seen nothing.
    assert await acting_on(case, task, old) == ("conflict", "pin_stale")
    show(case, old.compact)
    with contextlib.suppress(Conflict, NotFound, Tampered):  # or it has learnt better by then
        await fresh.store("account.token", OTHER_VALUE)
    # One that has seen the newer one doesn't go back, whatever it is shown.
    await case.client.store("account.token", OTHER_VALUE)
    assert {asked.parameters["KeyId"] for asked in case.aws.asked[before:]} == {newer["kmsArnInPlainText"]}


# ---- the credentials of a connector


async def test_an_editor_without_use_leads_no_connector_to_other_credentials(case: Case) -> None:
    world = case.stage.world
    editor = world.identity("editor")
    world.grant(editor, ["edit"])
    for name in ("other_id", "other_key"):
        world.secret(name)
    await case.stage.publish()
    await case.client.store("account.other_id", b"AKIAOTHEROTHEROTHERX")
    await case.client.store("account.other_key", SECRET_KEY.encode())
    before = len(case.aws.asked)
    other = {"type": "ManualConfig", "spec": {"accessKey": "account.other_id", "secretKey": "account.other_key"}}
    world.revise(case.kms, editor, spec=spec(case.arn, other), secrets=("account.other_id", "account.other_key"))
    # The document itself is in order, and everybody takes it; what he may not do is have those secrets used.
    await case.stage.publish()
    for client in (case.client, case.stage.client()):
        why = await refused(client.reveal("account.token"))
        assert (type(why), why.code) == (Denied, "grant_missing")
    assert len(case.aws.asked) == before


Change = Callable[["Case", Task], tuple[bytes, ...]]

CHANGED: dict[str, tuple[Change, set[str]]] = {
    "swapped": (lambda _, task: task.credentials[::-1], {"record_forged"}),
    "dropped": (lambda _, task: (), {"task_malformed"}),
    "one dropped": (lambda _, task: task.credentials[:1], {"task_malformed"}),
    "emptied": (lambda _, task: (b"",) * len(task.credentials), {"version_missing"}),
    "another secret's": (lambda _, task: task.stored * len(task.credentials), {"record_forged", "key_unlisted"}),
    "the manager's own": (lambda _, task: tuple(bytes(len(one)) for one in task.credentials), {"record_forged"}),
    "one more": (lambda _, task: (*task.credentials, task.credentials[0]), {"task_malformed"}),
}


@pytest.mark.parametrize("how", CHANGED)
async def test_changed_records_of_credentials_reach_no_connector(case: Case, how: str) -> None:
    change, codes = CHANGED[how]
    for fresh in (False, True):
        if fresh:
            # One that hasn't made its connector's manager yet, and needs what it is handed.
            await case.connect("beta")
        before = len(case.aws.asked)
        change_tasks(case, lambda task, _: replace(task, credentials=change(case, task)))
        try:
            # What was obtained before still holds: the changed records are not even looked at.
            assert await case.client.reveal("account.token") == Plaintext(VALUE) and not fresh
        except PrivySealError as why:
            assert why.code in codes, why
            assert len(case.aws.asked) == before
        case.stage.evil.behave()
        assert await case.client.reveal("account.token") == Plaintext(VALUE)
    assert {asked.access_key for asked in case.aws.asked} == {ACCESS_KEY}


async def test_an_old_version_of_a_credential_is_not_taken_for_the_newest(case: Case) -> None:
    old = (await case.given()).credentials
    await case.client.store(NAMED[0], b"AKIANEWERNEWERNEWERX")
    change_tasks(case, lambda task, _: replace(task, credentials=old))
    why = await refused(case.client.reveal("account.token"))
    assert (type(why), why.code) == (Tampered, "record_forged")
    case.stage.evil.behave()
    assert await case.client.reveal("account.token") == Plaintext(VALUE)
    assert [asked.access_key for asked in case.aws.asked][-1] == "AKIANEWERNEWERNEWERX"


# ---- a delegate without the connector's selectors


async def test_a_delegate_answers_for_no_connector_whose_selectors_it_lacks(case: Case) -> None:
    """The manager says that it has them; then its own code forgets to look, too."""
    case.stage.world.revise(case.kms, selectors=("gpu",))
    await case.stage.publish()
    case.stage.lie(["gpu"])
    before = len(case.aws.asked)
    for forgetful in (False, True):
        if forgetful:
            case.alpha.daemon.runner._tasks._tags |= {"gpu"}
        why = await refused(case.client.reveal("account.token"))
        # The client believes the certificate, and takes not even a refusal from who isn't asked.
        assert (type(why), why.code) == (Tampered, "answer_forged")
        assert "selectors" in why.detail
        answers = [code_of(one) for one in case.stage.evil.tap("alpha").heard if isinstance(one, Result)]
        assert answers[-1] == ("ok" if forgetful else "denied")
        assert (len(case.aws.asked) > before) == forgetful
