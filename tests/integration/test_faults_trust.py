"""Wrong keys, old keys, rights that ended and clocks that are apart: each is refused, and the error says which it was."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from client.context import Contexts
from client.dev import DevEnvironment
from client.drafts import new_grant
from client.home import write_private
from client.identities import Identities
from client.program import Program
from client.sdk import Client
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.documents.fields import Permission
from shared.documents.grant import Principal
from shared.errors import Denied, NotFound, NotReady, PrivySealError, Unauthenticated
from shared.names import Scope

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = Plaintext(b"the value")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(tmp_path_factory.mktemp("trust"), delegates=1) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: DevEnvironment) -> AsyncIterator[Client]:
    async with environment.client() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def token(client: Client) -> str:
    """A secret of the account with one version."""
    reference = f"account.token_{secrets.token_hex(6)}"
    await client.store(reference, VALUE)
    return reference


async def granted(
    environment: DevEnvironment, client: Client, *permissions: Permission, scope: str = "account", seconds: int = 3_600
) -> tuple[Client, str]:
    """A client of somebody new with a grant, and the grant's id."""
    identity, parsed = Identity.generate(), Scope.parse(scope)
    await client.account.sync()

    def make(now: int) -> list[object]:
        principal = Principal("somebody", identity.key, "person")
        grant = new_grant(environment.account, principal, permissions, parsed, None, None, 1, now)
        return [structs.replace(grant, exp=now + seconds)]

    (grant,) = await client.publisher.publish(make)  # type: ignore[arg-type]
    return Client(environment.url, environment.account, identity), getattr(grant.document, "id")  # noqa: B009


async def raised(awaitable: object) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value


# ---- rights


async def test_a_revoked_grant_ends_at_once(environment: DevEnvironment, client: Client, token: str) -> None:
    other, grant = await granted(environment, client, "reveal")
    async with other:
        assert await other.reveal(token) == VALUE
        await client.grants.revoke(grant, adopt=False)
        why = await raised(other.reveal(token))
        assert (type(why), why.code) == (Denied, "grant_revoked") and "grant add" in why.hint


async def test_an_expired_grant_is_named_as_expired(environment: DevEnvironment, client: Client, token: str) -> None:
    other, _ = await granted(environment, client, "reveal", seconds=6)
    async with other:
        assert await other.reveal(token) == VALUE
        async with asyncio.timeout(45):
            while True:
                try:
                    await other.reveal(token)
                except PrivySealError as why:
                    assert (type(why), why.code) == (Denied, "grant_expired") and "grant add" in why.hint
                    return
                await asyncio.sleep(0.1)


async def test_what_lies_outside_of_a_grants_scope_is_not_there(environment: DevEnvironment, client: Client) -> None:
    for org in ("low", "high"):
        if not any(one.document.identifier == org for one in await client.scopes.all(Scope())):
            await client.scopes.create(Scope(), org, None, "")
    async with environment.client(org="high") as high:
        await high.store("org.secret", VALUE)
    other, _ = await granted(environment, client, "reveal", "edit", scope="org/low")
    async with other:
        for reference in ("account.token", "account.unknown"):
            assert type(await raised(other.reveal(reference))) is NotFound
    intruder = Client(environment.url, environment.account, other.account.identity, org="high")
    async with intruder:
        assert type(await raised(intruder.reveal("org.secret"))) is NotFound
        why = await raised(intruder.store("org.secret", b"planted"))
        assert (type(why), why.code) == (Denied, "grant_missing")


async def test_whoever_may_write_may_not_read(environment: DevEnvironment, client: Client, token: str) -> None:
    other, _ = await granted(environment, client, "edit", "view", "use")
    async with other:
        assert (await other.store(token, b"written")).n == 2
        why = await raised(other.reveal(token))
        assert (type(why), why.code) == (Denied, "grant_missing") and "reveal" in why.detail


async def test_a_stranger_is_not_let_in(environment: DevEnvironment, token: str) -> None:
    async with Client(environment.url, environment.account, Identity.generate()) as stranger:
        assert type(await raised(stranger.reveal(token))) is Unauthenticated


# ---- keyrings


async def _refused(environment: DevEnvironment, keyring: Keyring, name: str) -> str:
    """A delegate with that keyring, until its log says why it was refused; what it says."""
    path = environment.folder / f"{name}.json"
    write_private(path, keyring.text())
    argv = [*environment.delegates["a"].argv, "--keyring-file", str(path), "--name", name, "--health-address", "off"]

    async def never() -> bool:
        return False

    delegate = Program(name, argv, environment.folder / f"{name}.log", never)
    await delegate.start(wait=False)
    try:
        async with asyncio.timeout(45):
            while "link.failed" not in (said := _read(delegate.log)):
                assert delegate.running, said
                await asyncio.sleep(0.05)
        return said
    finally:
        assert await delegate.stop() == 0


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def test_a_delegate_with_another_accounts_keyring_is_refused_and_told_why(
    environment: DevEnvironment, client: Client, token: str
) -> None:
    said = await _refused(environment, Keyring("a" * 52, "main", [(1, os.urandom(32))]), "stranger")
    assert "account_not_found" in said or "certifier_unknown" in said
    assert "stranger" not in {one["name"] for one in await client.views.delegates()}
    assert await client.reveal(token) == VALUE


async def test_a_delegate_with_a_keyring_that_was_made_up_is_refused_and_told_why(
    environment: DevEnvironment, client: Client, token: str
) -> None:
    said = await _refused(environment, Keyring(environment.account, "main", [(1, os.urandom(32))]), "forger")
    assert "certifier_unknown" in said and "keyring file" in said
    assert "forger" not in {one["name"] for one in await client.views.delegates()}
    assert await client.reveal(token) == VALUE


async def test_a_delegate_with_a_keyring_of_an_unknown_name_is_refused_and_told_why(
    environment: DevEnvironment, client: Client
) -> None:
    said = await _refused(environment, Keyring(environment.account, "elsewhere", [(1, os.urandom(32))]), "elsewhere")
    assert "keyring_unknown" in said and "privyseal keyring new" in said


async def test_a_delegate_with_an_older_generation_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    """It keeps its stream, and gets no task before it has the new file."""
    async with DevEnvironment(tmp_path / "dev", delegates=1) as environment, environment.client() as client:
        await client.store("account.token", VALUE)
        await client.keyrings.rotate("main", environment.keyring, compromised=False)
        why = await raised(client.reveal("account.token"))
        assert type(why) is NotReady
        ((code, detail),) = [
            (reason["code"], reason["detail"]) for one in why.facts["delegates"] for reason in one["reasons"]
        ]
        assert code == "generation_missing" and "2" in detail
        await environment.delegates["a"].restart()
        await environment.ready()
        assert await client.reveal("account.token") == VALUE


# ---- clocks


@pytest.mark.parametrize("seconds", [-1_000, 1_000])
async def test_a_clock_that_is_far_off_is_refused_and_named(
    environment: DevEnvironment, token: str, seconds: int
) -> None:
    async with _skewed(environment, seconds) as client:
        why = await raised(client.reveal(token))
        assert type(why) is Unauthenticated and "clock" in why.detail + why.hint


@pytest.mark.parametrize("seconds", [-100, 100])
async def test_a_clock_that_is_a_little_off_changes_nothing(
    environment: DevEnvironment, token: str, seconds: int
) -> None:
    async with _skewed(environment, seconds) as client:
        assert await client.reveal(token) == VALUE
        assert (await client.store(token, b"from another time")).n == 2
        assert await client.reveal(token) == Plaintext(b"from another time")
        assert abs(client.account.skew_seconds + seconds) <= 15


def _skewed(environment: DevEnvironment, seconds: int) -> Client:
    _, context = Contexts(environment.home).find(environment.name)
    identity = Identities(environment.home).load(context.identity, lambda _: None)
    return Client(context.manager, context.account, identity, clock=lambda: int(time.time()) + seconds)
