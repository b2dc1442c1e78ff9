"""One connector of AWS Parameter Store before one server, and what others see and do there with AWS's own tools."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from delegate.secret_managers.aws_parameter_store import AwsParameterStore
from tests.fakes.aws_store import KEY, KEY_ID, AwsStage, tools


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


class Stage(AwsStage[Console]):
    """One connector and the server that it calls."""

    made = AwsParameterStore
    setting = "parameterPathPrefix"


@asynccontextmanager
async def staged(url: str, key: tuple[str, str] = (KEY_ID, KEY)) -> AsyncIterator[Stage]:
    """A stage before the server there, under a path of its own; the console's key is `key`."""
    place = "/test-" + secrets.token_hex(8)
    async with tools("ssm", url, key) as client, aclosing(Stage(url, Console(client, place), place)) as made:
        yield made
