"""Clients that live long: what others change of templates and SSHKeys meanwhile is learnt from a conflict, and no restart is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from client import Client
from client.dev import DevEnvironment
from client.directory import Known
from client.manifest import Manifest, parse
from client.templates import planned
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE, Reference
from tests.fakes.refusal import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEMPLATE = """
template:
  name: script
  identifier: script
  versionLabel: {label}
  type: SecretManager
  spec:
    shell: Bash
    source: {{type: Inline, spec: {{script: 'secret={label}'}}}}
    environmentVariables: []
    outputVariables: []
    onDelegate: true
"""
CONNECTOR = """
connector:
  name: custom
  identifier: custom
  type: CustomSecretManager
  spec:
    onDelegate: true
    timeout: 20
    template: {{templateRef: account.script, versionLabel: {label}}}
"""
SECRET = """
secret:
  type: SecretText
  name: token
  identifier: token
  spec: {secretManagerIdentifier: account.custom, valueType: CustomSecretManagerValues, value: '{}'}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text("scripts = true\n")
    async with DevEnvironment(delegates=1, delegate_options={"*": (f"--policy-file={policy}",)}) as running:
        yield running


async def apply(client: Client, *texts: str) -> None:
    found: list[Manifest] = parse("---\n".join(texts).encode(), "given")
    given = {kind: [one for one in found if one.kind == kind] for kind in ("template", "connector", "secret")}
    templates = await client.templates.plan(given["template"])
    changes = await client.connectors.plan(given["connector"], templates=planned(templates))
    wanted = {one.description.place: one.wanted for one in changes}
    secrets = await client.secret_plans.plan(given["secret"], wanted, [one.wanted for one in templates])
    await client.templates.apply(templates)
    await client.connectors.apply(changes)
    await client.secret_plans.apply(secrets)


async def test_a_connector_that_runs_another_template_by_now_is_read_by_who_knew_the_old_one(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as editor, environment.client() as reader:
        await apply(editor, TEMPLATE.format(label="v1"), CONNECTOR.format(label="v1"), SECRET)
        assert await reader.reveal("account.token") == Plaintext(b"v1")
        await apply(editor, TEMPLATE.format(label="v2"), CONNECTOR.format(label="v2"))
        assert await reader.reveal("account.token") == Plaintext(b"v2")


async def test_a_connector_that_a_list_has_shown_is_read_with_the_template_that_it_runs_by_now(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as editor, environment.client() as reader:
        await apply(editor, TEMPLATE.format(label="v3"), CONNECTOR.format(label="v3"), SECRET)
        assert await reader.reveal("account.token") == Plaintext(b"v3")
        await apply(editor, TEMPLATE.format(label="v4"), CONNECTOR.format(label="v4"))
        assert [one async for one in reader.directory.documents("connector", ConnectorDocument, ACCOUNT_SCOPE)]
        assert await reader.reveal("account.token") == Plaintext(b"v4")


async def test_no_grant_of_a_path_is_given_for_what_reads_no_paths(environment: DevEnvironment) -> None:
    """It would be one of the whole connector."""
    async with environment.client() as client:
        await apply(client, TEMPLATE.format(label="v4"), CONNECTOR.format(label="v4"))
        with refused(Malformed, "path_impossible"):
            await client.grants.connector("account.custom", "a/b", ACCOUNT_SCOPE)
        _, resource = await client.grants.connector("account.custom", None, ACCOUNT_SCOPE)
        assert resource.startswith("connector/")
        with refused(Malformed, "path_malformed"):
            await client.grants.connector("account.local", "a/../b", ACCOUNT_SCOPE)


SSH_KEY = """
secret:
  type: SSHKey
  name: login
  identifier: login
  spec:
    auth: {{type: SSH, spec: {{credentialType: KeyReference, spec: {{userName: deploy, key: account.{key}}}}}}}
"""


async def test_an_ssh_key_that_names_another_secret_by_now_is_used_with_that(environment: DevEnvironment) -> None:
    async with environment.client() as editor, environment.client() as reader:
        for name in ("pem1", "pem2"):
            await editor.store(f"account.{name}", b"a private key")
        await apply(editor, SSH_KEY.format(key="pem1"))
        place = Reference.parse("account.login", ACCOUNT_SCOPE)
        known = await reader.directory.one(place)
        assert credentials(reader, known) == ["pem1"]
        await apply(editor, SSH_KEY.format(key="pem2"))
        newest = await editor.directory.one(place, fresh=True)
        reader.account.believe(newest.secret.compact)
        await reader.directory.learn({})
        assert credentials(reader, reader.directory.current(place)) == ["pem2"]


def credentials(client: Client, known: Known) -> list[str]:
    held = client.directory.credentials([], [known.secret.document])
    return [one.secret.document.identifier for one in held if one.secret is not None]
