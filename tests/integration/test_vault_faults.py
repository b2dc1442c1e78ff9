"""What goes wrong at Vault or on the way to it: each failure has its error, gives its place back and repeats no value."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from delegate.credentials.vault_http import CONNECTIONS
from delegate.secret_managers.interface import SecretManager
from shared.crypto.plaintext import Plaintext
from shared.errors import (
    Conflict,
    Denied,
    Malformed,
    NotFound,
    NotReady,
    Overloaded,
    PrivySealError,
    Unavailable,
)
from shared.values import Stored
from tests.fakes.authority import Authority
from tests.fakes.vault import Answering, StandIn, VaultWorld, answer, never, refusal
from tests.servers.openbao import OpenBao

TOKEN = "s.token-that-is-never-shown"
VALUE = b"correct horse battery staple"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[StandIn]:
    async with StandIn() as one:
        yield one


def manager(server: StandIn, **changes: Any) -> tuple[VaultWorld, SecretManager]:
    vaults = VaultWorld(server.address)
    # A lot that always falls on nothing: no pauses between tries.
    surroundings = vaults.surroundings(**{"randomness": bytes, "call_seconds": 5.0, **changes})
    return vaults, vaults.manager(
        credentials={"account.token": TOKEN}, surroundings=surroundings, authToken="account.token"
    )


async def raised(server: StandIn, **changes: Any) -> PrivySealError:
    vaults, one = manager(server, **changes)
    with pytest.raises(PrivySealError) as caught:
        await one.store(vaults.version(), Plaintext(VALUE))
    await vaults.close()
    told = repr(caught.value.problem())
    assert VALUE.decode() not in told
    assert TOKEN not in told
    return caught.value


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        (refusal(400, "secret words"), Malformed, "vault_invalid"),
        (refusal(404, 'no handler for route "a"'), NotFound, "vault_engine_missing"),
        (refusal(405, "unsupported operation"), NotReady, "vault_unsupported"),
        (refusal(412, "required index state not present"), Unavailable, "vault_behind"),
        (refusal(413, "http: request body too large"), Malformed, "value_too_large"),
        (refusal(418, "teapot"), Denied, "vault_refused"),
        (refusal(429, "request path is rate limited"), Overloaded, "vault_throttled"),
        (refusal(472), Unavailable, "vault_standby"),
        (refusal(473), Unavailable, "vault_standby"),
        (refusal(500, "1 error occurred: boom"), Unavailable, "vault_unavailable"),
        (refusal(500, "put failed due to value being too large"), Malformed, "value_too_large"),
        (refusal(500, "local node not active but active cluster node not found"), Unavailable, "vault_standby"),
        (refusal(501, "Vault is not initialized"), NotReady, "vault_uninitialised"),
        (refusal(502, "bad gateway"), Unavailable, "vault_unavailable"),
        (refusal(503, "Vault is sealed"), Unavailable, "vault_sealed"),
        (refusal(503), Unavailable, "vault_sealed"),
        (answer("not an object"), Unavailable, "vault_garbled"),
        (answer({"data": [1], "metadata": {"version": 1}}), Unavailable, "vault_garbled"),
        (answer({"data": {}, "metadata": {"version": "x"}}), Unavailable, "vault_garbled"),
    ],
)
async def test_each_refusal_of_vault_has_its_error(
    server: StandIn, given: Answering, error: type[PrivySealError], code: str
) -> None:
    server.otherwise = given
    why = await raised(server)
    assert (type(why), why.code) == (error, code)
    assert why.hint
    assert "secret words" not in repr(why.problem())
    assert len(server.asked) == (3 if error in {Unavailable, Overloaded} and code != "vault_garbled" else 1)


async def test_what_fails_twice_and_then_works_has_worked(server: StandIn) -> None:
    vaults, one = manager(server)
    path = f"/v1/secret/data/{vaults.base}/acme.password"
    server.answers[path].extend([refusal(500), refusal(503)])
    server.answers[path].append(refusal(404))
    server.answers[path].append(answer({"version": 1}))
    await one.store(vaults.version(), Plaintext(VALUE))
    assert [body is not None for _, _, body in server.asked] == [False, False, False, True]
    await vaults.close()


async def test_an_answer_that_was_lost_does_not_write_twice(server: StandIn) -> None:
    vaults, one = manager(server)
    secret = vaults.version()
    path = f"/v1/secret/data/{vaults.base}/acme.password"
    written: dict[str, Any] = {}

    async def lost(request: web.Request) -> web.StreamResponse:
        written.update((await request.json())["data"])
        return await refusal(502)(request)

    async def there(request: web.Request) -> web.StreamResponse:
        return await answer({"data": written, "metadata": {"version": 1}})(request)

    server.answers[path].extend(
        [refusal(404), lost, refusal(400, "check-and-set parameter did not match the current version"), there]
    )
    stored = await one.store(secret, Plaintext(VALUE))
    assert len(server.asked) == 4
    server.answers[path].append(there)
    assert (await one.fetch(secret, stored)).reveal() == VALUE
    await vaults.close()


async def test_a_race_that_never_ends_is_a_conflict(server: StandIn) -> None:
    vaults, one = manager(server)
    for _ in range(4):
        server.answers[f"/v1/secret/data/{vaults.base}/acme.password"].extend(
            [refusal(404), refusal(400, "check-and-set parameter did not match the current version")]
        )
    with pytest.raises(Conflict) as caught:
        await one.store(vaults.version(), Plaintext(VALUE))
    assert caught.value.code == "vault_changed"
    await vaults.close()


async def test_a_redirect_is_not_followed(server: StandIn) -> None:
    async with StandIn() as elsewhere:

        async def redirect(request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": elsewhere.address + request.path})

        server.otherwise = redirect
        why = await raised(server)
        assert (type(why), why.code) == (Unavailable, "vault_standby")
        assert elsewhere.asked == []


@pytest.mark.parametrize("place", ["http://[", "http://\xff\xfe/", "https://a:b:c/", "//", ""])
async def test_a_redirect_to_nowhere_is_one_too(server: StandIn, place: str) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": place})

    server.otherwise = redirect
    assert (await raised(server)).code in {"vault_standby", "vault_garbled"}


async def test_a_slow_vault_is_given_up_in_time_and_the_places_are_free_again(server: StandIn) -> None:
    server.otherwise = never
    vaults, one = manager(server, call_seconds=1.5)
    began = time.monotonic()
    slow = await asyncio.gather(
        *(one.store(vaults.version(f"s{at}"), Plaintext(VALUE)) for at in range(2 * CONNECTIONS)),
        return_exceptions=True,
    )
    assert {getattr(why, "code", why) for why in slow} == {"vault_slow"}
    assert time.monotonic() - began < 60
    server.otherwise = refusal(400)
    with pytest.raises(Malformed):
        await one.store(vaults.version(), Plaintext(VALUE))
    await vaults.close()


async def test_an_answer_that_trickles_is_given_up_in_time(server: StandIn) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    server.otherwise = trickle
    assert (await raised(server, call_seconds=0.3)).code == "vault_slow"


@pytest.mark.parametrize(
    "auth",
    [
        {"client_token": "hvs.x", "lease_duration": 10**400},
        {"client_token": "hvs.x", "lease_duration": -1},
        {"client_token": "hvs.\r\nX-Other: header"},
        {"client_token": "hvs.\u20ac\u200b"},
        {"client_token": "s" * 1_000_000},
        {"client_token": " "},
        {"client_token": ["hvs.x"]},
    ],
    ids=["lease without end", "lease of the past", "two lines", "no ASCII", "long", "blank", "list"],
)
async def test_a_login_that_gives_nonsense_is_told_to_be_none_of_vaults(server: StandIn, auth: dict[str, Any]) -> None:
    vaults = VaultWorld(server.address)
    surroundings = vaults.surroundings(randomness=bytes, call_seconds=5.0)
    one = vaults.manager(
        credentials={"account.sid": "s"}, surroundings=surroundings, appRoleId="r", secretId="account.sid"
    )
    server.otherwise = answer(auth=auth)
    with pytest.raises(PrivySealError) as caught:
        await one.store(vaults.version(), Plaintext(VALUE))
    assert caught.value.code == "vault_garbled"
    assert {path for path, _, _ in server.asked} == {"/v1/auth/approle/login"}
    await vaults.close()


@pytest.mark.parametrize(
    "given",
    [
        {"data": {"value": "x"}, "metadata": {"version": 10**300}},
        {"data": {"value": "x"}, "metadata": {"version": -1}},
        {"data": {"value": "x", "privyseal-version": "9" * 5_000 + "/x"}, "metadata": {"version": 1}},
    ],
    ids=["a version without end", "a version below all", "a number in the entry without end"],
)
async def test_numbers_that_no_vault_has_are_an_error_and_no_crash(server: StandIn, given: dict[str, Any]) -> None:
    server.otherwise = answer(given)
    assert (await raised(server)).code in {"vault_garbled", "origin_foreign"}


async def test_what_a_server_calls_its_engines_is_shown_only_as_far_as_it_is_a_path(server: StandIn) -> None:
    kv = {"type": "kv", "options": {"version": "2"}}
    names = ("kv/", "team a/kv/", "\x1b[2J/", "line\nline/", "x" * 2_000, "../up/", "\u202egnp.exe/")
    server.answers["/v1/sys/internal/ui/mounts"].append(answer({"secret": dict.fromkeys(names, kv)}))
    vaults, one = manager(server)
    with pytest.raises(NotFound) as caught:
        await one.check()
    assert caught.value.facts == {"engines": ["kv (version 2)", "team a/kv (version 2)"]}
    assert caught.value.hint.isprintable()
    await vaults.close()


async def test_headers_that_trickle_hold_no_thread_beyond_their_time() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        with closing(writer), suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as listening:
        vaults = VaultWorld(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        surroundings = vaults.surroundings(randomness=bytes, call_seconds=0.3)
        one = vaults.manager(credentials={"account.t": TOKEN}, surroundings=surroundings, authToken="account.t")
        with pytest.raises(Unavailable) as caught:
            await one.store(vaults.version(), Plaintext(VALUE))
        assert caught.value.code == "vault_slow"
        await vaults.close()
        ends = time.monotonic() + 30
        while any(each.name.startswith("vault") for each in threading.enumerate()):
            assert time.monotonic() < ends, "a thread still reads"
            await asyncio.sleep(0.02)


async def test_an_answer_without_end_is_cut_off(server: StandIn) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 1_048_576)

    server.otherwise = flood
    assert (await raised(server)).code == "value_too_large"


async def test_an_answer_that_breaks_off_is_told_to_be_unreachable(server: StandIn) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return response

    server.otherwise = breaks
    assert (await raised(server)).code == "vault_unreachable"


async def test_a_page_of_html_is_told_to_be_none_of_vaults(server: StandIn) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>sign in</html>", content_type="text/html")

    server.otherwise = page
    assert (await raised(server)).code == "vault_garbled"

    async def lost(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>not here</html>", content_type="text/html", status=404)

    server.otherwise = lost
    vaults, one = manager(server)
    with pytest.raises(NotFound):
        await one.fetch(vaults.version("referred", reference="app#key"), await reference_made(server, vaults, one))
    await vaults.close()


async def reference_made(server: StandIn, vaults: VaultWorld, one: SecretManager) -> Stored:
    path = "/v1/secret/data/app"
    server.answers[path].append(answer({"data": {"key": "v"}, "metadata": {"version": 1}}))
    return await one.store(vaults.version("referred", reference="app#key"), Plaintext(b""))


async def test_nobody_at_that_address_is_told_to_be_unreachable(server: StandIn) -> None:
    server.address = "http://127.0.0.1:1"
    assert (await raised(server)).code == "vault_unreachable"


async def test_a_proxy_of_the_environment_is_used_and_its_refusal_told(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", server.address)
    vaults = VaultWorld("https://vault.example:8200")
    one = vaults.manager(
        credentials={"account.token": TOKEN},
        surroundings=vaults.surroundings(randomness=bytes),
        authToken="account.token",
    )
    with pytest.raises(Unavailable) as caught:
        await one.check()
    assert caught.value.code == "vault_unreachable"
    assert "proxy" in caught.value.detail
    await vaults.close()


async def test_a_certificate_of_another_name_is_not_taken(tmp_path: Path) -> None:
    authority = Authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, content in zip(("key", "certificate"), authority.issue("other.example"), strict=True):
        (tmp_path / name).write_bytes(content)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    async with StandIn(context) as server:
        vaults = VaultWorld(server.address, caCertificate=authority.certificate.decode())
        with pytest.raises(Unavailable) as caught:
            await vaults.with_token(TOKEN).check()
        assert caught.value.code == "vault_untrusted"
        assert server.asked == []
        await vaults.close()


async def test_a_sealed_vault_is_told_and_works_again_when_it_is_unsealed() -> None:
    with OpenBao() as bao:
        bao.root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        vaults = VaultWorld(bao.address)
        one = vaults.manager(
            credentials={"account.token": bao.root.token},
            surroundings=vaults.surroundings(randomness=bytes),
            authToken="account.token",
        )
        secret = vaults.version()
        stored = await one.store(secret, Plaintext(VALUE))
        bao.seal()
        with pytest.raises(Unavailable) as caught:
            await one.fetch(secret, stored)
        assert caught.value.code == "vault_sealed"
        bao.unseal()
        assert (await one.fetch(secret, stored)).reveal() == VALUE
        await vaults.close()
