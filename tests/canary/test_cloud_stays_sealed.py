"""A cloud's credentials, data keys and what commands write, through real processes: nowhere but at the edges.

Searched as in `test_values_stay_sealed`, and the command lines of all processes of this machine, looked at all the while. The
delegates speak with moto's server through a proxy that keeps its answers, so that the data keys and session tokens that it
gave are known. Each surface also has to show something that must be there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from client.manifest import parse
from shared.errors import PrivySealError
from tests.adversary.evil_aws import EvilAws
from tests.canary.arguments import Arguments
from tests.canary.tapped import TappedEnvironment
from tests.canary.test_values_stay_sealed import MANAGER, watch_of
from tests.canary.watch import Watch, files
from tests.fakes.aws import Asked, refuse
from tests.servers.emulators import REGION, Moto

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory and command lines are searched on Linux only"),
]

OWN = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "AKIADELEGATEDELEGATE",
    "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
}
"""The delegates' own identity."""

MANY = 32
"""More faults than one use of a connector asks for."""

_OF_A_SESSION = re.compile(rb"<(SecretAccessKey|SessionToken)>([^<]+)<")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as one:
        yield one


@pytest.fixture
async def aws(moto: Moto) -> AsyncIterator[EvilAws]:
    async with EvilAws(moto.url) as one:
        yield one


@pytest.fixture
async def environment(tmp_path: Path, aws: EvilAws) -> AsyncIterator[TappedEnvironment]:
    policy = tmp_path / "policy.toml"
    policy.write_text("exec = true\n")
    options = ["--aws-endpoints", aws.url, "--policy-file", str(policy)]
    one = TappedEnvironment(tmp_path / "dev", delegate_options={"*": options}, delegate_environ=OWN)
    async with one:
        yield one


async def connect(environment: TappedEnvironment, moto: Moto) -> tuple[str, str]:
    """A connector with an access key of its own and one that assumes a role; that access key."""
    arn = moto.client("kms").create_key()["KeyMetadata"]["Arn"]
    key = moto.user({"Effect": "Allow", "Action": "kms:*", "Resource": "*"})
    role = "arn:aws:iam::123456789012:role/sealed"
    credentials = {
        "kms_manual": ("ManualConfig", {"accessKey": "account.aws_id", "secretKey": "account.aws_key"}),
        "kms_sts": ("AssumeSTSRole", {"delegateSelectors": ["zone:a"], "roleArn": role, "externalName": "sealed"}),
    }
    async with environment.client() as client:
        await client.store("account.aws_id", key[0].encode())
        await client.store("account.aws_key", key[1].encode())
        for name, (kind, told) in credentials.items():
            spec = {"credential": {"type": kind, "spec": told}, "kmsArnInPlainText": arn, "region": REGION}
            body = {"connector": {"name": name, "identifier": name, "type": "AwsKms", "spec": spec}}
            await client.connectors.apply(await client.connectors.plan(parse(json.dumps(body).encode(), "kms.yaml")))
    return key


def learnt(aws: EvilAws) -> dict[str, bytes]:
    """Every data key, and every secret half and token of a session, that AWS has given so far."""
    found: dict[str, bytes] = {}
    for at, told in enumerate(aws.told):
        for kind, value in _OF_A_SESSION.findall(told):
            found[f"{kind.decode()} of answer {at}"] = value
        if told.startswith(b"{") and "Plaintext" in (answer := json.loads(told)):
            found[f"data key of answer {at}"] = base64.b64decode(answer["Plaintext"])
    return found


async def test_credentials_data_keys_and_output_are_nowhere_but_at_the_edges(
    environment: TappedEnvironment, aws: EvilAws, moto: Moto
) -> None:
    watch, arguments = watch_of(environment), Arguments()
    watch.surface("command lines", arguments.pieces)
    watch.marker("the manager's own command line", str(environment.database).encode(), "command lines")
    watch.secret("the delegate's own secret key", OWN["AWS_SECRET_ACCESS_KEY"].encode())
    with arguments.watched():
        key = await connect(environment, moto)
        watch.secret("the connector's secret key", key[1].encode())
        values = {name: secrets.token_urlsafe(24).encode() for name in ("kms_manual", "kms_sts", "local")}
        for name, value in values.items():
            watch.secret(f"value in {name}", value)
            option = [] if name == "local" else ["--connector", f"account.{name}"]
            await environment.privyseal("secret", "set", f"account.in_{name}", "--from-stdin", *option, given=value)
            for _ in range(2):
                out = await environment.privyseal("reveal", f"account.in_{name}", gives_value=True)
                assert out == value
        for name in ("kms_manual", "kms_sts"):
            await environment.privyseal("connector", "test", f"account.{name}")
        await run_commands(environment, watch, values)
        await fail(environment, aws)
        # Anew, so that everything is obtained once more.
        for one in environment.delegates.values():
            await one.restart()
        await environment.ready()
        assert await environment.privyseal("reveal", "account.in_kms_sts", gives_value=True) == values["kms_sts"]
    given = learnt(aws)
    kinds = {name.partition(" of answer")[0] for name in given}
    assert kinds == {"SecretAccessKey", "SessionToken", "data key"}
    for name, value in given.items():
        if value not in {one for other, one in given.items() if other < name}:
            watch.secret(name, value)
    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 50_000 for one in MANAGER), findings.searched_bytes
    assert {asked.operation for asked in aws.asked} == {"GenerateDataKey", "Decrypt", "AssumeRole"}


async def run_commands(environment: TappedEnvironment, watch: Watch, values: dict[str, bytes]) -> None:
    """Commands that write the value, what only they know, and a lot."""
    name, value = "account.in_kms_sts", values["kms_sts"]
    word = f"argument-{secrets.token_hex(12)}"
    known = hashlib.sha256(value).hexdigest().encode()
    watch.secret("what a command made of the value", known)
    out = await environment.privyseal(
        *("exec", "--secret", f"TOKEN={name}", "--", "sh", "-c"),
        *('printf "%s " "$TOKEN" "$1"; printf %s "$TOKEN" | sha256sum', "sh", word),
        gives_value=True,
    )
    assert known in out and word.encode() in out and value not in out
    # What is typed is in the command lines of the client and the command, and nowhere else.
    watch.marker("a word of the command", word.encode(), "command lines")
    beyond = Watch()
    beyond.secret("a word of the command", word.encode())
    beyond.surface("manager's files", files(environment.holdings))
    beyond.surface("delegates' logs", files(lambda: [one.log for one in environment.delegates.values()]))
    for tap in (environment.http, environment.grpc):
        beyond.surface(f"traffic {tap.port} there", lambda tap=tap: iter([bytes(tap.there)]))  # type: ignore[misc]
        beyond.surface(f"traffic {tap.port} back", lambda tap=tap: iter([bytes(tap.back)]))  # type: ignore[misc]
    beyond.search().insist()
    large = environment.folder / "large.txt"
    large.write_bytes(base64.encodebytes(os.urandom(600_000)))
    watch.secret("a long output", large.read_bytes())
    written = bytearray()
    async with environment.client() as client:
        ran = await client.commands.run(
            ["sh", "-c", 'cat "$FILE"; exit 4'],
            {"TOKEN": name},
            lambda _, data: written.extend(data),
            env={"FILE": str(large)},
        )
    assert (bytes(written), ran.finished.exit) == (large.read_bytes(), 4)


async def fail(environment: TappedEnvironment, aws: EvilAws) -> None:
    """AWS says no in mid-use, and repeats what it was told: what our errors say is searched, too."""
    for one in environment.delegates.values():
        await one.restart()
    await environment.ready()

    async def repeat(asked: Asked) -> web.StreamResponse:
        echoed = json.dumps([asked.parameters, asked.headers]).replace('"', "'")
        return await refuse("AccessDeniedException", 400, echoed)(asked)

    async with environment.client() as client:
        for name in ("kms_manual", "kms_sts"):
            # Enough for the tests of the connector, too, that a refusal brings about.
            for operation in ("Decrypt", "GenerateDataKey"):
                aws.faults[operation].extend([repeat] * MANY)
            with pytest.raises(PrivySealError):
                await client.reveal(f"account.in_{name}")
            with pytest.raises(PrivySealError):
                await client.store(f"account.in_{name}", b"never stored at all")
            for operation in ("Decrypt", "GenerateDataKey"):
                assert len(aws.faults[operation]) < MANY
                aws.faults[operation].clear()
