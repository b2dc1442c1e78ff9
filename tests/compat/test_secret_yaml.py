"""Secrets in today's YAML: taken unchanged, given back equal, never with a value; a real manager and delegate in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from client.dev import DevEnvironment
from shared.errors import Malformed, NotFound
from tests.fakes.command_line import privyseal

FOLDER = Path(__file__).parent / "secrets"
FILES = sorted(FOLDER.glob("*.yaml"))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment() -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(delegates=1) as environment:
        yield environment


def documents(text: str) -> list[Any]:
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_todays_yaml_is_taken_unchanged_and_given_back_equal(environment: DevEnvironment, file: Path) -> None:
    wanted = documents(file.read_text())
    status, out, errors = await privyseal(environment, "apply", "-f", str(file), "-o", "json")
    assert status == 0, errors
    assert [row["action"] for row in json.loads(out)] == ["create"] * len(wanted)
    names = [next(iter(one.values()))["identifier"] for one in wanted]
    status, out, _ = await privyseal(environment, "export", *names)
    assert (status, documents(out)) == (0, wanted)
    status, out, _ = await privyseal(environment, "apply", "-f", "-", "-o", "json", given=file.read_text())
    assert [row["action"] for row in json.loads(out)] == ["none"] * len(wanted)


async def test_a_described_secret_gets_its_value_by_itself(environment: DevEnvironment) -> None:
    given = "secret: {type: SecretText, name: later, spec: {secretManagerIdentifier: harnessSecretManager}}\n"
    status, out, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert (status, out) == (0, "created account/later (SecretText)\n")
    assert "without a value yet: later" in errors
    status, _, errors = await privyseal(environment, "reveal", "account.later")
    assert (status, "no version yet" in errors) == (NotFound.exit_status, True)
    status, out, _ = await privyseal(environment, "secret", "set", "account.later", "--from-stdin", given="hunter2")
    assert (status, out) == (0, "stored later in account, version 1\n")
    status, out, _ = await privyseal(environment, "reveal", "account.later")
    assert (status, out) == (0, "hunter2")
    changed = given.replace("name: later,", "name: later, description: since today, identifier: later,")
    status, out, _ = await privyseal(environment, "apply", "-f", "-", given=changed)
    assert (status, out) == (0, "changed account/later (SecretText)\n")
    status, out, _ = await privyseal(environment, "reveal", "account.later")
    assert (status, out) == (0, "hunter2")


async def test_a_dry_run_shows_what_would_be_and_makes_nothing(environment: DevEnvironment) -> None:
    given = (FOLDER / "with_its_connector.yaml").read_text().replace("team", "tried")
    status, out, errors = await privyseal(environment, "apply", "-f", "-", "--dry-run", given=given)
    assert (status, errors) == (0, "")
    assert "would create account/tried_local (Local)" in out
    assert "would create account/token_of_tried (SecretText)" in out
    assert "+++ account/token_of_tried (standard input:9)\n" in out
    assert "+    secretManagerIdentifier: account.tried_local\n" in out
    status, _, _ = await privyseal(environment, "secret", "get", "account.token_of_tried")
    assert status == NotFound.exit_status


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{secretManagerIdentifier: x.y.z}", "secret.spec.secretManagerIdentifier: Invalid Secret Reference"),
        ("{valueType: Inline}", "secret.spec.secretManagerIdentifier: the secret manager is missing"),
        (
            "{secretManagerIdentifier: harnessSecretManager, valueType: Other}",
            "secret.spec.valueType: give Inline, Reference or CustomSecretManagerValues",
        ),
        (
            "{secretManagerIdentifier: harnessSecretManager, valueType: Reference}",
            "secret.spec.value: a reference says",
        ),
        ("{secretManagerIdentifier: harnessSecretManager, value: hunter2}", "secret.spec.value: a value isn't taken"),
        ("{secretManagerIdentifier: harnessSecretManager, colour: red}", "secret.spec.colour: there is no such field"),
    ],
)
async def test_what_is_wrong_is_told_at_its_field(environment: DevEnvironment, spec: str, told: str) -> None:
    given = f"secret:\n  type: SecretText\n  name: wrong\n  spec: {spec}\n"
    status, out, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert (status, out) == (Malformed.exit_status, "")
    assert told in errors
    assert "standard input:" in errors
    assert "hunter2" not in errors


async def test_what_never_changes_is_refused_by_its_field(environment: DevEnvironment) -> None:
    given = (FOLDER / "text_inline.yaml").read_text().replace("my_secret", "fixed")
    assert (await privyseal(environment, "apply", "-f", "-", given=given))[0] == 0
    other = given.replace("SecretText", "SecretFile")
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=other)
    assert status == Malformed.exit_status
    assert "secret.type: this can't change once the secret is made" in errors


async def test_a_reference_to_where_nothing_is_kept_makes_no_secret(environment: DevEnvironment) -> None:
    given = (
        "secret: {type: SecretText, name: elsewhere, "
        "spec: {secretManagerIdentifier: harnessSecretManager, valueType: Reference, value: path#key}}\n"
    )
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=given)
    assert status == Malformed.exit_status
    assert "the kind Local keeps no secrets of its own" in errors
    status, _, _ = await privyseal(environment, "secret", "get", "account.elsewhere")
    assert status == NotFound.exit_status
