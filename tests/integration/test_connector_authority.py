"""Who may sign a connector: its scope's editor who may use every secret that it names, within one zone and without a circle."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.connectors import ConnectorChange
from client.dev import DevEnvironment
from client.drafts import new_id
from client.manifest import parse
from client.sdk import Client
from shared.crypto.identity import Identity
from shared.documents.fields import Permission
from shared.documents.grant import Principal
from shared.documents.secret import SecretDocument
from shared.errors import Conflict, Denied, Malformed, PrivySealError
from shared.names import ACCOUNT_SCOPE, Scope

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment() -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(delegates=1) as environment:
        async with environment.client() as client:
            await client.store("account.used", b"value")
        yield environment


def kms(name: str, *, key: str = "account.used", more: str = "") -> bytes:
    """The YAML of a connector that names one secret, on line 7."""
    return (
        f"connector:\n  name: {name}\n  type: AwsKms\n{more}  spec:\n    region: us-east-1\n"
        f"    credential: {{type: AssumeIAMRole, spec: {{delegateSelectors: [d1]}}}}\n    kmsArn: {key}\n"
    ).encode()


async def plan(client: Client, *texts: bytes, keyring: str | None = None) -> list[ConnectorChange]:
    manifests = [one for text in texts for one in parse(text, "file.yaml")]
    return await client.connectors.plan(manifests, keyring=keyring)


async def refusal(client: Client, *texts: bytes, keyring: str | None = None) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await plan(client, *texts, keyring=keyring)
    return caught.value


async def granted(environment: DevEnvironment, *permissions: Permission, scope: Scope = ACCOUNT_SCOPE) -> Client:
    """A client of a new principal."""
    identity = Identity.from_seed(os.urandom(32))
    async with environment.client() as client:
        await client.grants.add(Principal("somebody", identity.key, "person"), permissions, scope)
    return Client(environment.url, environment.account, identity)


async def test_a_secret_that_was_changed_since_its_plan_is_to_be_planned_anew(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        for name in ("made", "one", "another"):
            text = f"secret: {{name: {name}, identifier: moved, type: SecretText, spec: {{secretManagerIdentifier: account.local}}}}"
            changes = await client.secret_plans.plan(parse(text.encode(), "file.yaml"), {})
            if name == "one":
                stale = changes
            else:
                await client.secret_plans.apply(changes)
        with pytest.raises(Conflict):
            await client.secret_plans.apply(stale)
        assert (await client.secrets.find("account.moved")).secret.document.name == "another"


async def test_who_may_not_use_a_secret_signs_no_connector_that_names_it(environment: DevEnvironment) -> None:
    async with await granted(environment, "view", "edit") as client:
        why = await refusal(client, kms("named"))
        assert isinstance(why, Denied)
        assert why.detail.startswith("file.yaml:7: connector.spec.kmsArn: you may not use account.used (")
        assert [one.action for one in await plan(client, b"connector: {name: plain, type: Local}")] == ["create"]
    async with await granted(environment, "view", "use", "edit") as client:
        (made,) = await client.connectors.apply(await plan(client, kms("named")))
        assert (made.document.rev, made.kid) == (1, client.account.identity.kid)


async def test_who_may_not_edit_the_scope_makes_no_connector_in_it(environment: DevEnvironment) -> None:
    async with await granted(environment, "view", "use", "edit", scope=Scope("o")) as client:
        why = await refusal(client, b"connector: {name: above, type: Local}")
        assert (type(why), why.code) == (Denied, "grant_missing")
        below = b"connector: {name: below, type: Local, orgIdentifier: o}"
        assert [one.action for one in await plan(client, below)] == ["create"]


async def test_a_connector_takes_no_secret_of_another_zone(environment: DevEnvironment, tmp_path: Path) -> None:
    async with environment.client() as client:
        await client.keyrings.create("europe", tmp_path / "europe.json")
        why = await refusal(client, kms("far", more="  keyring: europe\n"))
        assert (why.code, why.facts["path"]) == ("secret_of_other_keyring", "connector.spec.kmsArn")
        why = await refusal(client, kms("nowhere"), keyring="mars")
        assert (type(why), why.code) == (Malformed, "keyring_unknown")


async def test_a_reference_that_means_nothing_there_is_refused_at_its_field(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        why = await refusal(client, kms("upwards", key="org.used"))
        assert (why.code, why.facts["line"]) == ("reference_out_of_scope", 7)


async def test_credentials_that_lead_back_to_the_connector_are_refused(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        first, second = await client.connectors.apply(await plan(client, kms("first"), kms("second")))

        def secret(identifier: str, connector: str, now: int) -> SecretDocument:
            return SecretDocument(
                v=1, acct=client.account.id, id=new_id(), rev=1, iat=now, scope="account", identifier=identifier,
                name=identifier, type="SecretText", connector=connector,
            )  # fmt: skip

        await client.publisher.publish(
            lambda now: [secret("in_first", first.document.id, now), secret("in_second", second.document.id, now)]
        )
        why = await refusal(client, kms("first", key="account.in_first"))
        assert (why.code, why.facts["path"]) == ("credentials_cyclic", "connector.spec.kmsArn")
        assert "Detected cyclic dependency in credentials of secret manager" in why.detail
        # Neither leads back by itself, both together do.
        assert [one.action for one in await plan(client, kms("first", key="account.in_second"))] == ["change"]
        together = (kms("first", key="account.in_second"), kms("second", key="account.in_first"))
        assert (await refusal(client, *together)).code == "credentials_cyclic"


async def test_a_change_is_the_next_revision_and_nothing_changed_is_none(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.connectors.apply(await plan(client, b"connector: {name: steady, type: Local}"))
        changed = b"connector: {name: steady, type: Local, spec: {delegateSelectors: ['zone:a']}}"
        for _ in range(2):
            (made,) = await client.connectors.apply(await plan(client, changed))
            assert (made.document.rev, made.document.selectors) == (2, ("zone:a",))
