"""Azure Key Vault with everything in between: YAML applied, a credential from the built-in manager, ID tokens, a real delegate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, NotFound
from tests.servers.azure import CLIENT, CLIENT_SECRET, TENANT, VAULT, Azure

CONNECTORS = f"""
connector:
  name: secrets of azure
  identifier: kv
  type: AzureKeyVault
  spec:
    vaultName: {VAULT}
    tenantId: {TENANT}
    clientId: {CLIENT}
    secretKey: account.azureKey
    enablePurge: true
---
connector:
  name: key of azure
  identifier: kvkey
  type: AzureKeyVaultKey
  spec:
    vaultName: {VAULT}
    tenantId: {TENANT}
    clientId: {CLIENT}
    secretKey: account.azureKey
    keyName: main
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def azure() -> Iterator[Azure]:
    with Azure() as one, pytest.MonkeyPatch.context() as variables:
        one.vault.add_key("main")
        variables.setenv("SSL_CERT_FILE", str(one.authority))
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(azure: Azure) -> AsyncIterator[Client]:
    options = {"*": ["--azure-endpoints", azure.endpoints]}
    async with DevEnvironment(delegates=1, delegate_options=options) as environment, environment.client() as one:
        await one.store("account.azureKey", CLIENT_SECRET.encode())
        await one.connectors.apply(await one.connectors.plan(parse(CONNECTORS.encode(), "here")))
        yield one


async def test_the_connection_tests_pass(client: Client) -> None:
    assert await client.connectors.test("account.kv")
    assert await client.connectors.test("account.kvkey")


async def test_a_value_is_stored_read_by_version_and_deleted_in_the_vault(client: Client, azure: Azure) -> None:
    for value in (b"old", b"new"):
        await client.store("account.my_Db", value, connector="account.kv")
    assert azure.vault.newest("my---db").value == "new"
    assert await client.reveal("account.my_Db") == Plaintext(b"new")
    assert await client.reveal("account.my_Db", version=1) == Plaintext(b"old")
    await client.delete("account.my_Db")
    assert "my---db" not in {**azure.vault.secrets, **azure.vault.deleted}
    await client.store("account.my_Db", b"again", connector="account.kv")
    assert await client.reveal("account.my_Db") == Plaintext(b"again")


async def test_an_existing_secret_is_referred_to_and_outlives_the_reference(client: Client, azure: Azure) -> None:
    azure.vault.put("prod-db", '{"user": {"name": "sa"}}')
    with pytest.raises(NotFound):
        await client.store("account.nowhere", b"", connector="account.kv", refers_to="nowhere")
    await client.store("account.prodUser", b"", connector="account.kv", refers_to="prod-db#user.name")
    assert await client.reveal("account.prodUser") == Plaintext(b"sa")
    await client.delete("account.prodUser")
    assert azure.vault.newest("prod-db").value == '{"user": {"name": "sa"}}'


async def test_a_key_of_the_vault_wraps_what_the_manager_keeps(client: Client, azure: Azure) -> None:
    await client.store("account.wrapped", b"hunter2" * 10_000, connector="account.kvkey")
    assert await client.reveal("account.wrapped") == Plaintext(b"hunter2" * 10_000)
    assert not any("hunter2" in one.value for versions in azure.vault.secrets.values() for one in versions)


async def test_what_others_keep_under_that_name_stays(client: Client, azure: Azure) -> None:
    azure.vault.put("theirs", "theirs")
    with pytest.raises(Conflict):
        await client.store("account.theirs", b"ours", connector="account.kv")
    assert azure.vault.newest("theirs").value == "theirs"
