"""AWS Secrets Manager when AWS fails, refuses, is slow or answers nonsense, and how many calls it takes when it doesn't."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from shared.crypto.plaintext import Plaintext
from shared.errors import (
    Conflict,
    Denied,
    Expired,
    Malformed,
    NotFound,
    NotReady,
    Overloaded,
    PrivySealError,
    Unavailable,
)
from tests.fakes.aws import Asked, Aws, answer, refuse, stall
from tests.fakes.aws_secrets import Stage, staged
from tests.fakes.aws_store import KEY_ID
from tests.fakes.faulty_aws import FaultyAws
from tests.fakes.versions import whole
from tests.servers.emulators import Moto


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Moto() as moto:
        yield moto.url


@pytest_asyncio.fixture
async def stage(url: str) -> AsyncIterator[Stage]:
    async with staged(url) as made:
        yield made


both_ways = pytest.mark.parametrize("put", [False, True], ids=["UpdateSecret", "PutSecretValue"])


@pytest_asyncio.fixture
async def faulty(stage: Stage) -> AsyncIterator[FaultyAws]:
    async with FaultyAws(stage.url) as aws:
        stage.url = aws.url
        yield aws


@both_ways
async def test_a_first_version_costs_one_call_and_a_later_one_two(stage: Stage, faulty: FaultyAws, put: bool) -> None:
    manager = stage.manager(usePutSecret=put)
    first = stage.version()
    stored = await manager.store(first, Plaintext(b"x"))
    await manager.store(stage.version(n=2), Plaintext(b"y"))
    await manager.fetch(first, stored)
    verb = "PutSecretValue" if put else "UpdateSecret"
    assert faulty.operations() == ["CreateSecret", "DescribeSecret", verb, "GetSecretValue"]


async def test_an_answer_that_is_lost_is_asked_for_again_without_a_second_version(
    stage: Stage, faulty: FaultyAws
) -> None:
    async def lost(asked: Asked) -> Any:
        await stage.console.client.create_secret(**asked.parameters)
        return await refuse("InternalServiceError", 500)(asked)

    faulty.faults["CreateSecret"].append(lost)
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    assert (await manager.fetch(secret, stored)).reveal() == b"x"
    assert list((await stage.console.described("acme.db"))["VersionIdsToStages"]) == [secret.aad.version]


@both_ways
async def test_a_version_that_aws_calls_existing_is_compared_with_what_was_to_be_written(
    stage: Stage, faulty: FaultyAws, put: bool
) -> None:
    manager, secret, verb = (
        stage.manager(usePutSecret=put),
        stage.version(n=2),
        "PutSecretValue" if put else "UpdateSecret",
    )
    await manager.store(stage.version(), Plaintext(b"old"))
    stored = await manager.store(secret, Plaintext(b"new"))
    faulty.faults[verb].extend([refuse("ResourceExistsException")] * 2)
    assert await manager.store(secret, Plaintext(b"new")) == stored
    with pytest.raises(Conflict) as caught:
        await manager.store(secret, Plaintext(b"another"))
    assert caught.value.code == "version_exists"


@pytest.mark.parametrize("refused", ["TagResource", "UpdateSecret"])
async def test_what_was_restored_in_vain_goes_back_to_where_it_was(
    stage: Stage, faulty: FaultyAws, refused: str
) -> None:
    manager, old = stage.manager(recoveryWindowInDays=8), stage.version()
    await manager.store(old, Plaintext(b"old"))
    await manager.delete(whole(old), None)
    faulty.faults[refused].append(refuse("AccessDeniedException"))
    with pytest.raises(Denied) as caught:
        await manager.store(stage.version(id="b" * 26), Plaintext(b"new"))
    assert caught.value.facts["action"] == f"secretsmanager:{refused}"
    assert "DeletedDate" in await stage.console.described("acme.db")
    deletion = [one for one in faulty.asked if one.operation == "DeleteSecret"][-1]
    assert deletion.parameters["RecoveryWindowInDays"] == 8


async def test_what_was_restored_goes_back_when_the_task_is_called_off(stage: Stage, faulty: FaultyAws) -> None:
    manager, old, reached = stage.manager(), stage.version(), asyncio.Event()
    await manager.store(old, Plaintext(b"old"))
    await manager.delete(whole(old), None)

    async def called_off(asked: Asked) -> Any:
        reached.set()
        return await stall(asyncio.Event())(asked)

    faulty.faults["UpdateSecret"].append(called_off)
    storing = asyncio.create_task(manager.store(stage.version(id="b" * 26), Plaintext(b"new")))
    await reached.wait()
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert "DeletedDate" in await stage.console.described("acme.db")


async def test_a_name_that_changes_hands_between_the_look_at_its_tags_and_its_value_is_not_read(
    stage: Stage, faulty: FaultyAws
) -> None:
    await stage.console.create("shared", "theirs")
    manager, path = stage.manager(), f"{stage.console.prefix}/shared"

    async def made_anew(asked: Asked) -> Any:
        told = {"ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{path}-AbCdEf", "Name": path}
        return await answer(json.dumps({**told, "VersionId": "v" * 32, "SecretString": "hunter2"}).encode())(asked)

    faulty.faults["GetSecretValue"].append(made_anew)
    with pytest.raises(Conflict) as caught:
        await manager.store(stage.version("referred", reference=path), Plaintext(b""))
    assert caught.value.code == "secret_changing" and "hunter2" not in repr(caught.value.problem())
    await manager.store(stage.version("referred", reference=path), Plaintext(b""))


async def test_where_it_can_not_go_back_the_first_error_is_told(stage: Stage, faulty: FaultyAws) -> None:
    manager, old = stage.manager(forceDeleteWithoutRecovery=True), stage.version()
    await stage.manager().store(old, Plaintext(b"old"))
    await stage.manager().delete(whole(old), None)
    faulty.faults["UpdateSecret"].append(refuse("LimitExceededException"))
    faulty.faults["DeleteSecret"].append(refuse("AccessDeniedException"))
    with pytest.raises(NotReady) as caught:
        await manager.store(stage.version(n=2), Plaintext(b"new"))
    assert caught.value.code == "aws_quota"


REFUSALS: dict[str, tuple[type[PrivySealError], str, int]] = {
    "AccessDeniedException": (Denied, "aws_denied", 1),
    "ResourceNotFoundException": (NotFound, "secret_not_found", 1),
    "InvalidRequestException": (NotReady, "secret_unusable", 1),
    "InvalidParameterException": (Malformed, "aws_invalid", 1),
    "DecryptionFailure": (NotReady, "key_unusable", 1),
    "EncryptionFailure": (NotReady, "key_unusable", 1),
    "PreconditionNotMetException": (Conflict, "secret_changing", 1),
    "LimitExceededException": (NotReady, "aws_quota", 1),
    "InternalServiceError": (Unavailable, "aws_unavailable", 3),
    "ThrottlingException": (Overloaded, "aws_throttled", 3),
    "ExpiredTokenException": (Expired, "aws_credentials_expired", 1),
    "UnrecognizedClientException": (Denied, "aws_credentials_refused", 1),
    "SomethingNewException": (Denied, "aws_refused", 1),
}


@pytest.mark.parametrize("code", list(REFUSALS))
async def test_each_refusal_of_aws_has_one_of_our_errors(stage: Stage, faulty: FaultyAws, code: str) -> None:
    error, ours, tries = REFUSALS[code]
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    faulty.faults["GetSecretValue"].extend([refuse(code, message="hunter2")] * tries)
    with pytest.raises(error) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == ours and "secretsmanager:GetSecretValue" in str(caught.value.problem())
    assert "hunter2" not in str(caught.value.problem()) and caught.value.hint
    assert faulty.operations().count("GetSecretValue") == tries


@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue"])
async def test_a_check_names_the_permission_that_is_missing(stage: Stage, faulty: FaultyAws, operation: str) -> None:
    faulty.faults[operation].append(refuse("AccessDeniedException"))
    with pytest.raises(Denied) as caught:
        await stage.manager().check()
    assert f"secretsmanager:{operation}" in caught.value.detail
    assert f"{stage.console.prefix}/privyseal-check" in caught.value.detail


async def test_a_secret_with_replicas_is_not_deleted_and_says_why(stage: Stage, faulty: FaultyAws) -> None:
    manager, secret = stage.manager(), stage.version()
    await manager.store(secret, Plaintext(b"x"))
    faulty.faults["DeleteSecret"].append(refuse("InvalidRequestException"))
    with pytest.raises(Conflict) as caught:
        await manager.delete(whole(secret), None)
    assert caught.value.code == "secret_undeletable" and "replicas" in caught.value.detail


async def test_a_slow_answer_is_given_up_in_its_time(stage: Stage, faulty: FaultyAws) -> None:
    manager, secret = stage.manager(seconds=1.5), stage.version()
    stored = await stage.manager().store(secret, Plaintext(b"x"))
    never = asyncio.Event()
    faulty.faults["GetSecretValue"].extend([stall(never)] * 3)
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "aws_slow"
    assert (await manager.fetch(secret, stored)).reveal() == b"x"


@pytest.mark.parametrize(
    "body", [b"{}", b'{"VersionId": "other", "SecretString": "x"}', b'{"SecretString": "x"}', b"<html>"]
)
async def test_an_answer_of_something_else_than_aws_is_not_believed(
    stage: Stage, faulty: FaultyAws, body: bytes
) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    faulty.faults["GetSecretValue"].extend([answer(body)] * 3)
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "aws_garbled"


async def test_two_who_create_one_name_at_once_both_see_whose_it_is(stage: Stage, faulty: FaultyAws) -> None:
    async def overtaken(asked: Asked) -> Any:
        await stage.console.create("acme.db", "theirs")
        return await refuse("ResourceNotFoundException")(asked)

    faulty.faults["DescribeSecret"].append(overtaken)
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(n=2), Plaintext(b"x"))
    assert caught.value.code == "origin_foreign"
    assert await stage.console.value("acme.db") == "theirs"


# ---- credentials


@pytest.mark.parametrize(
    ("credential", "signer"),
    [
        (
            {"type": "ManualConfig", "spec": {"accessKey": "account.awsAccess", "secretKey": "account.awsSecret"}},
            KEY_ID,
        ),
        ({"type": "AssumeIAMRole", "spec": {"delegateSelectors": ["d1"]}}, "AKIADELEGATEDELEGATE"),
    ],
    ids=["by reference", "the delegate's own"],
)
async def test_requests_are_signed_as_the_credential_says(
    stage: Stage, faulty: FaultyAws, monkeypatch: pytest.MonkeyPatch, credential: Any, signer: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIADELEGATEDELEGATE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d" * 40)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    await stage.manager(credential=credential).check()
    assert {f"Credential={signer}/" in one.headers["Authorization"] for one in faulty.asked} == {True}


async def test_a_role_is_assumed_with_its_external_id_before_anything_is_asked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIADELEGATEDELEGATE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d" * 40)
    role = {"roleArn": "arn:aws:iam::123456789012:role/sm", "externalId": "ext", "delegateSelectors": ["d1"]}
    async with Aws() as sts:
        manager = stage.manager(
            credential={"type": "AssumeSTSRole", "spec": role}, urls={"sts": sts.url, "secretsmanager": stage.url}
        )
        await manager.check()
    (asked,) = sts.asked
    assert (asked.operation, asked.access_key) == ("AssumeRole", "AKIADELEGATEDELEGATE")
    assert (asked.parameters["RoleArn"], asked.parameters["ExternalId"]) == (role["roleArn"], "ext")
