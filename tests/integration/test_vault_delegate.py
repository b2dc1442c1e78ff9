"""Vault from today's YAML to a revealed value: a real manager, a real delegate, a real server, a credential held elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from shared.errors import PrivySealError
from tests.fakes.command_line import privyseal
from tests.servers.openbao import OpenBao

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = b"correct horse battery staple"
CONNECTORS = """
connector:
  name: vault
  type: Vault
  spec:
    vaultUrl: {address}
    renewalIntervalMinutes: 60
    accessType: APP_ROLE
    appRoleId: {role_id}
    secretId: account.vsid
---
connector:
  name: transit
  type: VaultTransit
  spec:
    vaultUrl: {address}
    renewalIntervalMinutes: 0
    keyName: payments
    authToken: account.vtoken
"""


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        server.root.sys.enable_secrets_engine("transit")
        server.root.secrets.transit.create_key("payments")
        server.root.sys.enable_auth_method("approle")
        rules = 'path "secret/*" { capabilities = ["create", "read", "update", "delete"] }'
        role = {"token_policies": server.policy(rules)}
        server.root.adapter.post("/v1/auth/approle/role/app", json=role)
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(bao: OpenBao) -> AsyncIterator[DevEnvironment]:
    secret_id = bao.root.adapter.post("/v1/auth/approle/role/app/secret-id")["data"]["secret_id"]
    role_id = bao.root.adapter.get("/v1/auth/approle/role/app/role-id")["data"]["role_id"]
    async with DevEnvironment(delegates=1) as running:
        async with running.client() as client:
            await client.store("account.vsid", secret_id.encode())
            await client.store("account.vtoken", bao.root.token.encode())
        status, _, errors = await privyseal(
            running, "apply", "-f", "-", given=CONNECTORS.format(address=bao.address, role_id=role_id)
        )
        assert (status, errors) == (0, "")
        yield running


@pytest.mark.parametrize("name", ["vault", "transit"])
async def test_a_connector_from_yaml_is_tested_by_a_delegate_and_keeps_values(
    environment: DevEnvironment, bao: OpenBao, name: str
) -> None:
    status, out, errors = await privyseal(environment, "connector", "test", name)
    assert (status, errors) == (0, "")
    assert out
    async with environment.client() as client:
        await client.store(f"account.in_{name}", VALUE, connector=f"account.{name}")
        await client.store(f"account.in_{name}", VALUE + b"!")
        assert (await client.reveal(f"account.in_{name}")).reveal() == VALUE + b"!"
        assert (await client.reveal(f"account.in_{name}", version=1)).reveal() == VALUE


async def test_an_existing_entry_is_referred_to_and_stays_when_the_secret_goes(
    environment: DevEnvironment, bao: OpenBao
) -> None:
    kv = bao.root.secrets.kv.v2
    kv.create_or_update_secret("app/db", {"password": VALUE.decode()})
    async with environment.client() as client:
        await client.store("account.referred", b"", connector="account.vault", refers_to="app/db#password")
        assert (await client.reveal("account.referred")).reveal() == VALUE
        kv.create_or_update_secret("app/db", {"password": "rotated"})
        assert (await client.reveal("account.referred")).reveal() == b"rotated"
        await client.delete("account.referred")
    assert kv.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"password": "rotated"}


async def test_a_deleted_secret_is_gone_at_vault_too(environment: DevEnvironment, bao: OpenBao) -> None:
    async with environment.client() as client:
        await client.store("account.doomed", VALUE, connector="account.vault")
        assert "doomed" in bao.root.secrets.kv.v2.list_secrets("harness")["data"]["keys"]
        await client.delete("account.doomed")
        with pytest.raises(PrivySealError):
            await client.reveal("account.doomed")
    try:
        left = bao.root.secrets.kv.v2.list_secrets("harness")["data"]["keys"]
    except Exception as error:  # noqa: BLE001 (the library's own, for an empty folder)
        assert type(error).__name__ == "InvalidPath"
        left = []
    assert "doomed" not in left


async def test_neither_values_nor_tokens_are_in_what_the_programs_wrote(
    environment: DevEnvironment, bao: OpenBao
) -> None:
    async with environment.client() as client:
        await client.store("account.canary", VALUE, connector="account.vault")
        await client.reveal("account.canary")
    written = b"".join(path.read_bytes() for path in environment.home.root.rglob("*") if path.is_file())
    assert written
    assert VALUE not in written
    assert bao.root.token.encode() not in written
