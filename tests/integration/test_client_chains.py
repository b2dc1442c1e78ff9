"""A client goes on while the credentials beneath its connector are revised: real manager and delegate, KMS at moto.

The reader may reveal one secret and sees nothing of the credential; an administrator revises and rotates that meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.drafts import new_id
from client.manifest import parse
from client.sdk import Client
from shared.crypto.identity import Identity
from shared.documents.grant import Principal
from shared.errors import Denied, PrivySealError
from shared.names import ACCOUNT_SCOPE
from tests.servers.emulators import REGION, Moto

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = b"behind a key that a credential reaches"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment() -> AsyncIterator[DevEnvironment]:
    with Moto() as aws:
        identifier, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
        options = {"*": ["--aws-endpoints", aws.url]}
        async with DevEnvironment(delegates=1, delegate_options=options) as environment:
            async with environment.client() as client:
                await client.store("account.key_id", identifier.encode())
                await client.store("account.key", secret.encode())
                text = (
                    "connector: {name: kms, type: AwsKms, spec: {credential: {type: ManualConfig, spec: "
                    "{accessKey: account.key_id, secretKey: account.key}}, "
                    f"kmsArnInPlainText: '{key}', region: {REGION}}}}}\n"
                )
                await client.connectors.apply(await client.connectors.plan(parse(text.encode(), "a file")))
                await client.store("account.guarded", VALUE, connector="account.kms")
            yield environment


@pytest_asyncio.fixture(loop_scope="module")
async def admin(environment: DevEnvironment) -> AsyncIterator[Client]:
    async with environment.client() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def reader(environment: DevEnvironment, admin: Client) -> AsyncIterator[Client]:
    """May reveal the one secret, and nothing else."""
    identity = Identity.from_seed(new_id().encode()[:26].ljust(32, b"x"))
    guarded = (await admin.secrets.find("account.guarded")).secret.document
    await admin.grants.add(Principal("reader", identity.key, "person"), ["reveal"], ACCOUNT_SCOPE, resource=guarded.id)
    async with Client(environment.url, environment.account, identity) as client:
        yield client


async def test_a_reader_uses_a_credential_that_he_can_not_see(reader: Client) -> None:
    assert (await reader.reveal("account.guarded")).reveal() == VALUE
    with pytest.raises(PrivySealError):
        await reader.reveal("account.key")


async def test_a_credential_that_is_rotated_or_revised_meanwhile_stops_nobody(reader: Client, admin: Client) -> None:
    assert (await reader.reveal("account.guarded")).reveal() == VALUE
    await admin.store("account.key", b"another/K7MDENG/bPxRfiCYEXAMPLEKEY123456")
    assert (await reader.reveal("account.guarded")).reveal() == VALUE
    await admin.store("account.key", b"another/K7MDENG/bPxRfiCYEXAMPLEKEY123456", description="rotated today")
    assert (await reader.reveal("account.guarded")).reveal() == VALUE


async def test_a_connector_that_comes_to_name_another_credential_stops_nobody(reader: Client, admin: Client) -> None:
    assert (await reader.reveal("account.guarded")).reveal() == VALUE
    await admin.store("account.other_key", b"another/K7MDENG/bPxRfiCYEXAMPLEKEY123456")
    text = (await admin.connectors.text((await admin.connectors.find("account.kms")).document)).replace(
        "account.key\n", "account.other_key\n"
    )
    assert "account.other_key" in text
    await admin.connectors.apply(await admin.connectors.plan(parse(text.encode(), "a file")))
    assert (await reader.reveal("account.guarded")).reveal() == VALUE


async def test_a_connector_whose_signer_may_no_longer_use_its_credential_says_which(
    environment: DevEnvironment, admin: Client
) -> None:
    identity = Identity.from_seed(new_id().encode()[:26].ljust(32, b"y"))
    editor_ = Principal("editor", identity.key, "person")
    await admin.grants.add(editor_, ["edit", "view"], ACCOUNT_SCOPE)
    using = await admin.grants.add(editor_, ["use"], ACCOUNT_SCOPE)
    async with Client(environment.url, environment.account, identity) as editor:
        text = await admin.connectors.text((await admin.connectors.find("account.kms")).document)
        text = text.replace("name: kms\n", "name: kms of the editor\n").replace(
            "identifier: kms\n", "identifier: theirs\n"
        )
        await editor.connectors.apply(await editor.connectors.plan(parse(text.encode(), "a file")))
    await admin.store("account.theirs", VALUE, connector="account.theirs")
    assert (await admin.reveal("account.theirs")).reveal() == VALUE
    await admin.grants.revoke(using.document.id, adopt=False)
    with pytest.raises(Denied) as caught:
        await admin.reveal("account.theirs")
    assert "the connector theirs" in caught.value.detail
    assert "may not use" in caught.value.detail
