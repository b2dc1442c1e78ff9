"""Issuers through the SDK: given by administrators, published from what they signed, without what is excluded; and platforms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from client.manifest import parse
from client.sdk import Client
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady
from shared.names import ACCOUNT_SCOPE
from shared.oidc import DISCOVERY_PATH, JWKS_PATH, key_id
from tests.fakes.delegates import running as running_delegate
from tests.fakes.delegates import world_of_today
from tests.fakes.issuers import ISSUER
from tests.fakes.refusal import refused
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager

AWS = """
connector:
  name: {name}
  identifier: {name}
{org}  type: AwsKms
  keyring: edge
  spec:
    credential:
      type: {type}
      spec: {{{credential}}}
    kmsArnInPlainText: arn:aws:kms:us-east-1:123456789012:key/k
    region: us-east-1
    delegateSelectors: [x]
"""
ROLE = "iamRoleArn: 'arn:aws:iam::123456789012:role/r'"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, world_of_today()) as one:
        await found(one)
        yield one


@pytest.fixture
async def client(running: Manager) -> AsyncIterator[Client]:
    async with Client(running.url, running.world.id, running.world.administrator) as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edge.json"


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


async def test_an_issuer_is_named_once_and_its_files_are_written_whole(
    client: Client, file: Path, tmp_path: Path
) -> None:
    keyring = await client.keyrings.create("edge", file)
    with refused(NotReady, "oidc_unconfigured"):
        await client.issuers.publish(tmp_path / "site", "edge")
    enabled = await client.issuers.enable(ISSUER, "edge")
    assert keyring.newest.oidc is not None
    assert [(one.generation, one.kid) for one in enabled.keys] == [(1, key_id(keyring.newest.oidc.n))]
    revision = client.account.book.keyrings["edge"].document.rev
    assert await client.issuers.enable(ISSUER, "edge") == enabled
    assert client.account.book.keyrings["edge"].document.rev == revision == 2
    site = await client.issuers.publish(tmp_path / "site", "edge")
    assert site.files == {
        f"{ISSUER}/{JWKS_PATH}": tmp_path / "site" / JWKS_PATH,
        f"{ISSUER}/{DISCOVERY_PATH}": tmp_path / "site" / DISCOVERY_PATH,
    }
    assert read(tmp_path / "site" / DISCOVERY_PATH)["jwks_uri"] in site.files
    assert [one["kid"] for one in read(tmp_path / "site" / JWKS_PATH)["keys"]] == [one.kid for one in enabled.keys]
    assert sorted(one.name for one in (tmp_path / "site").rglob("*")) == sorted(
        [".well-known", "jwks.json", "openid-configuration"]
    )


async def test_a_place_of_another_issuer_is_left_alone(client: Client, file: Path, tmp_path: Path) -> None:
    await client.keyrings.create("edge", file)
    await client.issuers.enable(ISSUER, "edge")
    configuration = tmp_path / DISCOVERY_PATH
    configuration.parent.mkdir()
    for content in (b'{"issuer":"https://other.example"}', b"<html>", b""):
        configuration.write_bytes(content)
        with refused(Conflict, "site_occupied"):
            await client.issuers.publish(tmp_path, "edge")
        assert configuration.read_bytes() == content and not (tmp_path / JWKS_PATH).exists()
    (tmp_path / "file").write_bytes(b"")
    with refused(Malformed, "file_unwritable"):
        await client.issuers.publish(tmp_path / "file", "edge")


async def test_keys_of_somebody_else_are_not_replaced(client: Client, file: Path, tmp_path: Path) -> None:
    await client.keyrings.create("edge", file)
    issuer = await client.issuers.enable(ISSUER, "edge")
    keys = tmp_path / JWKS_PATH
    for content in (b'{"keys":[{"kid":"theirs"}]}', b'{"keys":[]}', b"<html>"):
        keys.write_bytes(content)
        with refused(Conflict, "site_occupied"):
            await client.issuers.publish(tmp_path, "edge")
        assert (keys.read_bytes(), (tmp_path / DISCOVERY_PATH).exists()) == (content, False)
    # What an interrupted publishing left is completed.
    keys.write_text(f'{{"keys":[{{"kid":"{issuer.keys[0].kid}"}}]}}')
    await client.issuers.publish(tmp_path, "edge")
    assert read(tmp_path / DISCOVERY_PATH)["issuer"] == ISSUER


async def test_an_issuer_is_replaced_only_on_request_and_never_shared(
    client: Client, file: Path, tmp_path: Path
) -> None:
    await client.keyrings.create("edge", file)
    await client.keyrings.create("far", tmp_path / "far.json")
    await client.issuers.enable(ISSUER, "edge")
    with refused(Conflict, "issuer_taken"):
        await client.issuers.enable(ISSUER, "far")
    with refused(Conflict, "issuer_exists"):
        await client.issuers.enable("https://new.example", "edge")
    assert (await client.issuers.enable("https://new.example", "edge", replace=True)).url == "https://new.example"
    assert [(one.keyring, one.url, len(one.keys)) for one in await client.issuers.all()] == [
        ("edge", "https://new.example", 1),
        ("far", "", 1),
        ("main", "", 0),
    ]


@pytest.mark.parametrize("url", ["", "https://A.example", "http://a.example", "https://a.example/", "https://a?b"])
async def test_what_is_no_issuers_url_is_refused_before_anything_is_signed(client: Client, url: str) -> None:
    with refused(Malformed, "issuer_malformed"):
        await client.issuers.enable(url)


async def test_only_an_administrator_names_an_issuer_and_anybody_publishes_it(
    client: Client, running: Manager, file: Path, tmp_path: Path
) -> None:
    await client.keyrings.create("edge", file)
    reader = running.world.identity("reader")
    grant = running.world.grant(reader, ["view"])
    status, told = await running.call("POST", "documents", json={"documents": [grant.compact]})
    assert status == 200, told
    async with Client(running.url, running.world.id, reader) as other:
        with refused(Denied, "not_administrator"):
            await other.issuers.enable(ISSUER, "edge")
        await client.issuers.enable(ISSUER, "edge")
        await other.issuers.publish(tmp_path / "site", "edge")
    assert (tmp_path / "site" / DISCOVERY_PATH).exists()


async def test_a_keyring_from_before_gets_its_key_by_a_rotation(client: Client, file: Path) -> None:
    file.write_bytes(Keyring(client.account.id, "edge", [(1, b"s" * 32)]).text())
    file.chmod(0o600)
    await client.keyrings.create("edge", file)
    with refused(NotReady, "oidc_key_missing"):
        await client.issuers.enable(ISSUER, "edge")
    with refused(NotFound, "keyring_unknown"):
        await client.issuers.find("elsewhere")
    await client.keyrings.rotate("edge", file, compromised=False)
    assert [one.generation for one in (await client.issuers.enable(ISSUER, "edge")).keys] == [2]


async def test_excluding_a_generation_takes_its_key_out_of_the_document(
    client: Client, file: Path, tmp_path: Path
) -> None:
    await client.keyrings.create("edge", file)
    await client.issuers.enable(ISSUER, "edge")
    await client.keyrings.rotate("edge", file, compromised=False)
    issuer = await client.issuers.find("edge")
    assert (issuer.url, [one.generation for one in issuer.keys]) == (ISSUER, [1, 2])
    assert await client.keyrings.exclude("edge") == 2
    document = client.account.book.keyrings["edge"].document
    assert document.oidc is not None and [one.gen for one in document.oidc.keys] == [2]
    assert [one.gen for one in document.certifiers] == [2] and document.issuer == ISSUER
    revision = document.rev
    assert await client.keyrings.exclude("edge") == 2
    assert client.account.book.keyrings["edge"].document.rev == revision
    await client.issuers.publish(tmp_path / "site", "edge")
    assert len(read(tmp_path / "site" / JWKS_PATH)["keys"]) == 1


async def test_a_keyring_file_with_another_key_than_the_published_one_is_not_rotated(
    client: Client, file: Path
) -> None:
    keyring = await client.keyrings.create("edge", file)
    again = Keyring.parse(keyring.text()).rotated(b"s" * 32).text()
    other = json.loads(again)
    other["generations"] = other["generations"][:1]
    del other["generations"][0]["oidc"]
    file.write_text(json.dumps(other))
    with refused(Conflict, "keyring_file_differs"):
        await client.keyrings.rotate("edge", file, compromised=False)


async def test_holders_are_the_connectors_that_show_tokens_with_their_subjects(client: Client, file: Path) -> None:
    await client.keyrings.create("edge", file)
    await client.scopes.create(ACCOUNT_SCOPE, "orders", "orders", "")
    texts = [
        AWS.format(name="kms_oidc", org="", type="OidcAuthentication", credential=ROLE),
        AWS.format(name="kms_oidc", org="  orgIdentifier: orders\n", type="OidcAuthentication", credential=ROLE),
        AWS.format(name="kms_own", org="", type="AssumeIAMRole", credential=""),
    ]
    manifests = [one for text in texts for one in parse(text.encode(), "aws.yaml")]
    await client.connectors.apply(await client.connectors.plan(manifests))
    account = client.account.id
    told = [(one.connector.identifier, one.subject, one.audience) for one in await client.issuers.holders("edge")]
    assert told == [
        ("kms_oidc", f"account/{account}:connector/kms_oidc", "sts.amazonaws.com"),
        ("kms_oidc", f"account/{account}:org/orders:connector/kms_oidc", "sts.amazonaws.com"),
    ]
    assert await client.issuers.holders() == await client.issuers.holders("edge")
    assert await client.issuers.holders("main") == []


# The platform's keyrings.


async def test_a_platforms_keyring_serves_its_own_connector_and_stays_one_when_it_is_rotated(
    client: Client, running: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "platform.json"
    keyring = await client.keyrings.create("platform", path, platform=True)
    connector = await client.connectors.find("account.local_platform")
    assert connector.document.spec == {"executeOnDelegate": False}
    url = running.configuration.delegate_urls[0]
    async with running_delegate(running.world, url, keyring=keyring, name="platform"):
        async with asyncio.timeout(30):
            while not (await running.call("GET", "delegates"))[1]["delegates"]:
                await asyncio.sleep(0.01)
        await client.connectors.test("account.local_platform")
        await client.store("account.there", b"value", connector="account.local_platform")
        assert await client.reveal("account.there") == Plaintext(b"value")
    await client.keyrings.rotate("platform", path, compromised=False)
    assert client.account.book.keyrings["platform"].document.platform is True
