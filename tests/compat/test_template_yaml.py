"""Templates, their connectors and secrets in today's YAML: taken unchanged in one file, run, and given back equal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from client.dev import DevEnvironment
from shared.names import Scope
from tests.fakes.command_line import privyseal

FOLDER = Path(__file__).parent / "templates"
VALUES = {
    "vault_by_curl": {"account.csmsecret": "kv/prod/db#password", "account.csmother": "other/x"},
    "inputs_by_default": {"account.dispensed": "864226 hunter2"},
    "of_a_project": {"loud": "QUIET"},
}
EMPTY: dict[str, Any] = {
    "tags": {},
    "description": "",
    "delegateSelectors": [],
    "outputVariables": [],
    "onDelegate": True,
    "executionTarget": {},
}
"""What says in a template that there is nothing to say."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    folder = tmp_path_factory.mktemp("templates")
    policy = folder / "policy.toml"
    policy.write_text("scripts = true\n")
    policy.chmod(0o600)
    options = {"*": (f"--policy-file={policy}",)}
    async with DevEnvironment(folder / "dev", delegates=1, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.vaultToken", b"hunter2")
            await client.scopes.create(Scope(), "acme", None, "")
            await client.scopes.create(Scope("acme"), "shop", None, "")
        yield running


def documents(text: str) -> list[Any]:
    """The documents, without what is empty in a template; the inputs of a secret as the mapping that they are."""
    found = [one for one in yaml.safe_load_all(text) if one]
    for one in found:
        ((kind, body),) = one.items()
        for part in (body, body["spec"]) if kind == "template" else (body,):
            for name in [name for name, value in EMPTY.items() if part.get(name) == value]:
                del part[name]
        if kind == "secret":
            body["spec"]["value"] = json.loads(body["spec"]["value"])
    return found


def names(wanted: list[Any]) -> list[str]:
    """How export is told of them."""
    found = []
    for one in wanted:
        ((kind, body),) = one.items()
        label = f"@{body['versionLabel']}" if kind == "template" else ""
        level = "account." if "orgIdentifier" not in body else "" if "projectIdentifier" in body else "org."
        found.append(f"{level}{body['identifier']}{label}")
    return found


@pytest.mark.parametrize("name", VALUES)
async def test_todays_yaml_is_taken_unchanged_run_and_given_back_equal(environment: DevEnvironment, name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    wanted = documents(text)
    scope = ("--org", "acme", "--project", "shop") if name == "of_a_project" else ()
    status, out, errors = await privyseal(environment, "apply", "-f", str(FOLDER / f"{name}.yaml"), "-o", "json")
    assert status == 0, errors
    assert [row["action"] for row in json.loads(out)] == ["create"] * len(wanted)
    for reference, value in VALUES[name].items():
        status, out, errors = await privyseal(environment, "reveal", reference, *scope)
        assert (status, out) == (0, value), errors
    references = list(dict.fromkeys(names(wanted)))
    status, out, errors = await privyseal(environment, "export", *references, *scope)
    assert (status, documents(out)) == (0, wanted), errors
    status, out, _ = await privyseal(environment, "apply", "-f", "-", "-o", "json", given=text)
    assert [row["action"] for row in json.loads(out)] == ["none"] * len(wanted)
    status, again, _ = await privyseal(environment, "export", *references, *scope)
    status, out, _ = await privyseal(environment, "apply", "-f", "-", "-o", "json", given=again)
    assert [row["action"] for row in json.loads(out)] == ["none"] * len(wanted)


async def test_every_file_is_tried() -> None:
    assert {one.stem for one in FOLDER.glob("*.yaml")} == set(VALUES)
