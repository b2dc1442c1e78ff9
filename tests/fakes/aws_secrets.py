"""One connector of AWS Secrets Manager before one server, and what others see and do there with AWS's own tools."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from delegate.secret_managers.aws_secret_manager import AwsSecretManager
from tests.fakes.aws_store import KEY, KEY_ID, AwsStage, tools


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


class Stage(AwsStage[Console]):
    """One connector and the server that it calls."""

    made = AwsSecretManager
    setting = "secretNamePrefix"


@asynccontextmanager
async def staged(url: str, key: tuple[str, str] = (KEY_ID, KEY)) -> AsyncIterator[Stage]:
    """A stage before the server there, under a prefix of its own; the console's key is `key`."""
    place = "test-" + secrets.token_hex(8)
    async with tools("secretsmanager", url, key) as client, aclosing(Stage(url, Console(client, place), place)) as made:
        yield made
