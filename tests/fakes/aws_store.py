"""A connector to one of AWS's stores of secrets before one server, and AWS's own tools before the same."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Generic, TypeVar

from aiobotocore.session import get_session

from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.direct import Direct
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.versions import version
from tests.fakes.world import World

REGION = "us-east-1"
KEY_ID, KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"

C = TypeVar("C")


class AwsStage(Generic[C]):
    """One connector and the server that it calls; `place` is where its secrets lie."""

    made: ClassVar[Any]
    """The secret manager, whose name is that of its kind."""
    setting: ClassVar[str]
    """The connector's field that says the place."""

    def __init__(self, url: str, console: C, place: str) -> None:
        self.url = url
        self.console = console
        self.world = World()
        self.key = (KEY_ID, KEY)
        self._place = place
        self.opened: list[Direct] = []

    def connector(self, **spec: Any) -> ConnectorDocument:
        """Its document."""
        manual = {"accessKeyPlainText": self.key[0], "secretKey": "account.awsSecret"}
        credential = {"type": "ManualConfig", "spec": manual}
        given = {"credential": credential, "region": REGION, self.setting: self._place, **spec}
        return self.world.connector_document("aws", type=self.made.__name__, spec=given, secrets=("account.awsSecret",))

    def manager(
        self,
        url: str = "",
        seconds: float = 15.0,
        policy: str = "",
        urls: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> Direct:
        """The secret manager, open until the end of the stage."""
        surroundings = Surroundings(
            Zone(self.world.keyring, self.world.book()),
            LocalPolicy.parse(policy, [self.made.__name__]),
            secrets.token_bytes,
            endpoints=Endpoints(urls or {"*": url or self.url}),
            call_seconds=seconds,
        )
        access, secret = (Plaintext(half.encode()) for half in self.key)
        made: Direct = self.made(
            self.connector(**spec), surroundings, {"account.awsAccess": access, "account.awsSecret": secret}
        )
        self.opened.append(made)
        return made

    def version(self, identifier: str = "db", n: int = 1, **document: Any) -> SecretVersion:
        """As `tests.fakes.versions.version`."""
        return version(self.world, self.connector(), identifier, n, **document)

    async def aclose(self) -> None:
        """Close what was opened."""
        for one in self.opened:
            await one.close()


def tools(service: str, url: str, key: tuple[str, str]) -> AbstractAsyncContextManager[Any]:
    """AWS's own client of a service at that server."""
    made: AbstractAsyncContextManager[Any] = get_session().create_client(
        service, region_name=REGION, endpoint_url=url, aws_access_key_id=key[0], aws_secret_access_key=key[1]
    )
    return made
