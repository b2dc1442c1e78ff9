"""The page on custom secret managers says what templates, connectors and secrets may say; its example can be applied."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import yaml

from client.descriptions import describe
from client.manifest import parse
from client.secret_descriptions import describe_secret
from client.secret_inputs import inputs_of
from client.template_descriptions import _Body, _Spec, describe_template
from client.templates import order_of
from delegate import ssh_session
from delegate.runs import TERM_SECONDS
from delegate.secret_managers.custom_secret_manager import CONCURRENCY, MOST_SCRIPTS
from shared.connectors.catalogue import Catalogue
from shared.connectors.custom_secret_manager import (
    DEFAULT_SECONDS,
    LONGEST_SECONDS,
    CustomSecretManagerSettings,
    EnvironmentVariable,
)
from shared.connectors.model import Model
from shared.documents.template import LONGEST_SCRIPT, MOST_INPUTS
from shared.template_inputs import HOST, LONGEST_INPUTS, asked, connector_gap, secret_gap
from tests.architecture.source import ROOT
from tests.unit.test_docs_cli import calls
from tests.unit.test_docs_cli import parse as typed

PAGE = (ROOT / "docs/secret-managers/custom.md").read_text()
SOURCES = (
    *("client/cli/inputs.py", "client/custom_managers.py", "client/drift.py", "client/secret_inputs.py"),
    *("client/templates.py", "client/template_descriptions.py", "delegate/secret_managers/custom_secret_manager.py"),
    "shared/template_inputs.py",
)
CODE = re.compile(r'(?:Malformed|Denied|NotFound|Conflict|Tampered)\(\s*"([a-z_]+)"')
SSH_CODE = re.compile(r'"(ssh_[a-z_]+)"')
MANIFESTS = parse(re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0].encode(), "the page")


def names(model: type[msgspec.Struct]) -> set[str]:
    return {one.encode_name for one in msgspec.structs.fields(model)}


def test_the_example_fits_together() -> None:
    template, connector, secret = MANIFESTS
    content = describe_template(template).content
    settings = describe(connector, Catalogue()).settings
    assert isinstance(settings, CustomSecretManagerSettings)
    assert not connector_gap(content, settings)
    assert [one.name for one in asked(content, settings)] == ["path", "engine"]
    inputs = describe_secret(secret).inputs
    assert inputs is not None and not secret_gap(content, settings, inputs)


def test_every_field_is_on_the_page() -> None:
    told = set(re.findall(r"`(?:\w+\.)*(\w+)(?:: [\w:]+)?`", PAGE))
    assert names(_Body) | names(_Spec) <= {*told, "spec"}
    assert names(CustomSecretManagerSettings) - names(Model) <= told
    assert names(EnvironmentVariable) <= told


def test_both_forms_of_inputs_mean_what_the_page_says() -> None:
    flat, form = (
        json.loads(line) for line in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0].splitlines()
    )
    assert {**inputs_of(flat), HOST: "db.example.com"} == inputs_of(form)
    assert f"`--input {HOST}=db.example.com`" in PAGE


def test_the_limits_are_those_of_the_program() -> None:
    assert f"at most {LONGEST_SCRIPT:,} characters" in PAGE and f"at most {MOST_INPUTS} inputs" in PAGE
    assert f"at most {LONGEST_INPUTS:,} characters together" in PAGE
    assert f"| {DEFAULT_SECONDS} | seconds, 1 to {LONGEST_SECONDS} |" in PAGE
    assert sorted(["v10", "v9", "1.10", "1.9", "v9.1"], key=order_of) == ["1.9", "1.10", "v9", "v9.1", "v10"]


def test_what_is_said_of_running_is_what_the_delegate_does() -> None:
    assert f"Of one task {CONCURRENCY} scripts run at once, of one connector {MOST_SCRIPTS}" in PAGE
    assert TERM_SECONDS == ssh_session.TERM_SECONDS == 5 and "SIGTERM, five seconds, SIGKILL" in PAGE
    ssh = {code for path in ROOT.glob("delegate/ssh*.py") for code in SSH_CODE.findall(path.read_text())}
    told = PAGE.partition("## What runs where")[2].partition("## Errors")[0]
    assert {"ssh_lost", "ssh_host_changed", "ssh_host_unknown"} <= set(re.findall(r"`(ssh_\w+)`", told)) <= ssh
    for code in ("version_replaced", "version_kept"):
        assert told.count(f"`{code}`") and f'"{code}"' in (ROOT / SOURCES[6]).read_text()


def test_every_error_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall((ROOT / path).read_text())}
    told = set(re.findall(r"`([a-z_]+)`", PAGE.partition("## Errors")[2]))
    assert sorted(codes - told) == []


def test_every_command_of_the_page_can_be_typed() -> None:
    block: list[Any] = [line for line in PAGE.splitlines() if line.startswith("privyseal ")]
    inline = [one for one in re.findall(r"`(privyseal [^`]+)`", PAGE) if "..." not in one and "NAME" not in one]
    for line in (*block, *inline):
        if len(line.split()) > 3:
            for words in calls(line):
                typed(words)


def test_the_yaml_of_the_page_is_yaml() -> None:
    assert [next(iter(one)) for one in yaml.safe_load_all(PAGE.split("```yaml\n")[1].partition("```")[0])] == [
        "template", "connector", "secret",
    ]  # fmt: skip
