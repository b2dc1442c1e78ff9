"""docs/secret-managers/aws-parameter-store.md says what the kind does: its fields, actions, error codes and limits."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import yaml

from delegate.secret_managers import aws_parameter_store, direct, ownership, selection, texts
from shared.connectors.aws_parameter_store import DEFAULT_PATH, LONGEST_VALUES, AwsParameterStoreSettings
from shared.connectors.aws_secret_manager import AccessKeySettings, ExternalRoleSettings
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/secret-managers/aws-parameter-store.md").read_text()
MODULES = (aws_parameter_store, ownership, selection, texts)
SOURCES = [(ROOT / f"{one.__name__.replace('.', '/')}.py").read_text() for one in MODULES]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def policies() -> list[Any]:
    return [json.loads(one) for one in blocks("json")]


def test_every_field_is_on_the_page() -> None:
    own = {field.encode_name for field in msgspec.structs.fields(AwsParameterStoreSettings)}
    own -= {field.encode_name for field in msgspec.structs.fields(Model)}
    for model in (AccessKeySettings, ExternalRoleSettings):
        own |= {field.encode_name for field in msgspec.structs.fields(model)}
    told = set(re.findall(r"[`.](\w+)`", PAGE))
    assert own - told <= {"credential"}
    assert f"| `{DEFAULT_PATH}` |" in PAGE


def test_the_example_is_taken() -> None:
    (text,) = blocks("yaml")
    body = yaml.safe_load(text)["connector"]
    assert isinstance(settings(body["type"], body["spec"]), AwsParameterStoreSettings)


def test_the_policies_name_exactly_the_actions_that_are_asked_for() -> None:
    asked = set(re.findall(r"_ask\(\s*\"(\w+)\"", SOURCES[0]))
    reading, writing = ({one.split(":")[1] for one in policy["Statement"][0]["Action"]} for policy in policies())
    assert writing == asked
    assert reading == {"GetParameter", "ListTagsForResource"}


def test_every_error_of_the_kind_is_on_the_page() -> None:
    told = set(re.findall(r"`([a-z_]+)`", PAGE.split("## Errors")[1]))
    refusals = {one.code for one in aws_parameter_store._REFUSALS.values()}
    raised = {code for text in SOURCES for code in re.findall(r"(?:raise|return) \w+\(\s*\"([a-z_]+)\"", text)}
    assert refusals | raised <= told


@pytest.mark.parametrize("code", ["locator_changed", "value_too_large"])
def test_the_errors_of_direct_stores_are_there_too(code: str) -> None:
    assert f'"{code}"' in (ROOT / f"{direct.__name__.replace('.', '/')}.py").read_text()
    assert f"`{code}`" in PAGE


def test_the_limits_and_names_are_those_of_the_program() -> None:
    for tier, longest in LONGEST_VALUES.items():
        assert f"`{tier}`" in PAGE
        assert f"{longest:,} bytes" in PAGE
    assert f"PATH/{aws_parameter_store.CHECKED}" in PAGE
    assert f"`{aws_parameter_store.LABEL}DIGEST`" in PAGE
    assert f"`{aws_parameter_store.SECRETS_MANAGER}/...`" in PAGE
