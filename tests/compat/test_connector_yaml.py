"""The YAML that users have today is taken unchanged, and given back equal: a real manager and delegate in between."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from client.dev import DevEnvironment
from shared.connectors.kinds import KINDS
from shared.errors import Conflict, Malformed, NotFound, NotReady
from tests.fakes.command_line import privyseal

FOLDER = Path(__file__).parent / "documents"
FILES = sorted(FOLDER.glob("*.yaml"))
SECRETS = ("account.kmsArn", "account.awsAccess", "account.awsSecret")
SECRETS_OF_GOOGLE = ("account.gcpKey",)
SECRETS_OF_VAULT = ("account.vtoken", "account.vsid", "account.hdr")
SECRETS_OF_AZURE = ("account.azureKey",)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment() -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(delegates=1) as environment:
        async with environment.client() as client:
            for reference in (*SECRETS, *SECRETS_OF_GOOGLE, *SECRETS_OF_VAULT, *SECRETS_OF_AZURE):
                await client.store(reference, b"value")
            # What says executeOnDelegate: false has somewhere to go.
            await client.keyrings.create("platform", environment.folder / "platform.json", platform=True)
        yield environment


def documents(text: str) -> list[Any]:
    """The documents, without a description and tags that are empty: that means the same as none."""
    found = [one for one in yaml.safe_load_all(text) if one]
    for one in found:
        body = one["connector"]
        for name in [name for name in ("description", "tags") if not body.get(name)]:
            body.pop(name, None)
    return found


def place(document: Any) -> str:
    """How the command line is told where a connector lives: options and its reference."""
    return str(document["connector"]["identifier"])


def options(document: Any) -> list[str]:
    body = document["connector"]
    org, project = body.get("orgIdentifier"), body.get("projectIdentifier")
    return [*(["--org", org] if org else []), *(["--project", project] if project else [])]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_todays_yaml_is_taken_unchanged_and_given_back_equal(environment: DevEnvironment, file: Path) -> None:
    wanted = documents(file.read_text())
    status, out, errors = await privyseal(environment, "apply", "-f", str(file), "-o", "json")
    assert (status, errors) == (0, "")
    assert [(row["action"], row["revision"]) for row in json.loads(out)] == [("create", 1)] * len(wanted)

    for document in wanted:
        status, out, _ = await privyseal(environment, *options(document), "export", place(document))
        assert status == 0
        assert documents(out) == [document]
        status, out, _ = await privyseal(environment, *options(document), "connector", "get", place(document))
        assert documents(out) == [document]

    status, out, _ = await privyseal(environment, "apply", "-f", "-", "-o", "json", given=file.read_text())
    assert [(row["action"], row["revision"]) for row in json.loads(out)] == [("none", 1)] * len(wanted)


async def test_an_export_of_everything_is_taken_back_without_a_change(environment: DevEnvironment) -> None:
    await privyseal(environment, "apply", "-f", "-", given="connector: {name: Something, type: Local}\n")
    status, text, _ = await privyseal(environment, "export", "--all")
    assert status == 0
    status, out, errors = await privyseal(environment, "apply", "-f", "-", given=text)
    assert (status, errors) == (0, "")
    assert out.splitlines()
    assert {line.split()[0] for line in out.splitlines()} == {"unchanged"}


async def test_a_dry_run_shows_a_diff_and_changes_nothing(environment: DevEnvironment) -> None:
    old = (FOLDER / "local.yaml").read_text().replace("payments_local", "tried_local")
    await privyseal(environment, "apply", "-f", "-", given=old)
    new = old.replace("zone:a", "zone:b") + "---\nconnector: {name: New one, type: Local}\n"
    status, out, errors = await privyseal(environment, "apply", "-f", "-", "--dry-run", given=new)
    assert (status, errors) == (0, "")
    assert "would change account/tried_local (Local)" in out
    assert "would create account/New_one (Local)" in out
    assert "--- account/tried_local (revision 1)\n+++ account/tried_local (standard input:1)\n" in out
    assert "-    - zone:a\n+    - zone:b\n" in out
    assert "--- /dev/null\n+++ account/New_one (standard input:10)\n" in out
    status, out, _ = await privyseal(environment, "export", "tried_local")
    assert documents(out) == documents(old)
    status, _, _ = await privyseal(environment, "connector", "get", "New_one")
    assert status == NotFound.exit_status


async def test_nothing_is_published_where_one_document_is_wrong(environment: DevEnvironment) -> None:
    given = (
        "connector: {name: fine, type: Local}\n---\n"
        "connector:\n  name: bad\n  type: AwsKms\n  spec:\n    credential: {type: Iam}\n    kmsArn: x\n    region: us-east-1\n---\n"
        "connector:\n  name: worse\n  type: Nothing\n"
    )
    status, out, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert (status, out) == (Malformed.exit_status, "")
    assert (
        "error: standard input:7: connector.spec.credential.type: Invalid credential type: "
        "give one of ManualConfig, AssumeIAMRole, AssumeSTSRole, OidcAuthentication\n"
    ) in errors
    assert (
        "standard input:13: connector.type: the connector's type is not a known kind: give one of "
        + ", ".join(sorted(KINDS))
        + "\n"
        in errors
    )
    status, _, _ = await privyseal(environment, "connector", "get", "fine")
    assert status == NotFound.exit_status


async def test_a_field_that_never_changes_is_refused_by_name(environment: DevEnvironment) -> None:
    await privyseal(environment, "apply", "-f", "-", given="connector: {name: fixed, type: Local}\n")
    given = (FOLDER / "aws_kms_oidc.yaml").read_text().replace("identifier: kms_oidc", "identifier: fixed")
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert status == Malformed.exit_status
    assert "standard input:4: connector.type: the connector's type can't change: it is Local" in errors


async def test_the_engine_of_a_vault_cannot_change_since_its_values_would_be_left_behind(
    environment: DevEnvironment,
) -> None:
    given = (FOLDER / "vault_token.yaml").read_text().replace("vault_token", "vault_fixed")
    assert (await privyseal(environment, "apply", "-f", "-", given=given))[0] == 0
    same = given.replace("secretEngineName: secret", "secretEngineName: /secret/").replace("d1", "d2")
    assert (await privyseal(environment, "apply", "-f", "-", given=same))[0] == 0
    other = given.replace("secretEngineName: secret", "secretEngineName: kv")
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=other)
    assert status == Malformed.exit_status
    assert "connector.spec.secretEngineName: the connector's secretEngineName can't change: it is /secret/" in errors


async def test_a_connector_that_names_a_missing_secret_is_refused_at_its_line(environment: DevEnvironment) -> None:
    given = (FOLDER / "aws_kms_manual_config.yaml").read_text().replace("awsSecret", "nowhere")
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert status == NotFound.exit_status
    assert (
        "standard input:10: connector.spec.credential.spec.secretKey: there is no secret nowhere in account" in errors
    )


async def test_a_connector_is_tested_by_a_delegate_and_the_list_shows_it(environment: DevEnvironment) -> None:
    given = (FOLDER / "local.yaml").read_text().replace("payments_local", "probed_local")
    await privyseal(environment, "apply", "-f", "-", given=given)
    status, out, errors = await privyseal(environment, "connector", "test", "probed_local")
    assert (status, errors) == (0, "")
    assert out.startswith("probed_local in account works from the delegate a (")
    status, out, _ = await privyseal(environment, "connector", "list", "-o", "json")
    (row,) = [one for one in json.loads(out) if one["identifier"] == "probed_local"]
    assert (row["state"], row["test"], row["selectors"]) == ("ok", "ok", ["zone:a"])
    assert row["tested"].endswith("Z")
    assert row["age"].endswith("s ago")
    assert (row["by"], [one["code"] for one in row["tests"]]) == (["a"], ["ok"])
    status, out, _ = await privyseal(environment, "connector", "get", "probed_local")
    assert re.search(r"^# tested [0-9]+s ago by a: ok, counts for [0-9]+h$", out, re.MULTILINE)


async def test_a_connector_whose_delegates_are_not_there_says_why_for_each(environment: DevEnvironment) -> None:
    given = (FOLDER / "aws_kms_manual_config.yaml").read_text().replace("kms_manual", "kms_absent")
    await privyseal(environment, "apply", "-f", "-", given=given)
    status, out, errors = await privyseal(environment, "connector", "test", "kms_absent")
    assert (status, out) == (NotReady.exit_status, "")
    (row,) = [line.split() for line in errors.splitlines() if line.split()[:1] == ["a"]]
    assert row[1:3] == ["selectors", "selectors_missing"]


async def test_the_way_to_a_connectors_credentials_is_shown(environment: DevEnvironment) -> None:
    given = (FOLDER / "aws_kms_manual_config.yaml").read_text().replace("kms_manual", "kms_shown")
    await privyseal(environment, "apply", "-f", "-", given=given)
    status, out, errors = await privyseal(environment, "connector", "get", "kms_shown", "--plan", "-o", "json")
    assert (status, errors) == (0, "")
    assert [(row["secret"], row["n"], row["holder"], row["state"]) for row in json.loads(out)] == [
        (name, 1, "account.local", "ok") for name in sorted(SECRETS)
    ]


async def test_a_secret_that_a_connector_names_is_deleted_only_with_force(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.store("account.spare", b"value")
    given = (FOLDER / "aws_kms_manual_config.yaml").read_text()
    given = given.replace("kms_manual", "kms_spare").replace("awsSecret", "spare")
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert (status, errors) == (0, "")
    status, _, errors = await privyseal(environment, "secret", "delete", "account.spare", "--yes")
    assert status == Conflict.exit_status
    assert "error: 1 connector names the secret spare\n  account.kms_spare\n" in errors
    status, out, _ = await privyseal(environment, "secret", "delete", "account.spare", "--yes", "--force")
    assert (status, out) == (0, "deleted spare in account\n")


async def test_a_connector_in_use_is_not_deleted_and_its_secrets_are_listed(environment: DevEnvironment) -> None:
    await privyseal(environment, "apply", "-f", "-", given="connector: {name: busy, type: Local}\n")
    async with environment.client() as client:
        await client.store("account.kept", b"value", connector="account.busy")
    status, _, errors = await privyseal(environment, "connector", "delete", "busy", "--yes")
    assert status == Conflict.exit_status
    assert "error: 1 secret is at the connector busy\n  account.kept\n" in errors
    async with environment.client() as client:
        await client.delete("account.kept")
    status, out, errors = await privyseal(environment, "connector", "delete", "busy", "--yes")
    assert (status, out, errors) == (0, "deleted busy in account\n", "")
    status, out, _ = await privyseal(environment, "apply", "-f", "-", given="connector: {name: busy, type: Local}\n")
    assert (status, out) == (0, "created account/busy (Local)\n")


async def test_a_connector_is_created_from_a_file_written_and_tested(
    environment: DevEnvironment, tmp_path: Path
) -> None:
    file, written = tmp_path / "one.yaml", tmp_path / "written.yaml"
    file.write_text("connector: {name: By file, type: Local, spec: {delegateSelectors: ['zone:a']}}\n")
    arguments = ("connector", "create", "--from-file", str(file), "--out", str(written))
    status, out, errors = await privyseal(environment, *arguments)
    assert (status, errors) == (0, "")
    assert out.startswith("created account/By_file (Local)\nBy_file in account works from the delegate a (")
    assert documents(written.read_text())[0]["connector"]["identifier"] == "By_file"
    status, _, errors = await privyseal(environment, *arguments)
    assert status == Conflict.exit_status
    assert "there is a connector By_file in account already" in errors


async def test_the_built_in_connector_stays(environment: DevEnvironment) -> None:
    status, _, errors = await privyseal(environment, "connector", "delete", "harnessSecretManager", "--yes")
    assert (status, "the built-in secret manager can't be deleted" in errors) == (4, True)
