"""Direct fetch: what a connector reads without a stored secret, by expression and by URL, with a grant of exactly that path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.grants import principal_of
from client.sdk import Client
from shared.crypto.identity import Identity
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound
from shared.names import Scope
from tests.fakes.command_line import privyseal
from tests.fakes.commanded import allowing
from tests.fakes.refusal import refused
from tests.servers.openbao import OpenBao

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECTOR = """
connector:
  name: vault1
  type: Vault
  spec: {{vaultUrl: {address}, renewalIntervalMinutes: 0, authToken: account.vtoken}}
---
secret:
  name: stored
  type: SecretText
  spec: {{secretManagerIdentifier: account.vault1, valueType: Reference, value: teams/a/db#password}}
"""

NAMES = ("vault1", "vault2")
"""A connector that there is, and one that there isn't."""


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        kv = server.root.secrets.kv.v2
        kv.create_or_update_secret("teams/a/db", {"password": "old", "user": "app"}, mount_point="secret")
        kv.create_or_update_secret("teams/a/db", {"password": "hunter2", "user": "app"}, mount_point="secret")
        kv.create_or_update_secret("teams/ab/db", {"password": "of another team"}, mount_point="secret")
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(bao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    options = {"*": allowing(tmp_path_factory.mktemp("policy"))}
    async with DevEnvironment(delegates=1, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.vtoken", bao.root.token.encode())
        status, _, errors = await privyseal(running, "apply", "-f", "-", given=CONNECTOR.format(address=bao.address))
        assert (status, errors) == (0, "")
        yield running


async def somebody(environment: DevEnvironment, *permissions: str, path: str | None = None) -> Client:
    """A client of a new identity with a grant of these permissions over what `vault1` reads at `path` and below."""
    identity = Identity.generate()
    async with environment.client() as client:
        scope, resource = await client.grants.connector("account.vault1", path, Scope())
        who = principal_of("reader", identity.key, "person")
        await client.grants.add(who, cast("Any", permissions), scope, resource=resource)
        return Client(environment.url, client.account.id, identity)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("account.hashicorpvault://vault1/teams/a/db#password", b"hunter2"),
        ("hashicorpvault://vault1/teams/a/db?version=1#password", b"old"),
        ('<+secrets.getValue("account.hashicorpvault://vault1/teams/a/db#user")>', b"app"),
        ('<+secrets.getValue("hashicorpvault://vault1/teams/" + <+team.name> + "/db#user")>', b"app"),
        ('<+secrets.getValue("sto".concat("red"))>', b"hunter2"),
    ],
)
async def test_a_value_is_read_where_its_reference_says(
    environment: DevEnvironment, reference: str, value: bytes
) -> None:
    status, out, errors = await privyseal(environment, "reveal", reference, "--var", "team.name=a")
    assert (status, out.encode(), errors) == (0, value, "")


async def test_stored_secrets_and_what_is_fetched_directly_come_together(environment: DevEnvironment) -> None:
    references = ["stored", "hashicorpvault://vault1/teams/ab/db#password", "nowhere", "hashicorpvault://vault2/a#b"]
    async with environment.client() as client:
        first, second, third, fourth = await client.reveal_all(references)
    assert (first, second) == (Plaintext(b"hunter2"), Plaintext(b"of another team"))
    assert isinstance(third, NotFound)
    assert isinstance(fourth, NotFound)


async def test_more_paths_than_the_audit_names_at_once_are_asked_for_in_several_tasks(
    environment: DevEnvironment,
) -> None:
    references = [f"hashicorpvault://vault1/{n}{'x' * 1_500}" for n in range(60)]
    async with environment.client() as client:
        items = await client.reveal_all([*references, "hashicorpvault://vault1/teams/a/db#user"])
    assert [getattr(one, "code", "") for one in items[:-1]] == ["vault_missing"] * 60
    assert items[-1] == Plaintext(b"app")


async def test_a_connector_that_reads_many_values_is_asked_for_once(
    environment: DevEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = [f"hashicorpvault://{name}/teams/a/db#{key}" for key in ("password", "user") for name in NAMES]
    asked: list[tuple[str, Any]] = []
    async with environment.client() as client:
        ask = client.account.ask

        async def heard(method: str, path: str, **arguments: Any) -> Any:
            asked.append((path, arguments.get("json")))
            return await ask(method, path, **arguments)

        monkeypatch.setattr(client.account, "ask", heard)
        items = await client.reveal_all(references)
    assert [type(one) for one in items] == [Plaintext, NotFound] * 2
    wanted = [{"secrets": [], "connectors": [{"scope": "account", "identifier": name}]} for name in NAMES]
    assert [body for path, body in asked if path == "resolve"] == wanted


async def test_a_command_gets_what_is_fetched_directly_and_it_is_masked(environment: DevEnvironment) -> None:
    secret = "PASSWORD=hashicorpvault://vault1/teams/a/db#password"
    status, out, _ = await privyseal(
        environment, "exec", "--secret", secret, "--", "sh", "-c", 'echo "${#PASSWORD} $PASSWORD"'
    )
    assert status == 0
    assert out.startswith("7 ***")
    assert "hunter2" not in out


async def test_a_grant_of_a_path_is_for_that_path_and_below_it(environment: DevEnvironment) -> None:
    reader = await somebody(environment, "fetch", "reveal", path="teams/a")
    async with reader as client:
        assert await client.reveal("hashicorpvault://vault1/teams/a/db#user") == Plaintext(b"app")
        for other in ("teams/ab/db", "teams", "teams/A/db"):
            with refused(Denied, "grant_missing"):
                await client.reveal(f"hashicorpvault://vault1/{other}#password")
        # What stands for a value of ours takes a grant over that.
        with pytest.raises((Denied, NotFound)):
            await client.reveal("stored")


@pytest.mark.parametrize("permissions", [("reveal",), ("fetch",), ("reveal", "use", "edit", "view")])
async def test_neither_reveal_nor_fetch_alone_lets_a_connector_read(
    environment: DevEnvironment, permissions: tuple[str, ...]
) -> None:
    reader = await somebody(environment, *permissions)
    async with reader as client:
        with refused(Denied, "grant_missing"):
            await client.reveal("hashicorpvault://vault1/teams/a/db#user")


@pytest.mark.parametrize(
    "path",
    ["teams/a/../ab/db", "teams//a/db", "/teams/a/db", "teams/a/db/", "teams/a/%2e%2e/ab/db", "teams\\a\\db", "."],
)
async def test_a_path_that_climbs_is_refused_before_anything_is_sent(environment: DevEnvironment, path: str) -> None:
    async with environment.client() as client:
        with refused(Malformed, "reference_malformed"):
            await client.reveal(f"hashicorpvault://vault1/{path}")


async def test_a_reference_of_another_type_or_key_is_refused(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        with refused(Malformed, "connector_type_differs"):
            await client.reveal("azurevault://vault1/name")
        with refused(NotFound, "key_missing"):
            await client.reveal("hashicorpvault://vault1/teams/a/db#nothing")
