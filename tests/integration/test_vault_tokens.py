"""A connector's token at Vault: one login for many, renewed while it is used, replaced when it is gone, revoked when done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, NotReady
from tests.fakes.vault import StandIn, VaultWorld, answer, granted, refusal
from tests.servers.openbao import OpenBao

ENGINE = "two"
RULES = f"""
path "{ENGINE}/data/*" {{ capabilities = ["create", "read", "update"] }}
path "{ENGINE}/metadata/*" {{ capabilities = ["delete"] }}
"""
PATIENCE = 45.0


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("kv", path=ENGINE, options={"version": "2"})
        server.root.sys.create_or_update_policy("own", RULES)
        yield server


@pytest_asyncio.fixture
async def vaults(bao: OpenBao) -> AsyncIterator[VaultWorld]:
    world = VaultWorld(bao.address, secretEngineName=ENGINE)
    yield world
    await world.close()


class Logins:
    """An AppRole of its own, and the tokens that it gave."""

    def __init__(self, bao: OpenBao, **role: Any) -> None:
        self._bao = bao
        self.mount = bao.auth("approle")
        bao.root.adapter.post(f"/v1/auth/{self.mount}/role/app", json={"token_policies": "own", **role})
        role_id = bao.root.adapter.get(f"/v1/auth/{self.mount}/role/app/role-id")["data"]["role_id"]
        secret_id = bao.root.adapter.post(f"/v1/auth/{self.mount}/role/app/secret-id")["data"]["secret_id"]
        self.spec = {"appRoleId": role_id, "appRolePath": self.mount, "secretId": "account.sid"}
        self.credentials = {"account.sid": secret_id}

    def manager(self, vaults: VaultWorld, **spec: Any) -> Any:
        return vaults.manager(credentials=self.credentials, **self.spec, **spec)

    def living(self) -> list[dict[str, Any]]:
        """What Vault knows of the tokens of this role that hold."""
        accessors = self._bao.root.adapter.list("/v1/auth/token/accessors")["data"]["keys"]
        found = []
        for one in accessors:
            try:
                told = self._bao.root.adapter.post("/v1/auth/token/lookup-accessor", json={"accessor": one})["data"]
            except Exception as error:  # noqa: BLE001 (the library's own: it ended meanwhile)
                assert type(error).__name__ in {"Forbidden", "InvalidPath", "InvalidRequest"}
                continue
            if told["path"] == f"auth/{self.mount}/login":
                found.append(told)
        return found


async def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "it didn't come to that"
        await asyncio.sleep(0.05)


async def test_many_uses_at_once_log_in_once_and_the_token_is_revoked_in_the_end(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    logins = Logins(bao)
    manager = logins.manager(vaults)
    await asyncio.gather(*(manager.store(vaults.version(f"s{at}"), Plaintext(b"v")) for at in range(20)))
    assert len(logins.living()) == 1
    await manager.close()
    assert logins.living() == []
    await manager.close()


async def test_a_token_that_is_not_kept_is_revoked_after_each_use(bao: OpenBao, vaults: VaultWorld) -> None:
    logins = Logins(bao)
    manager = logins.manager(vaults, renewAppRoleToken=False, enableCache=False)
    await manager.store(vaults.version(), Plaintext(b"v"))
    assert logins.living() == []
    kept = logins.manager(vaults, renewAppRoleToken=True, enableCache=False)
    await kept.check()
    assert len(logins.living()) == 1
    cached = logins.manager(vaults, renewAppRoleToken=False, enableCache=True)
    await cached.check()
    assert len(logins.living()) == 2


async def test_a_login_whose_token_is_gone_is_repeated_and_nobody_notices(bao: OpenBao, vaults: VaultWorld) -> None:
    logins = Logins(bao)
    manager, secret = logins.manager(vaults), vaults.version()
    stored = await manager.store(secret, Plaintext(b"v"))
    for one in logins.living():
        bao.root.adapter.post("/v1/auth/token/revoke-accessor", json={"accessor": one["accessor"]})
    found = await asyncio.gather(*(manager.fetch(secret, stored) for _ in range(10)))
    assert {one.reveal() for one in found} == {b"v"}
    assert len(logins.living()) == 1


async def test_a_right_that_is_missing_causes_no_further_login(bao: OpenBao, vaults: VaultWorld) -> None:
    logins = Logins(bao, token_policies="default")
    manager = logins.manager(vaults)
    for _ in range(3):
        with pytest.raises(Denied) as caught:
            await manager.store(vaults.version(), Plaintext(b"v"))
        assert caught.value.code == "vault_denied"
        assert f"read on {ENGINE}/data/{vaults.base}/acme.password" in caught.value.detail
    assert len(logins.living()) == 1


async def test_a_token_is_renewed_before_it_ends(bao: OpenBao, vaults: VaultWorld) -> None:
    logins = Logins(bao, token_ttl="9s", token_max_ttl="1h")
    manager = logins.manager(vaults, renewalIntervalMinutes=60)
    await manager.check()
    (began,) = logins.living()
    await until(lambda: any("last_renewal" in one for one in logins.living()))
    (later,) = logins.living()
    assert later["accessor"] == began["accessor"]
    assert later["expire_time"] > began["expire_time"]


async def test_a_token_at_its_longest_life_is_followed_by_another_login(bao: OpenBao, vaults: VaultWorld) -> None:
    logins = Logins(bao, token_ttl="5s", token_max_ttl="5s")
    manager, secret = logins.manager(vaults, renewalIntervalMinutes=60), vaults.version()
    stored = await manager.store(secret, Plaintext(b"v"))
    (first,) = logins.living()
    await until(lambda: logins.living() == [])
    assert (await manager.fetch(secret, stored)).reveal() == b"v"
    (second,) = logins.living()
    assert second["accessor"] != first["accessor"]


async def test_a_token_that_was_given_to_us_is_renewed_from_its_first_use_and_never_revoked(
    bao: OpenBao, vaults: VaultWorld
) -> None:
    token = bao.token("own", period="1h", no_parent=True)
    manager = vaults.with_token(token, renewalIntervalMinutes=60)
    await manager.check()
    await until(lambda: "last_renewal" in bao.root.auth.token.lookup(token)["data"])
    await manager.close()
    assert bao.knows(token)


async def test_an_interval_of_0_renews_nothing(bao: OpenBao, vaults: VaultWorld) -> None:
    token, logins = bao.token("own", period="1h"), Logins(bao, token_ttl="1h")
    for manager in (vaults.with_token(token), logins.manager(vaults)):
        await manager.check()
        await manager.store(vaults.version(), Plaintext(b"v"))
    assert "last_renewal" not in bao.root.auth.token.lookup(token)["data"]
    assert ["last_renewal" in one for one in logins.living()] == [False]


async def test_a_token_that_cannot_be_renewed_is_told_with_its_remedy(bao: OpenBao, vaults: VaultWorld) -> None:
    for token, what in (
        (bao.root.token, "is a root token"),
        (bao.token("own", ttl="1h", renewable=False), "can't be renewed"),
    ):
        with pytest.raises(NotReady) as caught:
            await vaults.with_token(token, renewalIntervalMinutes=1).check()
        assert caught.value.code == "vault_token_not_renewable"
        assert what in caught.value.detail
        await vaults.with_token(token, renewalIntervalMinutes=0).check()


async def test_a_given_token_that_is_gone_is_told_by_the_name_of_its_secret(bao: OpenBao, vaults: VaultWorld) -> None:
    token = bao.token("own")
    manager, secret = vaults.with_token(token), vaults.version()
    stored = await manager.store(secret, Plaintext(b"v"))
    bao.root.auth.token.revoke(token)
    with pytest.raises(NotReady) as caught:
        await manager.fetch(secret, stored)
    assert caught.value.code == "vault_token_dead"
    assert "account.token" in caught.value.detail
    assert token not in repr(caught.value.problem())


async def test_what_cannot_be_revoked_or_renewed_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    async with StandIn() as server:
        mount = answer({"type": "kv", "options": {"version": "2"}})
        server.otherwise = refusal(500, "no")
        server.answers["/v1/auth/userpass/login/u"].append(granted("hvs.from-the-login", 2, renewable=True))
        server.answers["/v1/sys/internal/ui/mounts/two"].append(mount)
        vaults = VaultWorld(server.address, secretEngineName=ENGINE, readOnly=True)
        manager = vaults.manager(
            credentials={"account.pw": "p"},
            surroundings=vaults.surroundings(randomness=bytes),
            accessType="USERPASS",
            username="u",
            password="account.pw",
            renewalIntervalMinutes=1,
        )
        await manager.check()
        await until(lambda: "/v1/auth/token/renew-self" in [path for path, _, _ in server.asked])
        await manager.close()
        assert server.asked[-1][0] == "/v1/auth/token/revoke-self"
    shown = capsys.readouterr().out
    assert "hvs.from-the-login" not in shown
