"""One connector of AWS Parameter Store before one server, and what others see and do there with AWS's own tools."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiobotocore.session import get_session

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.aws_parameter_store import AwsParameterStore
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.aws_secrets import KEY, KEY_ID, REGION
from tests.fakes.world import World


class Console:
    """What somebody with the provider's own tools sees and does."""

    def __init__(self, client: Any, path: str) -> None:
        self.client = client
        self.path = path

    async def found(self, name: str, which: str = "") -> Any:
        asked = f"{self.path}/{name}" + (f":{which}" if which else "")
        return (await self.client.get_parameter(Name=asked, WithDecryption=True))["Parameter"]

    async def value(self, name: str, which: str = "") -> str:
        return str((await self.found(name, which))["Value"])

    async def tags(self, name: str) -> dict[str, str]:
        told = await self.client.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"{self.path}/{name}")
        return {one["Key"]: one["Value"] for one in told["TagList"]}

    async def versions(self, name: str) -> list[Any]:
        found: list[Any] = []
        async for page in self.client.get_paginator("get_parameter_history").paginate(Name=f"{self.path}/{name}"):
            found += page["Parameters"]
        return found

    async def put(self, name: str, value: str, **more: Any) -> int:
        given = {"Type": "SecureString", "Overwrite": "Tags" not in more, **more}
        return int((await self.client.put_parameter(Name=f"{self.path}/{name}", Value=value, **given))["Version"])

    async def label(self, name: str, version: int, label: str) -> None:
        await self.client.label_parameter_version(Name=f"{self.path}/{name}", ParameterVersion=version, Labels=[label])

    async def delete(self, name: str) -> None:
        await self.client.delete_parameter(Name=f"{self.path}/{name}")


class Stage:
    """One connector and the server that it calls."""

    def __init__(self, url: str, console: Console) -> None:
        self.url = url
        self.console = console
        self.world = World()
        self.key = (KEY_ID, KEY)
        self.opened: list[AwsParameterStore] = []

    def connector(self, **spec: Any) -> ConnectorDocument:
        credential = {
            "type": "ManualConfig",
            "spec": {"accessKeyPlainText": self.key[0], "secretKey": "account.awsSecret"},
        }
        given = {"credential": credential, "region": REGION, "parameterPathPrefix": self.console.path, **spec}
        return self.world.connector_document(
            "aws", type="AwsParameterStore", spec=given, secrets=("account.awsSecret",)
        )

    def manager(
        self,
        url: str = "",
        seconds: float = 15.0,
        policy: str = "",
        urls: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> AwsParameterStore:
        surroundings = Surroundings(
            Zone(self.world.keyring, self.world.book()),
            LocalPolicy.parse(policy, ["AwsParameterStore"]),
            secrets.token_bytes,
            endpoints=Endpoints(urls or {"*": url or self.url}),
            call_seconds=seconds,
        )
        access, secret = (Plaintext(half.encode()) for half in self.key)
        halves = {"account.awsAccess": access, "account.awsSecret": secret}
        made = AwsParameterStore(self.connector(**spec), surroundings, halves)
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


@asynccontextmanager
async def staged(url: str, key: tuple[str, str] = (KEY_ID, KEY)) -> AsyncIterator[Stage]:
    """A stage before the server there, under a path of its own; the console's key is `key`."""
    async with get_session().create_client(
        "ssm",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
    ) as client:
        made = Stage(url, Console(client, "/test-" + secrets.token_hex(8)))
        yield made
        for manager in made.opened:
            await manager.close()
