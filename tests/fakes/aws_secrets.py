"""One connector of AWS Secrets Manager before one server, and what others see and do there with AWS's own tools."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiobotocore.session import get_session

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.aws_secret_manager import AwsSecretManager
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.world import World

REGION = "us-east-1"
KEY_ID, KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


class Console:
    """What somebody with the provider's own tools sees and does."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.prefix = prefix

    async def described(self, name: str) -> Any:
        return await self.client.describe_secret(SecretId=f"{self.prefix}/{name}")

    async def tags(self, name: str) -> dict[str, str]:
        return {one["Key"]: one["Value"] for one in (await self.described(name)).get("Tags", [])}

    async def value(self, name: str, **which: str) -> Any:
        found = await self.client.get_secret_value(SecretId=f"{self.prefix}/{name}", **which)
        return found.get("SecretString", found.get("SecretBinary"))

    async def create(self, name: str, value: str | bytes, **more: Any) -> str:
        form = "SecretString" if isinstance(value, str) else "SecretBinary"
        made = await self.client.create_secret(Name=f"{self.prefix}/{name}", **{form: value}, **more)
        return str(made["ARN"])

    async def add(self, name: str, value: str) -> str:
        added = await self.client.put_secret_value(SecretId=f"{self.prefix}/{name}", SecretString=value)
        return str(added["VersionId"])


class Stage:
    """One connector and the server that it calls."""

    def __init__(self, url: str, console: Console) -> None:
        self.url = url
        self.console = console
        self.world = World()
        self.key = (KEY_ID, KEY)
        self.opened: list[AwsSecretManager] = []

    def connector(self, **spec: Any) -> ConnectorDocument:
        credential = {
            "type": "ManualConfig",
            "spec": {"accessKeyPlainText": self.key[0], "secretKey": "account.awsSecret"},
        }
        given = {"credential": credential, "region": REGION, "secretNamePrefix": self.console.prefix, **spec}
        return self.world.connector_document("aws", type="AwsSecretManager", spec=given, secrets=("account.awsSecret",))

    def manager(
        self,
        url: str = "",
        seconds: float = 15.0,
        policy: str = "",
        urls: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> AwsSecretManager:
        surroundings = Surroundings(
            Zone(self.world.keyring, self.world.book()),
            LocalPolicy.parse(policy, ["AwsSecretManager"]),
            secrets.token_bytes,
            endpoints=Endpoints(urls or {"*": url or self.url}),
            call_seconds=seconds,
        )
        access, secret = (Plaintext(half.encode()) for half in self.key)
        halves = {"account.awsAccess": access, "account.awsSecret": secret}
        made = AwsSecretManager(self.connector(**spec), surroundings, halves)
        self.opened.append(made)
        return made

    def version(
        self, identifier: str = "db", n: int = 1, scope: str = "org/acme", tag: str = "", **changes: Any
    ) -> SecretVersion:
        connector = self.connector()
        secret = self.world.secret_document(identifier, scope=scope, connector=connector.id, **changes)
        signed = self.world.sign(secret, self.world.administrator)
        aad = replace(
            self.world.place(signed, n, digest(f"{tag} {secret.id} {n}") if n else ""), connector=connector.id
        )
        return SecretVersion(secret, connector, n, aad)


def whole(secret: SecretVersion) -> SecretVersion:
    return replace(secret, n=0, aad=replace(secret.aad, n=0, version=""))


@asynccontextmanager
async def staged(url: str, key: tuple[str, str] = (KEY_ID, KEY)) -> AsyncIterator[Stage]:
    """A stage before the server there, under a prefix of its own; the console's key is `key`."""
    async with get_session().create_client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
    ) as client:
        made = Stage(url, Console(client, "test-" + secrets.token_hex(8)))
        yield made
        for manager in made.opened:
            await manager.close()
