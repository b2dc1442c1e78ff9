"""Where new secrets go that name no connector, which connectors go to the platform's keyring, and what a manager can't hide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client.connectors import ConnectorChange
from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from shared.errors import Malformed, PrivySealError, Tampered
from shared.names import ACCOUNT_SCOPE, Scope

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment() -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(delegates=1) as environment:
        async with environment.client() as client:
            await client.scopes.create(ACCOUNT_SCOPE, "acme", None, "")
            await client.scopes.create(Scope("acme"), "shop", None, "")
        yield environment


def local(identifier: str, scope: Scope = ACCOUNT_SCOPE, *, more: str = "", **spec: Any) -> str:
    """The YAML of a connector of the built-in kind."""
    place = f", orgIdentifier: {scope.org}" if scope.org else ""
    place += f", projectIdentifier: {scope.project}" if scope.project else ""
    fields = ", ".join(f"{key}: {str(value).lower()}" for key, value in spec.items())
    return f"connector: {{name: {identifier}, type: Local{place}{more}, spec: {{{fields}}}}}\n---\n"


async def plan(client: Client, *texts: str, keyring: str | None = None) -> list[ConnectorChange]:
    return await client.connectors.plan(parse("".join(texts).encode(), "file.yaml"), keyring=keyring)


async def apply(client: Client, *texts: str, keyring: str | None = None) -> None:
    await client.connectors.apply(await plan(client, *texts, keyring=keyring))


async def refusal(client: Client, *texts: str, keyring: str | None = None) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await plan(client, *texts, keyring=keyring)
    return caught.value


async def home_of(client: Client, reference: str) -> str:
    """The connector of a new secret that names none."""
    await client.store(reference, b"value")
    return (await client.secrets.find(reference)).connector.document.identifier


async def clear(environment: DevEnvironment) -> None:
    """No scope has a default any more."""
    async with environment.client() as client:
        for one in await client.connectors.all(ACCOUNT_SCOPE, below=True):
            if one.document.is_default:
                await apply(client, local(one.document.identifier, Scope.parse(one.document.scope)))


async def test_a_new_secret_goes_to_the_default_of_its_scope_or_of_the_next_one_above(
    environment: DevEnvironment,
) -> None:
    async with environment.client(org="acme", project="shop") as client:
        assert await home_of(client, "account.first") == "local"
        await apply(client, local("ofaccount", default=True), local("oforg", Scope("acme"), default=True))
        assert await home_of(client, "account.second") == "ofaccount"
        assert await home_of(client, "org.second") == "oforg"
        assert await home_of(client, "second") == "oforg"
        await apply(client, local("ofproject", Scope("acme", "shop"), isDefault=True))
        assert await home_of(client, "third") == "ofproject"
        # What is there stays where it is, and a named connector is taken all the same.
        assert await home_of(client, "second") == "oforg"
        assert await home_of(client, "account.first") == "local"
        await client.store("named", b"value", connector="account.ofaccount")
        assert (await client.secrets.find("named")).connector.document.identifier == "ofaccount"
    await clear(environment)


async def test_a_second_default_takes_the_flag_from_the_first_and_a_dry_run_shows_it(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as client:
        await apply(client, local("early", default=True, ignoreTestConnection=True))
        won, lost = await plan(client, local("late", default=True))
        assert (won.action, lost.action) == ("create", "change")
        assert "+    default: true\n" in won.diff()
        assert "-    default: true\n" in lost.diff()
        assert lost.wanted.spec == {"ignoreTestConnection": True}
        await client.connectors.apply([won, lost])
        early = (await client.connectors.find("account.early")).document
        assert (early.rev, early.is_default) == (2, False)
        assert await home_of(client, "account.fourth") == "late"
        # Applied again it has nothing to do.
        assert [one.action for one in await plan(client, local("late", default=True))] == ["none"]
    await clear(environment)


async def test_two_defaults_of_one_scope_in_one_go_are_refused(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        why = await refusal(client, local("left", default=True), local("right", default=True))
        assert isinstance(why, Malformed)
        assert "connector.spec.default: a scope has one default, and left is one too" in why.detail
        both = await plan(client, local("left", default=True), local("right", Scope("acme"), default=True))
        assert [one.action for one in both] == ["create", "create"]


async def test_when_the_default_is_cleared_or_deleted_the_built_in_is_the_default_again(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as client:
        await apply(client, local("passing", default=True))
        assert (await client.secrets._defaults.of(ACCOUNT_SCOPE)).document.identifier == "passing"
        await apply(client, local("passing", default=False))
        assert await home_of(client, "account.fifth") == "local"
        await apply(client, local("passing", default=True))
        assert (await client.secrets._defaults.of(ACCOUNT_SCOPE)).document.identifier == "passing"
        await client.connectors.delete("account.passing")
        assert await home_of(client, "account.sixth") == "local"


class Withholding:
    """A directory before which a manager hides one connector."""

    def __init__(self, inner: Any, hidden: str, *, everywhere: bool) -> None:
        self._inner = inner
        self._hidden = hidden
        self._everywhere = everywhere

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def documents(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        async for one in self._inner.documents(*arguments, **options):
            if one.document.id != self._hidden:
                yield one

    async def connector_of_id(self, id: str) -> Any:
        return None if self._everywhere else await self._inner.connector_of_id(id)


@pytest.mark.parametrize("everywhere", [True, False])
async def test_a_default_that_was_seen_is_not_given_up_because_it_is_shown_no_more(
    environment: DevEnvironment, everywhere: bool
) -> None:
    async with environment.client() as client:
        await apply(client, local("guarded", default=True))
        assert await home_of(client, f"account.guarded_{everywhere}") == "guarded"
        id = (await client.connectors.find("account.guarded")).document.id
    # In a later run: what was seen is kept.
    async with environment.client() as client:
        defaults: Any = client.secrets._defaults
        defaults._directory = Withholding(defaults._directory, id, everywhere=everywhere)
        with pytest.raises(Tampered) as caught:
            await client.store(f"account.seventh_{everywhere}", b"value")
        assert caught.value.code == "default_withheld"
    await clear(environment)


async def test_what_the_platform_does_goes_to_the_platforms_keyring_and_nothing_else_does(
    environment: DevEnvironment, tmp_path: Path
) -> None:
    away = local("away", executeOnDelegate=False)
    async with environment.client() as client:
        main = await client.connectors.default_keyring()
        why = await refusal(client, away)
        assert (why.code, "keyring new NAME --platform" in why.hint) == ("platform_keyring_missing", True)
        await client.keyrings.create("platform", tmp_path / "platform.json", platform=True)
        (change,) = await plan(client, away)
        assert change.wanted.keyring == "platform"
        # Both are what apply takes by itself, so that neither stands in the YAML.
        await client.connectors.apply([change])
        found = await client.connectors.find("account.away")
        assert "keyring" not in (await client.connectors.bodies([found.document]))[0]
        assert [one.action for one in await plan(client, away)] == ["none"]
        (own,) = await plan(client, local("own"))
        assert own.wanted.keyring == main

        wrong = await refusal(client, local("wrong", executeOnDelegate=False), keyring=main)
        assert (wrong.code, "isn't the platform's" in wrong.detail) == ("keyring_unfit", True)
        wrong = await refusal(client, local("wrong"), keyring="platform")
        assert (wrong.code, "is the platform's" in wrong.detail) == ("keyring_unfit", True)
        wrong = await refusal(client, local("away"))
        assert wrong.code == "keyring_unfit"
        assert (await refusal(client, local("wrong"), keyring="nowhere")).code == "keyring_unknown"

        await client.keyrings.create("second", tmp_path / "second.json", platform=True)
        several = await refusal(client, local("wrong", executeOnDelegate=False))
        assert (several.code, "platform, second" in several.detail) == ("platform_keyring_ambiguous", True)
        (named,) = await plan(client, local("named_one", executeOnDelegate=False, more=", keyring: second"))
        assert named.wanted.keyring == "second"
        (named,) = await plan(client, local("named_one", executeOnDelegate=False), keyring="second")
        assert named.wanted.keyring == "second"
