"""AWS KMS on the stage: a connector in everybody's sight, the way to AWS in the attacker's hands.

    async with casting(tmp_path, moto) as case:
        await case.client.reveal("account.token")
        case.aws.operations()

The connector `kms` is of the kind AwsKms; its access key is in two secrets of the built-in secret manager, and its data keys
are wrapped at moto's server. AWS is asked through `EvilAws`, which sees every request. Delegates run in this process, with an
identity of their own at AWS where the test gives them one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.sdk import Client
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, parse_as, peek_kind
from shared.documents.secret import SecretDocument
from shared.documents.task import TaskDocument
from shared.errors import PrivySealError
from shared.messages import FromManager, Task
from tests.adversary.evil_aws import EvilAws
from tests.adversary.evil_manager import Tap
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Actor, Stage
from tests.fakes.kms import ACCESS_KEY, SECRET_KEY
from tests.fakes.world import pins_of
from tests.servers.emulators import REGION, Moto

VALUE = b"the value that KMS protects"
OTHER_VALUE = b"another value"
OWN_KEY = "AKIADELEGATEDELEGATE"
"""The access key of the delegate's own identity."""

IDENTITY = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": OWN_KEY,
    "AWS_SECRET_ACCESS_KEY": "d" * 40,
}

NAMED = ("account.aws_id", "account.aws_key")


def new_key(moto: Moto) -> str:
    arn: str = moto.client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def spec(arn: str, credential: dict[str, Any] | None = None, region: str = REGION) -> dict[str, Any]:
    manual = {"type": "ManualConfig", "spec": {"accessKey": NAMED[0], "secretKey": NAMED[1]}}
    return {"credential": credential or manual, "kmsArnInPlainText": arn, "region": region}


def role(arn: str) -> dict[str, Any]:
    return {"type": "AssumeSTSRole", "spec": {"delegateSelectors": ["alpha"], "roleArn": arn}}


@dataclass
class Case:
    """A stage with `kms`, a secret in it that is stored, and a client that stored it."""

    stage: Stage
    aws: EvilAws
    moto: Moto
    kms: Verified[ConnectorDocument]
    token: Verified[SecretDocument]
    client: Client
    alpha: Actor

    async def connect(self, name: str) -> Actor:
        """A new delegate, which has seen nothing yet, in the place of the first one."""
        await self.alpha.stop()
        self.alpha = await self.stage.delegate(name, tags=["alpha"], endpoints=self.aws.url)
        return self.alpha

    async def given(self, reference: str = "account.token") -> Task:
        """The task by which its value is revealed to an honest reader, as the manager hands it over."""
        seen: list[Task] = []

        def keep(_: Tap, message: FromManager) -> Iterable[FromManager]:
            if isinstance(message, Task):
                seen.append(message)
            return [message]

        self.stage.evil.on_down(keep)
        await self.client.reveal(reference)
        self.stage.evil.behave()
        return seen[-1]

    @property
    def arn(self) -> str:
        """Of the key of `kms`."""
        return str(self.kms.document.spec["kmsArnInPlainText"])

    def asked_for(self, operation: str) -> int:
        """How often AWS was asked for that."""
        return self.aws.operations().count(operation)


@asynccontextmanager
async def casting(folder: Path, moto: Moto) -> AsyncIterator[Case]:
    """The case, with its delegate `alpha` and its secret stored."""
    async with EvilAws(moto.url) as aws, Stage(folder) as stage:
        alpha = await stage.delegate("alpha", endpoints=aws.url)
        world = stage.world
        for name in ("aws_id", "aws_key"):
            world.secret(name)
        kms = world.connector_with("kms", NAMED, spec=spec(new_key(moto)))
        token = world.secret("token", connector=kms.document.id)
        await stage.publish()
        client = stage.client()
        await client.store(NAMED[0], ACCESS_KEY.encode())
        await client.store(NAMED[1], SECRET_KEY.encode())
        await client.store("account.token", VALUE)
        yield Case(stage, aws, moto, kms, token, client, alpha)


async def second(case: Case) -> Verified[ConnectorDocument]:
    """Another connector of the same KMS key and credentials, with a secret in it."""
    world = case.stage.world
    twin = world.connector_with("twin", NAMED, spec=spec(case.arn))
    world.secret("theirs", connector=twin.document.id)
    await case.stage.publish()
    await case.client.store("account.theirs", OTHER_VALUE)
    return twin


def change_tasks(case: Case, change: Callable[[Task, TaskDocument], Task]) -> None:
    """Every task reaches its delegate changed."""

    def rewrite(_: Tap, message: FromManager) -> Iterable[FromManager]:
        if not isinstance(message, Task):
            return [message]
        return [change(message, parse_as(TaskDocument, message.document).document)]

    case.stage.evil.on_down(rewrite)


def show(case: Case, forged: str) -> None:
    """Clients are shown this document in the place of the connector `kms`."""

    def rewrite(exchange: Exchange) -> None:
        if exchange.status != 200 or not exchange.body.startswith(b"{"):
            return
        body = exchange.json()
        if "documents" in body:
            body["documents"] = [forged if _is_kms(case, one) else one for one in body["documents"]]
            exchange.answer_json(body)

    case.stage.evil.on_reply(rewrite)


def _is_kms(case: Case, compact: str) -> bool:
    if peek_kind(compact) != "connector":
        return False
    return parse_as(ConnectorDocument, compact).document.id == case.kms.document.id


async def refused(awaitable: Any) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await awaitable
    return caught.value


async def acting_on(case: Case, task: Task, connector: Verified[ConnectorDocument]) -> tuple[str, str]:
    """What a delegate says that is told of this revision and given a task that acts on it instead."""
    world, document = case.stage.world, task_of(task)
    (pin,) = pins_of([connector])
    pins = tuple(pin if one.id == connector.document.id else one for one in document.pins)
    signed = world.task("reveal", document.targets, credentials=document.credentials, pins=pins)
    await case.stage.teach("alpha", [*world.documents, connector.compact])
    return await case.stage.refusal("alpha", signed, stored=task.stored, credentials=task.credentials)


def task_of(message: Task) -> TaskDocument:
    return parse_as(TaskDocument, message.document).document
