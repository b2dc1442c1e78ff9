"""Azure Key Vault when Azure refuses, throttles, hangs, answers nonsense, or leads elsewhere; what is called and what is told."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotReady, Overloaded, PrivySealError, Unavailable
from tests.fakes.azure import Stage
from tests.servers.azure import CLIENT_SECRET, Azure


@pytest_asyncio.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("delegate.tries.Tries.pause", lambda *_: 0.0)
    with Azure() as azure:
        monkeypatch.setenv("SSL_CERT_FILE", str(azure.authority))
        made = Stage(azure)
        yield made
        await made.close()


def told(code: str, inner: str = "", message: str = "the value is hunter2") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}}


REFUSALS: list[tuple[int, Any, type[PrivySealError], str]] = [
    (403, told("Forbidden", "ForbiddenByRbac"), Denied, "azure_denied"),
    (403, told("Forbidden", "ForbiddenByPolicy"), Denied, "azure_denied"),
    (403, told("Forbidden", "AccessDenied"), Denied, "azure_denied"),
    (403, told("Forbidden"), Denied, "azure_denied"),
    (403, told("Forbidden", "ForbiddenByFirewall"), Denied, "azure_network_denied"),
    (403, told("Forbidden", "ForbiddenByConnection"), Denied, "azure_network_denied"),
    (403, told("Forbidden", "SecretDisabled"), NotReady, "azure_disabled"),
    (404, told("SomethingElse"), Denied, "azure_refused"),
    (400, told("BadParameter"), Malformed, "azure_invalid"),
    (409, told("Conflict", "ObjectIsBeingDeleted"), Unavailable, "secret_changing"),
    (409, told("Conflict", "ObjectIsBeingRecovered"), Unavailable, "secret_changing"),
    (418, told("../../etc {who}"), Denied, "azure_refused"),
    (429, told("Throttled"), Overloaded, "azure_throttled"),
    (429, "a proxy's page", Overloaded, "azure_throttled"),
    (500, told("InternalServerError"), Unavailable, "azure_unavailable"),
    (502, "<html>hunter2</html>", Unavailable, "azure_unavailable"),
    (503, told("ServiceUnavailable"), Unavailable, "azure_unavailable"),
    (200, "no secret at all", Unavailable, "azure_garbled"),
    (200, {"value": "hunter2", "id": "https://privyseal-test.vault.azure.net/secrets/other/" + "0" * 32}, Unavailable,
     "azure_garbled"),
    (200, {"value": "hunter2", "id": "nowhere"}, Unavailable, "azure_garbled"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "code"), REFUSALS)
async def test_each_refusal_has_its_reaction_and_repeats_nothing(
    stage: Stage, status: int, body: Any, kind: type[PrivySealError], code: str
) -> None:
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.fail("/secrets/", status, body, times=3)
    with pytest.raises(PrivySealError) as caught:
        await manager.fetch(stage.version(), stored)
    assert (type(caught.value), caught.value.code) == (kind, code)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problem())
    assert "hunter2" not in shown
    assert CLIENT_SECRET not in shown
    assert not re.search(r"\{(right|about|who|word)\}|etc", caught.value.detail + caught.value.hint)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_three_times(stage: Stage, status: int) -> None:
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.fail("/secrets/", status, times=2, Retry_After="0")
    assert (await manager.fetch(stage.version(), stored)).reveal() == b"x"
    stage.azure.fail("/secrets/", status, times=3, Retry_After="60")
    async with asyncio.timeout(30):
        with pytest.raises((Overloaded, Unavailable)):
            await manager.fetch(stage.version(), stored)
    assert sum(fault.times for fault in stage.azure.faults) == 0


async def test_what_is_slow_is_ended_and_its_place_is_free_again(stage: Stage) -> None:
    manager = stage.manager(stage.surroundings(seconds=3.0))
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.fail("/secrets/", 503, times=3, hangs=True)
    with pytest.raises(Unavailable) as caught:
        await manager.fetch(stage.version(), stored)
    assert caught.value.code == "azure_slow"
    stage.azure.released.set()
    values = await asyncio.gather(*(manager.fetch(stage.version(), stored) for _ in range(2 * manager.concurrency)))
    assert {value.reveal() for value in values} == {b"x"}


async def test_a_token_that_the_vault_no_longer_takes_is_asked_for_anew(stage: Stage) -> None:
    manager = stage.manager()
    stored = await manager.store(stage.version(), Plaintext(b"x"))
    stage.azure.entra.tokens.clear()
    assert (await manager.fetch(stage.version(), stored)).reveal() == b"x"
    assert len(stage.azure.entra.tokens) == 1


async def test_a_vault_that_takes_no_token_says_so_in_the_end(stage: Stage) -> None:
    stage.azure.fail("/secrets/", 401, told("Unauthorized"), times=100, WWW_Authenticate=stage.azure.challenge)
    with pytest.raises(Denied) as caught:
        await stage.manager().check()
    assert caught.value.code == "azure_unauthenticated"


async def test_of_many_who_wait_for_a_token_one_asks(stage: Stage) -> None:
    manager = stage.manager()
    await asyncio.gather(*(manager.check() for _ in range(20)))
    assert len(stage.azure.entra.tokens) == 1


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer authorization="https://login.microsoftonline.com/{0}", resource="https://management.azure.com"',
        'Bearer authorization="https://login.microsoftonline.com/{0}", resource="https://azure.net"',
        'Bearer authorization="https://evil.example/{0}", resource="https://evil.example"',
        'Bearer authorization="https://login.microsoftonline.com/{0}", scope="https://graph.microsoft.com/.default"',
    ],
)
async def test_a_challenge_gets_no_token_for_anything_but_key_vault(stage: Stage, challenge: str) -> None:
    stage.azure.challenge = challenge.format(stage.azure.vault.tenant)
    stage.azure.vault.name = "another-vault"
    with pytest.raises(Denied) as caught:
        await stage.manager().check()
    assert caught.value.code == "azure_challenge_foreign"
    assert stage.azure.entra.tokens == {}


async def test_a_challenge_leads_to_no_other_authority(stage: Stage) -> None:
    stage.azure.vault.name = "led-astray"
    tenant = stage.azure.vault.tenant
    stage.azure.challenge = f'Bearer authorization="https://evil.example/{tenant}", resource="https://vault.azure.net"'
    await stage.manager().check()
    assert len(stage.azure.entra.tokens) == 1


async def test_a_vault_of_another_tenant_is_told(stage: Stage) -> None:
    stage.azure.vault.name = "others-vault"
    other = "99999999-86f1-41af-91ab-2d7cd011db47"
    stage.azure.challenge = (
        f'Bearer authorization="https://login.microsoftonline.com/{other}", resource="https://vault.azure.net"'
    )
    with pytest.raises(Denied) as caught:
        await stage.manager().check()
    assert caught.value.code == "azure_tenant_other"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(stage: Stage, status: int) -> None:
    manager = stage.manager()
    await manager.check()
    stage.azure.fail("/secrets/", status, Location=f"{stage.azure.url}/elsewhere")
    with pytest.raises(Denied) as caught:
        await manager.check()
    assert caught.value.code == "azure_redirected"
    assert stage.azure.calls("/elsewhere") == []


async def test_a_further_page_is_not_looked_for_elsewhere(stage: Stage) -> None:
    manager = stage.manager()
    await manager.store(stage.version(), Plaintext(b"x"))
    await manager.store(stage.version(n=2), Plaintext(b"y"))
    stage.azure.fail(
        "/secrets/acme-0db/versions", 200, {"value": [], "nextLink": "https://evil.example/secrets/x/versions"}
    )
    with pytest.raises(Denied) as caught:
        await manager.store(stage.version(), Plaintext(b"x"))
    assert caught.value.code == "azure_astray"


@pytest.mark.parametrize("host", ["login.microsoftonline.com", "privyseal-test.vault.azure.net"])
async def test_the_local_policy_is_asked_for_the_vault_and_for_its_authority(stage: Stage, host: str) -> None:
    allowed = {"login.microsoftonline.com", "privyseal-test.vault.azure.net"} - {host}
    policy = f'hosts = ["{allowed.pop()}", "127.0.0.1"]'
    service = "login" if host.startswith("login") else "vault"
    instead = {"login": "vault", "vault": "login"}[service]
    surroundings = stage.surroundings(endpoints=f"{instead}={stage.azure.url}", policy=policy)
    with pytest.raises(Denied) as caught:
        await stage.manager(surroundings).check()
    assert (caught.value.code, caught.value.facts["rule"]) == ("local_policy", "hosts")
    assert host in caught.value.detail


async def test_the_local_policy_is_asked_for_what_azure_endpoints_name(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        await stage.manager(stage.surroundings(policy='hosts = ["*.vault.azure.net"]')).check()
    assert "127.0.0.1" in caught.value.detail


async def test_a_certificate_of_a_strange_authority_is_not_trusted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable) as caught:
        await stage.manager().check()
    assert caught.value.code == "azure_untrusted"


async def test_a_vault_that_cannot_be_reached_is_told(stage: Stage) -> None:
    with pytest.raises(Unavailable) as caught:
        await stage.manager(stage.surroundings(endpoints="https://127.0.0.1:1")).check()
    assert caught.value.code == "azure_unreachable"


async def test_a_failure_of_entra_id_is_one_of_the_house(stage: Stage) -> None:
    for status, body, code in (
        (503, "down", "azure_unavailable"),
        (429, {"error": "temporarily_unavailable"}, "azure_throttled"),
        (200, "nonsense", "azure_garbled"),
        (400, {"error": "odd", "error_description": "hunter2"}, "azure_credentials_refused"),
    ):
        stage.azure.fail(f"/{stage.azure.vault.tenant}/oauth2", status, body, times=3)
        with pytest.raises(PrivySealError) as caught:
            await stage.manager().check()
        assert caught.value.code == code
        assert "hunter2" not in repr(caught.value.problem())
        stage.azure.faults.clear()
