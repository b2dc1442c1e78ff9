"""AWS Parameter Store when AWS fails, refuses, is slow or answers nonsense, and how many calls it takes when it doesn't."""

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
from tests.fakes.aws_parameters import Stage, staged
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


@pytest_asyncio.fixture
async def faulty(stage: Stage) -> AsyncIterator[FaultyAws]:
    async with FaultyAws(stage.url) as aws:
        stage.url = aws.url
        yield aws


async def test_a_first_version_costs_two_calls_a_later_one_four_and_a_use_one(stage: Stage, faulty: FaultyAws) -> None:
    manager, first = stage.manager(), stage.version()
    stored = await manager.store(first, Plaintext(b"x"))
    assert faulty.operations() == ["PutParameter", "LabelParameterVersion"]
    await manager.store(stage.version(n=2), Plaintext(b"y"))
    later = faulty.operations()[2:]
    assert sorted(later[:2]) == ["GetParameter", "ListTagsForResource"]
    assert later[2:] == ["PutParameter", "LabelParameterVersion"]
    await manager.fetch(first, stored)
    assert faulty.operations()[6:] == ["GetParameter"]


async def test_an_answer_that_is_lost_after_the_write_leaves_one_value_and_one_label(
    stage: Stage, faulty: FaultyAws
) -> None:
    async def lost(asked: Asked) -> Any:
        await stage.console.client.put_parameter(**asked.parameters)
        return await refuse("InternalServerError", 500)(asked)

    faulty.faults["PutParameter"].append(lost)
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    assert (await manager.fetch(secret, stored)).reveal() == b"x"
    again = await manager.store(secret, Plaintext(b"x"))
    assert again == stored
    versions = await stage.console.versions("acme.db")
    assert [one["Labels"] for one in versions if one["Labels"]] == [[f"privyseal-{secret.aad.version}"]]
    assert (await stage.console.tags("acme.db"))["privyseal-secret"] == secret.secret.id


@pytest.mark.parametrize("n", [1, 2])
async def test_a_task_that_ends_before_its_label_is_finished_by_doing_it_again(
    stage: Stage, faulty: FaultyAws, n: int
) -> None:
    manager, secret = stage.manager(), stage.version(n=n)
    if n == 2:
        await manager.store(stage.version(), Plaintext(b"old"))
    faulty.faults["LabelParameterVersion"].append(refuse("ParameterVersionLabelLimitExceeded"))
    with pytest.raises(Denied) as caught:
        await manager.store(secret, Plaintext(b"new"))
    assert caught.value.code == "aws_refused"
    stored = await manager.store(secret, Plaintext(b"new"))
    assert (await manager.fetch(secret, stored)).reveal() == b"new"


async def test_a_label_that_aws_does_not_take_is_no_stored_value(stage: Stage, faulty: FaultyAws) -> None:
    faulty.faults["LabelParameterVersion"].append(answer(b'{"InvalidLabels": ["privyseal-x"], "ParameterVersion": 1}'))
    with pytest.raises(Unavailable) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "aws_garbled"


async def test_what_is_deleted_between_the_look_and_the_write_is_made_anew_with_its_tags(
    stage: Stage, faulty: FaultyAws
) -> None:
    manager, second = stage.manager(), stage.version(n=2)
    await manager.store(stage.version(), Plaintext(b"old"))

    async def deleted(asked: Asked) -> Any:
        await stage.console.delete("acme.db")
        made = await stage.console.client.put_parameter(**asked.parameters)
        return await answer(json.dumps({"Version": made["Version"], "Tier": "Standard"}).encode())(asked)

    faulty.faults["PutParameter"].append(deleted)
    stored = await manager.store(second, Plaintext(b"new"))
    assert (await manager.fetch(second, stored)).reveal() == b"new"
    assert (await stage.console.tags("acme.db"))["privyseal-secret"] == second.secret.id


async def test_a_name_that_aws_has_and_does_not_find_is_told(stage: Stage, faulty: FaultyAws) -> None:
    faulty.faults["PutParameter"].extend([refuse("ParameterAlreadyExists")] * 2)
    faulty.faults["ListTagsForResource"].append(refuse("InvalidResourceId"))
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "name_taken" and "half a minute" in caught.value.hint


async def test_two_who_create_one_name_at_once_both_see_whose_it_is(stage: Stage, faulty: FaultyAws) -> None:
    async def overtaken(asked: Asked) -> Any:
        await stage.console.put("acme.db", "theirs")
        return await refuse("InvalidResourceId")(asked)

    faulty.faults["ListTagsForResource"].append(overtaken)
    with pytest.raises(Conflict):
        await stage.manager().store(stage.version(n=2), Plaintext(b"x"))
    with pytest.raises(Conflict) as caught:
        await stage.manager().store(stage.version(n=2), Plaintext(b"x"))
    assert caught.value.code == "origin_foreign"
    assert await stage.console.value("acme.db") == "theirs"


async def test_a_parameter_that_is_gone_when_it_is_to_be_deleted_is_deleted(stage: Stage, faulty: FaultyAws) -> None:
    manager, secret = stage.manager(), stage.version()
    await manager.store(secret, Plaintext(b"x"))
    faulty.faults["DeleteParameter"].append(refuse("ParameterNotFound"))
    await manager.delete(whole(secret), None)


async def test_a_history_without_end_is_not_followed(stage: Stage, faulty: FaultyAws) -> None:
    await stage.console.put("acme.db", "theirs")
    faulty.faults["GetParameterHistory"].extend([answer(b'{"Parameters": [], "NextToken": "more"}')] * 100)
    with pytest.raises(Unavailable) as caught:
        await stage.manager().delete(whole(stage.version()), None)
    assert caught.value.code == "aws_garbled"


REFUSALS: dict[str, tuple[type[PrivySealError], str, int]] = {
    "AccessDeniedException": (Denied, "aws_denied", 1),
    "ParameterNotFound": (NotFound, "secret_not_found", 1),
    "ParameterVersionNotFound": (NotFound, "secret_not_found", 1),
    "InvalidKeyId": (NotReady, "key_unusable", 1),
    "ValidationException": (Malformed, "aws_invalid", 1),
    "TooManyUpdates": (Overloaded, "secret_changing", 3),
    "ParameterLimitExceeded": (NotReady, "aws_quota", 1),
    "InternalServerError": (Unavailable, "aws_unavailable", 3),
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
    faulty.faults["GetParameter"].extend([refuse(code, message="hunter2")] * tries)
    with pytest.raises(error) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == ours and caught.value.hint
    assert caught.value.facts["action"] == "ssm:GetParameter"
    assert "hunter2" not in str(caught.value.problem())
    assert faulty.operations().count("GetParameter") == tries


async def test_a_slow_answer_is_given_up_in_its_time(stage: Stage, faulty: FaultyAws) -> None:
    manager, secret = stage.manager(seconds=1.5), stage.version()
    stored = await stage.manager().store(secret, Plaintext(b"x"))
    never = asyncio.Event()
    faulty.faults["GetParameter"].extend([stall(never)] * 3)
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "aws_slow"
    assert (await manager.fetch(secret, stored)).reveal() == b"x"


GOOD = {"Name": "NAME", "Type": "SecureString", "Value": "x", "Version": 1}


@pytest.mark.parametrize(
    "told",
    [
        b"<html>",
        {},
        {"Parameter": {}},
        {"Parameter": {**GOOD, "Name": "/another/name"}},
        {"Parameter": {**GOOD, "Value": None}},
        {"Parameter": {**GOOD, "Version": None}},
        {"Parameter": {**GOOD, "Selector": ":privyseal-another"}},
    ],
)
async def test_an_answer_about_something_else_is_not_believed(stage: Stage, faulty: FaultyAws, told: Any) -> None:
    manager, secret = stage.manager(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    name = f"{stage.console.path}/acme.db"
    body = told if isinstance(told, bytes) else json.dumps(told).replace("NAME", name).encode()
    faulty.faults["GetParameter"].extend([answer(body)] * 3)
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "aws_garbled"


async def test_a_redirect_is_not_followed(stage: Stage, faulty: FaultyAws) -> None:
    faulty.faults["ListTagsForResource"].append(answer(b"", 307, Location="http://127.0.0.1:1/"))
    with pytest.raises(Denied) as caught:
        await stage.manager().check()
    assert caught.value.code == "aws_redirected"


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
    role = {"roleArn": "arn:aws:iam::123456789012:role/ps", "externalId": "ext", "delegateSelectors": ["d1"]}
    async with Aws() as sts:
        manager = stage.manager(
            credential={"type": "AssumeSTSRole", "spec": role}, urls={"sts": sts.url, "ssm": stage.url}
        )
        await manager.check()
    (asked,) = sts.asked
    assert (asked.operation, asked.access_key) == ("AssumeRole", "AKIADELEGATEDELEGATE")
    assert (asked.parameters["RoleArn"], asked.parameters["ExternalId"]) == (role["roleArn"], "ext")
