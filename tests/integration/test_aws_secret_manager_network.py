"""AWS Secrets Manager with everything in between: YAML applied, a credential from the built-in manager, a real delegate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Malformed, NotFound
from tests.fakes.aws_store import KEY, KEY_ID
from tests.servers.emulators import Moto

CONNECTOR = f"""
connector:
  name: secrets of aws
  identifier: sm
  type: AwsSecretManager
  spec:
    credential:
      type: ManualConfig
      spec: {{accessKeyPlainText: {KEY_ID}, secretKey: account.awsSecret}}
    region: us-east-1
    secretNamePrefix: PREFIX
    forceDeleteWithoutRecovery: true
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(moto: Moto) -> AsyncIterator[Client]:
    options = {"*": ["--aws-endpoints", moto.url]}
    async with DevEnvironment(delegates=1, delegate_options=options) as environment, environment.client() as one:
        await one.store("account.awsSecret", KEY.encode())
        await apply(one, "devops")
        yield one


async def apply(client: Client, prefix: str) -> None:
    changes = await client.connectors.plan(parse(CONNECTOR.replace("PREFIX", prefix).encode(), "here"))
    await client.connectors.apply(changes)


def names(moto: Moto) -> list[str]:
    found = moto.client("secretsmanager").list_secrets(MaxResults=100)["SecretList"]
    return [one["Name"] for one in found]


async def test_the_connection_test_passes(client: Client) -> None:
    tested = await client.connectors.test("account.sm")
    assert tested


async def test_a_value_is_stored_read_by_version_and_deleted_at_aws(client: Client, moto: Moto) -> None:
    aws = moto.client("secretsmanager")
    for value in (b"old", b"new"):
        await client.store("account.db", value, connector="account.sm")
    assert aws.get_secret_value(SecretId="devops/db")["SecretString"] == "new"
    assert await client.reveal("account.db") == Plaintext(b"new")
    assert await client.reveal("account.db", version=1) == Plaintext(b"old")
    await client.delete("account.db")
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.describe_secret(SecretId="devops/db")


async def test_an_existing_secret_is_referred_to_and_outlives_the_reference(client: Client, moto: Moto) -> None:
    aws = moto.client("secretsmanager")
    aws.create_secret(Name="prod/db", SecretString='{"user": {"name": "sa"}}')
    with pytest.raises(NotFound):
        await client.store("account.user", b"", connector="account.sm", refers_to="prod/db#user.none")
    await client.store("account.user", b"", connector="account.sm", refers_to="prod/db#user.name")
    assert await client.reveal("account.user") == Plaintext(b"sa")
    aws.put_secret_value(SecretId="prod/db", SecretString='{"user": {"name": "admin"}}')
    assert await client.reveal("account.user") == Plaintext(b"admin")
    await client.delete("account.user")
    assert aws.describe_secret(SecretId="prod/db")["Name"] == "prod/db"


async def test_what_aws_cannot_take_is_told_to_the_person_who_stores_it(client: Client, moto: Moto) -> None:
    with pytest.raises(Malformed, match="65,536 bytes"):
        await client.store("account.large", bytes(70_000), connector="account.sm")
    moto.client("secretsmanager").create_secret(Name="devops/taken", SecretString="theirs")
    with pytest.raises(Conflict, match="made by others"):
        await client.store("account.taken", b"mine", connector="account.sm")


async def test_a_changed_prefix_says_where_the_values_are_and_changed_back_they_are_there(
    client: Client, moto: Moto
) -> None:
    await client.store("account.moved", b"value", connector="account.sm")
    await apply(client, "other")
    with pytest.raises(Conflict) as caught:
        await client.reveal("account.moved")
    assert caught.value.code == "locator_changed" and "prefix" in caught.value.hint
    with pytest.raises(Conflict) as caught:
        await client.delete("account.moved")
    assert caught.value.code == "locator_changed" and "prefix" in caught.value.hint
    await apply(client, "devops")
    assert await client.reveal("account.moved") == Plaintext(b"value")
    await client.delete("account.moved")
    with pytest.raises(NotFound):
        await client.reveal("account.moved")
    assert "devops/moved" not in names(moto)
