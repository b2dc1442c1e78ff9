"""Secrets in today's YAML at stores of others: taken unchanged after a real fetch, given back equal, read as they are there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import yaml

from client.dev import DevEnvironment
from shared.errors import NotFound
from tests.fakes.aws_store import KEY, KEY_ID
from tests.fakes.command_line import privyseal
from tests.servers.emulators import Moto
from tests.servers.openbao import OpenBao

CONNECTORS = """
connector:
  name: vault
  identifier: vault1
  type: Vault
  spec:
    vaultUrl: {vault}
    basePath: /harness
    renewalIntervalMinutes: 0
    secretEngineName: secret
    secretEngineVersion: 2
    authToken: account.vtoken
---
connector:
  name: older vault
  identifier: vault_one
  type: Vault
  spec:
    vaultUrl: {vault}
    isReadOnly: true
    renewalIntervalMinutes: 0
    secretEngineName: kv
    secretEngineVersion: 1
    authToken: account.vtoken
---
connector:
  name: secrets of aws
  identifier: aws1
  type: AwsSecretManager
  spec:
    credential:
      type: ManualConfig
      spec: {{accessKeyPlainText: {key_id}, secretKey: account.awsSecret}}
    region: us-east-1
    secretNamePrefix: devops
    forceDeleteWithoutRecovery: true
"""


@dataclass(frozen=True)
class Described:
    """A description in the form of parity 2.2, and the value that it stands for; None where it has none yet."""

    text: str
    value: bytes | None
    scope: tuple[str, str] = ("", "")


def described(
    identifier: str, manager: str, rest: str, value: bytes | None, scope: tuple[str, str] = ("", "")
) -> Described:
    org, project = scope
    place = (f"  orgIdentifier: {org}\n" if org else "") + (f"  projectIdentifier: {project}\n" if project else "")
    text = (
        f"secret:\n  type: SecretText\n  name: my secret\n  identifier: {identifier}\n{place}"
        f"  spec:\n    secretManagerIdentifier: {manager}\n" + "".join(f"    {line}\n" for line in rest.splitlines())
    )
    return Described(text, value, scope)


LATEST = "additionalMetadata:\n  values: {version: latest}"
SHAPES = {
    "vault key": described(
        "v_key",
        "account.vault1",
        f"valueType: Reference\nvalue: path/to/secret#key\n{LATEST}",
        b"new",
        ("default", "proj"),
    ),
    "vault slash": described("v_slash", "account.vault1", "valueType: Reference\nvalue: /path/to/secret#a.b", b"deep"),
    "vault whole": described("v_whole", "account.vault1", "valueType: Reference\nvalue: path/plain", b'{"only":"x"}'),
    "vault pinned": described(
        "v_pin",
        "account.vault1",
        "valueType: Reference\nvalue: path/to/secret#key\nadditionalMetadata:\n  values: {version: '1'}",
        b"old",
    ),
    "vault one": described("v_one", "account.vault_one", "valueType: Reference\nvalue: path/one", b"customary"),
    "vault draft": described("v_draft", "account.vault1", "valueType: Inline", None),
    "aws name": described(
        "a_name", "account.aws1", "valueType: Reference\nvalue: prod/plain", b"plain", ("default", "")
    ),
    "aws key": described(
        "a_key",
        "account.aws1",
        f"valueType: Reference\nvalue: prod/json#a.b\n{LATEST}",
        b"literal",
        ("default", "proj"),
    ),
    "aws stage": described(
        "a_stage",
        "account.aws1",
        "valueType: Reference\nvalue: prod/plain\nadditionalMetadata:\n  values: {version: AWSPREVIOUS}",
        b"earlier",
    ),
    "aws key of ours": described(
        "a_kms",
        "account.aws1",
        "valueType: Inline\nadditionalMetadata:\n  values: {kms_key_id: alias/aws/secretsmanager}",
        None,
    ),
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        server.root.sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
        kv = server.root.secrets.kv
        for key in ("old", "new"):
            kv.v2.create_or_update_secret("path/to/secret", {"key": key, "a": {"b": "deep"}, "a.b": "literal"})
        kv.v2.create_or_update_secret("path/plain", {"only": "x"})
        kv.v1.create_or_update_secret("path/one", {"value": "customary"}, method="POST", mount_point="kv")
        yield server


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as one:
        aws = one.client("secretsmanager")
        aws.create_secret(Name="prod/plain", SecretString="earlier")
        aws.put_secret_value(SecretId="prod/plain", SecretString="plain")
        aws.create_secret(Name="prod/json", SecretString='{"a": {"c": "nested"}, "a.b": "literal"}')
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(bao: OpenBao, moto: Moto) -> AsyncIterator[DevEnvironment]:
    options = {"*": ["--aws-endpoints", moto.url]}
    async with DevEnvironment(delegates=1, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.vtoken", bao.root.token.encode())
            await client.store("account.awsSecret", KEY.encode())
        given = CONNECTORS.format(vault=bao.address, key_id=KEY_ID)
        status, _, errors = await privyseal(running, "apply", "-f", "-", given=given)
        assert status == 0, errors
        for arguments in (("org", "create", "default"), ("--org", "default", "project", "create", "proj")):
            assert (await privyseal(running, *arguments))[0] == 0
        yield running


def documents(text: str) -> list[Any]:
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.mark.parametrize("shape", SHAPES)
async def test_todays_yaml_is_fetched_taken_unchanged_and_given_back_equal(
    environment: DevEnvironment, shape: str
) -> None:
    one = SHAPES[shape]
    (body,) = (document["secret"] for document in documents(one.text))
    org, project = one.scope
    place = [*(["--org", org] if org else []), *(["--project", project] if project else [])]
    status, out, errors = await privyseal(environment, "apply", "-f", "-", "-o", "json", given=one.text)
    assert (status, [row["action"] for row in json.loads(out)]) == (0, ["create"]), errors
    status, out, errors = await privyseal(environment, *place, "export", body["identifier"])
    assert (status, documents(out)) == (0, [{"secret": body}]), errors
    status, out, errors = await privyseal(environment, "apply", "-f", "-", "-o", "json", given=one.text)
    assert (status, [row["action"] for row in json.loads(out)]) == (0, ["none"]), errors
    status, out, errors = await privyseal(environment, *place, "reveal", body["identifier"])
    if one.value is None:
        assert (status, "no version yet" in errors) == (NotFound.exit_status, True)
    else:
        assert (status, out.encode()) == (0, one.value), errors


async def test_a_reference_without_its_labels_again_gives_them_up_at_once(environment: DevEnvironment) -> None:
    rest = "valueType: Reference\nvalue: path/plain"
    labelled = described("relabelled", "account.vault1", rest, None).text + "  description: old\n  tags: {team: a}\n"
    bare = described("relabelled", "account.vault1", f"{rest}#only", None).text
    assert (await privyseal(environment, "apply", "-f", "-", given=labelled))[0] == 0
    assert (await privyseal(environment, "apply", "-f", "-", given=bare))[0] == 0
    status, out, _ = await privyseal(environment, "export", "relabelled")
    assert (status, documents(out)) == (0, documents(bare))
