"""Values and credentials of AWS Parameter Store and 1Password, through real processes: nowhere but at the edges.

Searched as in `test_values_stay_sealed`, and the command lines of all processes of this machine. Errors are provoked too: an
answer that repeats the value, a key that isn't there, a name that others have, a token that isn't taken any longer.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.manifest import parse
from tests.canary.arguments import Arguments
from tests.canary.tapped import TappedEnvironment
from tests.canary.test_values_stay_sealed import MANAGER, watch_of
from tests.fakes.onepassword import Connect
from tests.servers.emulators import REGION, Moto
from tests.servers.https import Https, told

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory and command lines are searched on Linux only"),
]


@pytest.fixture
def moto() -> Iterator[Moto]:
    with Moto() as one:
        yield one


@pytest.fixture
def connect() -> Connect:
    return Connect()


@pytest.fixture
def site(connect: Connect) -> Iterator[Https]:
    with Https(connect) as one:
        yield one


@pytest.fixture
async def environment(tmp_path: Path, moto: Moto) -> AsyncIterator[TappedEnvironment]:
    options = {"*": ["--aws-endpoints", moto.url]}
    environ = {"AWS_EC2_METADATA_DISABLED": "true"}
    one = TappedEnvironment(tmp_path / "dev", delegate_options=options, delegate_environ=environ)
    async with one:
        yield one


async def apply(environment: TappedEnvironment, name: str, kind: str, spec: dict[str, Any]) -> None:
    body = {"connector": {"name": name, "identifier": name, "type": kind, "spec": spec}}
    async with environment.client() as client:
        await client.connectors.apply(await client.connectors.plan(parse(json.dumps(body).encode(), "stores.yaml")))


async def test_what_is_kept_elsewhere_is_nowhere_but_at_the_edges(
    environment: TappedEnvironment, moto: Moto, connect: Connect, site: Https
) -> None:
    watch, arguments = watch_of(environment), Arguments()
    watch.surface("command lines", arguments.pieces)
    watch.marker("the manager's own command line", str(environment.database).encode(), "command lines")
    key = secrets.token_urlsafe(30)
    vault = connect.vault("prod")
    token = connect.token(vault)
    watch.secret("the secret half of the access key", key.encode())
    watch.secret("the token", token.encode())
    kept = {
        name: secrets.token_urlsafe(24) for name in ("written", "newer", "theirs", "taken", "field", "file", "member")
    }
    for name, value in kept.items():
        watch.secret(name, value.encode())
    aws = moto.client("ssm")
    for name in ("theirs", "taken"):
        aws.put_parameter(Name=f"/canary/{name}", Value=kept[name], Type="SecureString")
    item = connect.item(vault, "db", password=kept["field"], config=json.dumps({"key": kept["member"]}))
    item.attach("key.pem", kept["file"].encode())

    with arguments.watched():
        async with environment.client() as client:
            await client.store("account.aws_key", key.encode())
            await client.store("account.token", token.encode())
        credential = {
            "type": "ManualConfig",
            "spec": {"accessKeyPlainText": "AKIAIOSFODNN7EXAMPLE", "secretKey": "account.aws_key"},
        }
        spec = {"credential": credential, "region": REGION, "parameterPathPrefix": "/canary"}
        await apply(environment, "aws", "AwsParameterStore", spec)
        spec = {"url": site.url, "caCertificate": site.trust, "token": "account.token"}
        await apply(environment, "onepassword", "OnePasswordConnect", spec)
        for name in ("aws", "onepassword"):
            await environment.privyseal("connector", "test", f"account.{name}")

        async def store(name: str, value: str, status: int = 0) -> None:
            options = ["--from-stdin", "--connector", "account.aws"]
            await environment.privyseal(
                "secret", "set", f"account.{name}", *options, given=value.encode(), status=status
            )

        async def refer(name: str, connector: str, reference: str, status: int = 0) -> None:
            options = ["--connector", f"account.{connector}", "--refers-to", reference]
            await environment.privyseal("secret", "set", f"account.{name}", *options, status=status)

        async def reveals(name: str, value: str) -> None:
            assert await environment.privyseal("reveal", f"account.{name}", gives_value=True) == value.encode()

        await store("written", kept["written"])
        await reveals("written", kept["written"])
        await store("written", kept["newer"])
        await reveals("written", kept["newer"])
        assert aws.get_parameter(Name="/canary/written", WithDecryption=True)["Parameter"]["Value"] == kept["newer"]
        await refer("theirs", "aws", "/canary/theirs")
        await refer("field", "onepassword", "op://prod/db/password")
        await refer("file", "onepassword", "prod/db/key.pem")
        await refer("member", "onepassword", "prod/db/config#key")
        for name in ("theirs", "field", "file", "member"):
            await reveals(name, kept[name])

        await store("taken", "never stored at all", 6)
        for name, connector, reference, status in (
            ("passed_by", "aws", "/canary/written", 4),
            ("keyed", "aws", "/canary/theirs#key", 2),
            ("missing", "onepassword", "prod/db/config#password", 5),
            ("text", "onepassword", "prod/db/password#key", 2),
            ("nowhere", "onepassword", "prod/nowhere/password", 5),
        ):
            await refer(name, connector, reference, status)
        site.fail("/v1", told(400, {"message": kept["field"]}))
        await environment.privyseal("reveal", "account.field", status=2)
        del connect.tokens[token]
        await environment.privyseal("reveal", "account.field", status=4)
        await environment.privyseal("secret", "delete", "account.written", "--yes")
        assert aws.get_parameters(Names=["/canary/written"])["Parameters"] == []

    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 50_000 for one in MANAGER), findings.searched_bytes
