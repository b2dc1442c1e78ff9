"""`privyseal template`, and secrets by inputs, as people type them: against a real manager and delegate."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.program import clean_environment, command
from shared.errors import Conflict, Malformed, NotFound, NotReady
from tests.fakes.command_line import privyseal
from tests.fakes.terminal import Terminal

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = "a value that nobody may see"

TEMPLATE = """
template:
  name: Reader
  identifier: NAME
  versionLabel: v1
  description: reads by the store's own tool
  type: SecretManager
  spec:
    shell: Bash
    source: {type: Inline, spec: {script: 'secret="$(cat FILE)$path"'}}
    environmentVariables:
      - {name: path, type: String, value: <+input>}
"""
CONNECTOR = """
connector:
  name: NAME_sm
  identifier: NAME_sm
  type: CustomSecretManager
  spec:
    template:
      templateRef: account.NAME
      versionLabel: v1
      templateInputs: {environmentVariables: [{name: path, type: String, value: <+input>}]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    folder = tmp_path_factory.mktemp("cli")
    policy = folder / "policy.toml"
    policy.write_text("scripts = true\n")
    policy.chmod(0o600)
    (folder / "value").write_text(VALUE)
    options = {"*": (f"--policy-file={policy}",)}
    async with DevEnvironment(folder / "dev", delegates=1, delegate_options=options) as running:
        yield running


def text(environment: DevEnvironment, name: str, *parts: str) -> str:
    file = environment.folder.parent / "value"
    return "---".join(parts or (TEMPLATE, CONNECTOR)).replace("NAME", name).replace("FILE", str(file))


async def made(environment: DevEnvironment, name: str) -> None:
    status, _, errors = await privyseal(environment, "apply", "-f", "-", given=text(environment, name))
    assert status == 0, errors


async def data(environment: DevEnvironment, *arguments: str) -> Any:
    _, out, errors = await privyseal(environment, *arguments, "-o", "json")
    assert out, errors
    return json.loads(out)


async def test_a_dry_run_shows_every_kind_and_makes_nothing(environment: DevEnvironment) -> None:
    given = text(environment, "tried")
    status, out, errors = await privyseal(environment, "apply", "--dry-run", "-f", "-", given=given)
    assert (status, errors) == (0, "")
    assert "would create account/tried@v1 (template)\n--- /dev/null\n+++ account/tried@v1 (standard input:2)\n" in out
    assert "would create account/tried_sm (CustomSecretManager)\n" in out
    assert "+# runs the content " in out
    assert (await privyseal(environment, "template", "show", "account.tried@v1"))[0] == NotFound.exit_status
    rows = json.loads((await privyseal(environment, "apply", "--dry-run", "-f", "-", "-o", "json", given=given))[1])
    assert [(row["type"], row["action"], "diff" in row) for row in rows] == [
        ("template", "create", True),
        ("CustomSecretManager", "create", True),
    ]


async def test_templates_are_applied_listed_shown_and_deleted(environment: DevEnvironment) -> None:
    only = text(environment, "listed", TEMPLATE)
    status, out, errors = await privyseal(environment, "template", "apply", "-f", "-", given=only)
    assert (status, out) == (0, "created account/listed@v1 (template)\n"), errors
    status, out, _ = await privyseal(environment, "template", "apply", "-f", "-", given=only)
    assert out == "unchanged account/listed@v1 (template)\n"
    status, _, errors = await privyseal(
        environment, "template", "apply", "-f", "-", given=text(environment, "listed", CONNECTOR)
    )
    assert status == Malformed.exit_status and "this is no template" in errors
    rows = await data(environment, "template", "list", "--search", "LISTED")
    assert [(row["identifier"], row["version"], row["inputs"], row["state"]) for row in rows] == [
        ("listed", "v1", ["path"], "ok")
    ]
    assert await data(environment, "template", "list", "--search", "nobody has this") == []
    status, out, _ = await privyseal(environment, "template", "show", "account.listed")
    assert status == 0 and "# versions v1\n# run by no connector\ntemplate:\n  name: Reader\n" in out
    shown = await data(environment, "template", "show", "account.listed@v1")
    assert shown["versions"] == ["v1"] and shown["content"] in out
    status, _, errors = await privyseal(environment, "template", "delete", "account.listed", "--yes")
    assert status == Malformed.exit_status and "the version isn't named" in errors
    status, _, errors = await privyseal(environment, "template", "delete", "account.listed@v1")
    assert status == NotReady.exit_status
    status, out, _ = await privyseal(environment, "template", "delete", "account.listed@v1", "--yes")
    assert (status, out) == (0, "deleted listed@v1 in account\n")


async def test_another_content_under_a_label_is_refused_with_the_difference(environment: DevEnvironment) -> None:
    await made(environment, "labelled")
    other = text(environment, "labelled", TEMPLATE.replace("Bash", "Python").replace("'secret=", "'#\"; secret="))
    status, out, errors = await privyseal(environment, "template", "apply", "-f", "-", given=other)
    assert (status, out) == (Conflict.exit_status, "")
    assert "standard input:5: template.versionLabel: the version v1 of labelled is there" in errors
    assert "-    shell: Bash" in errors and "+    shell: Python" in errors
    assert "hint: give it another versionLabel" in errors
    status, _, errors = await privyseal(environment, "template", "delete", "account.labelled@v1", "--yes")
    assert status == Conflict.exit_status and "account.labelled_sm" in errors


async def test_a_test_tells_how_long_a_value_is_and_never_the_value(environment: DevEnvironment) -> None:
    await made(environment, "tested")
    words = ("template", "test", "account.tested@v1", "--connector", "account.tested_sm")
    status, out, errors = await privyseal(environment, *words, "--input", "path=/x")
    assert status == 0 and f"a value of {len(VALUE) + 2} bytes came" in out
    assert VALUE not in out + errors
    assert (await data(environment, *words, "--input", "path=/x"))["bytes"] == len(VALUE) + 2
    status, _, errors = await privyseal(environment, *words)
    assert status == Malformed.exit_status and "missing environment variable: path" in errors
    for odd, told in (("path", "an input is written NAME=VALUE"), ("path=<+secrets.getValue('x')>", "an expression")):
        status, _, errors = await privyseal(environment, *words, "--input", odd)
        assert status == Malformed.exit_status and told in errors
    status, _, errors = await privyseal(environment, *words, "--input", "path=a", "--input", "path=b")
    assert status == Malformed.exit_status and "two inputs have one name" in errors


async def test_a_secret_is_set_by_its_inputs(environment: DevEnvironment) -> None:
    await made(environment, "read")
    words = ("secret", "set", "account.read_token", "--connector", "account.read_sm")
    status, out, errors = await privyseal(environment, *words, "--input", "path=!")
    assert (status, out) == (0, "made read_token in account, version 1\n"), errors
    assert (await privyseal(environment, "reveal", "account.read_token"))[1] == f"{VALUE}!"
    status, _, errors = await privyseal(environment, *words, "--input", "path=!", "--refers-to", "x")
    assert status == Malformed.exit_status and "inputs stand for reference" in errors
    status, _, errors = await privyseal(environment, *words, "--input", "path=!", "--from-stdin", given="hunter2")
    assert "only reads" in errors and "hunter2" not in errors
    status, _, errors = await privyseal(
        environment, "secret", "set", "account.elsewhere", "--input", "path=x", "--connector", "account.local"
    )
    assert status == Malformed.exit_status and "which takes no inputs" in errors


async def test_at_a_terminal_the_inputs_are_asked_for(environment: DevEnvironment) -> None:
    await made(environment, "asked")
    environ = {**clean_environment(os.environ), "PRIVYSEAL_HOME": str(environment.home.root), "TERM": "dumb"}
    words = ["--context", environment.name, "secret", "set", "account.asked_token", "--connector", "account.asked_sm"]
    with Terminal([*command("privyseal", "client.cli"), *words], environ) as person:
        person.answers("path", "?")
        assert person.leaves() == 0, person.screen
    assert (await privyseal(environment, "reveal", "account.asked_token"))[1] == f"{VALUE}?"


async def test_drift_and_reconcile_as_they_are_typed(environment: DevEnvironment) -> None:
    await made(environment, "drifts")
    words = ("secret", "set", "account.drifts_token", "--connector", "account.drifts_sm", "--input", "path=!")
    assert (await privyseal(environment, *words))[0] == 0
    mine = [one for one in await data(environment, "template", "drift") if "drifts" in one["connector"]]
    assert mine == []
    second = TEMPLATE.replace("v1", "v2").replace("path", "place")
    assert (await privyseal(environment, "apply", "-f", "-", given=text(environment, "drifts", second)))[0] == 0
    status, out, errors = await privyseal(environment, "template", "drift")
    assert status == 1 and "version account/drifts_sm: it runs v1, and the newest version" in out
    assert "+      versionLabel: v2" in out and "connectors first" in errors
    status, _, errors = await privyseal(environment, "template", "reconcile", "account.drifts_sm")
    assert status == NotReady.exit_status and "add --yes" in errors and "+      versionLabel: v2" in errors
    status, out, errors = await privyseal(environment, "template", "reconcile", "account.drifts_sm", "--yes")
    assert (status, out) == (0, "drifts_sm in account was signed anew and runs account.drifts@v2\n")
    assert "missing environment variable: place; unnecessary environment variable: path" in errors
    assert "privyseal secret set account.drifts_token --input place=..." in errors
    (row,) = [one for one in await data(environment, "template", "drift") if "drifts" in one["connector"]]
    assert (row["kind"], row["secret"], row["missing"], row["unnecessary"]) == (
        "secret", "account/drifts_token", ["place"], ["path"],
    )  # fmt: skip
    assert (
        '+    value: \'{"environmentVariables":[{"name":"place","type":"String","value":"<+input>"}]}\'' in row["diff"]
    )
    status, out, _ = await privyseal(environment, "template", "reconcile", "account.drifts_sm", "--to", "v2")
    assert (status, out) == (0, "drifts_sm in account runs account.drifts@v2\n")
    assert (await privyseal(environment, "secret", "set", "account.drifts_token", "--input", "place=."))[0] == 0
    assert (await privyseal(environment, "reveal", "account.drifts_token"))[1] == f"{VALUE}."


async def test_a_connector_that_was_asked_for_leaves_its_inputs_to_secrets(environment: DevEnvironment) -> None:
    await made(environment, "wizard")
    environ = {**clean_environment(os.environ), "PRIVYSEAL_HOME": str(environment.home.root), "TERM": "dumb"}
    words = ["--context", environment.name, "connector", "create"]
    with Terminal([*command("privyseal", "client.cli"), *words], environ) as person:
        for question, answer in (
            *(("Name", "wizard asked"), ("Identifier", ""), ("Description", ""), ("Tags", "")),
            *(("Type", "CustomSecretManager"), ("templateRef", "account.wizard"), ("versionLabel", "v1")),
            *(("Where the script runs", "onDelegate"), ("More settings?", "n"), ("Selectors", "")),
            ("Make wizard_asked", "y"),
        ):
            person.answers(question, answer)
        assert person.leaves() == 0, person.screen
    _, out, _ = await privyseal(environment, "connector", "get", "account.wizard_asked")
    assert "name: path\n          value: <+input>\n" in out


async def test_what_is_exported_can_be_applied_elsewhere(environment: DevEnvironment, tmp_path: Path) -> None:
    await made(environment, "exported")
    status, out, errors = await privyseal(environment, "export", "account.exported@v1", "account.exported_sm")
    assert status == 0 and out.startswith("template:\n"), errors
    rows = json.loads((await privyseal(environment, "apply", "-f", "-", "-o", "json", given=out))[1])
    assert [row["action"] for row in rows] == ["none", "none"]
    everything = (await privyseal(environment, "export", "--all"))[1]
    assert "identifier: exported\n" in everything
