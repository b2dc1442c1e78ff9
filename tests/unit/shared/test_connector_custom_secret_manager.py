"""Settings of custom secret managers: which template, which of its inputs, on the delegate or on a host, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.custom_secret_manager import ASKED, CustomSecretManagerSettings
from shared.connectors.kinds import settings
from shared.errors import Malformed

VARIABLES = "spec.template.templateInputs.environmentVariables"
WHOLE: dict[str, Any] = {
    "delegateSelectors": ["d1"],
    "onDelegate": False,
    "host": "10.0.0.5",
    "connectorRef": "account.sshKey",
    "workingDirectory": "/srv/scripts",
    "timeout": 30,
    "default": False,
    "template": {
        "templateRef": "account.MySmTemplate",
        "versionLabel": "v1",
        "templateInputs": {
            "environmentVariables": [
                {"name": "path", "type": "String", "value": ASKED, "useAsDefault": False},
                {"name": "engine", "type": "String", "value": "kv", "useAsDefault": True},
                {
                    "name": "login",
                    "value": 'a:<+secrets.getValue("account.user")>:<+secrets.getValue("org.password")>:'
                    '<+secrets.getValue("account.user")>',
                },
            ]
        },
    },
}
TARGET = {"onDelegate": None, "host": None, "connectorRef": None, "workingDirectory": None}


def read(**changes: Any) -> CustomSecretManagerSettings:
    found = settings("CustomSecretManager", {**WHOLE, **changes})
    assert isinstance(found, CustomSecretManagerSettings)
    return found


def refusal(**changes: Any) -> tuple[str, str]:
    with pytest.raises(Malformed) as caught:
        read(**changes)
    assert caught.value.code == "connector_malformed"
    return str(caught.value.facts["path"]), caught.value.detail


def variable(**fields: Any) -> dict[str, Any]:
    link = {**WHOLE["template"], "templateInputs": {"environmentVariables": [{"name": "path", **fields}]}}
    return {"template": link}


def test_every_field_of_todays_yaml_is_read() -> None:
    found = read()
    assert (found.host, found.working_directory, found.timeout) == ("10.0.0.5", "/srv/scripts", 30)
    assert (found.template.template_ref, found.template.version_label) == ("account.MySmTemplate", "v1")
    assert found.selectors() == ("d1",)
    assert [(one.name, one.is_asked, one.text) for one in found.variables] == [
        ("path", True, None),
        ("engine", True, "kv"),
        ("login", False, WHOLE["template"]["templateInputs"]["environmentVariables"][2]["value"]),
    ]


def test_the_login_and_the_secrets_in_values_are_named_with_their_places() -> None:
    assert read().named_references() == {
        "connectorRef": "account.sshKey",
        "template.templateInputs.environmentVariables[2].value": "account.user",
        "template.templateInputs.environmentVariables[2].value[1]": "org.password",
    }
    assert read(**TARGET, **variable()).named_references() == {}


def test_the_script_runs_on_the_delegate_unless_a_host_is_given() -> None:
    assert not read(**TARGET).is_remote and read(**TARGET).timeout == 30
    assert not read(**{**TARGET, "onDelegate": True}).is_remote
    assert read(onDelegate=None).is_remote and read().is_remote
    assert settings("CustomSecretManager", {"template": WHOLE["template"]}).timeout == 20  # type: ignore[attr-defined]


def test_a_host_may_be_asked_of_each_secret() -> None:
    assert read(host=ASKED).asks_host
    assert not read().asks_host and not read(**TARGET).asks_host


@pytest.mark.parametrize("field", ["host", "connectorRef", "workingDirectory"])
def test_what_is_of_a_host_is_refused_on_the_delegate(field: str) -> None:
    path, detail = refusal(**{**TARGET, "onDelegate": True, field: WHOLE[field]})
    assert path == f"spec.{field}" and "for a target host alone" in detail


@pytest.mark.parametrize("field", ["host", "connectorRef"])
def test_a_target_host_needs_its_name_and_a_login(field: str) -> None:
    path, detail = refusal(**{field: None})
    assert path == f"spec.{field}" and "with onDelegate: false" in detail


@pytest.mark.parametrize(
    "host", ["", "root@db", "db:22", "-oProxyCommand=x", "a b", "a\nb", '<+secrets.getValue("x")>']
)
def test_a_host_is_one_name_or_address(host: str) -> None:
    path, detail = refusal(host=host)
    assert path == "spec.host" and "the name or address of the host" in detail
    assert host == "" or host not in detail


@pytest.mark.parametrize("directory", ["", "tmp", "/a\nb", "/a\0b", "/" + "x" * 1024])
def test_a_working_directory_is_an_absolute_path(directory: str) -> None:
    assert refusal(workingDirectory=directory)[0] == "spec.workingDirectory"


@pytest.mark.parametrize("timeout", [0, 601, -1, "20", True])
def test_a_timeout_is_one_second_to_ten_minutes(timeout: Any) -> None:
    path, detail = refusal(timeout=timeout)
    assert path == "spec.timeout" and "1 to 600" in detail


def test_a_template_is_named_with_its_version() -> None:
    assert "give templateRef and versionLabel" in refusal(template=None)[1]
    assert refusal(template={"versionLabel": "v1"})[0] == "spec.template.templateRef"
    path, detail = refusal(template={"templateRef": "account.x"})
    assert path == "spec.template.versionLabel" and "which version was looked at" in detail
    for label in ("", "a b", "a/b", "a&b", "-a", "x" * 65, 1):
        assert refusal(template={"templateRef": "account.x", "versionLabel": label})[0] == "spec.template.versionLabel"
    for place in ("", "project.x", "a/b", "account.", '<+secrets.getValue("x")>'):
        assert refusal(template={"templateRef": place, "versionLabel": "v"})[0] == "spec.template.templateRef"


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"name": "1x"}, "name", "not beginning with a digit"),
        ({"type": "Number"}, "type", "give one of String"),
        ({"value": 5}, "value", "in quotes"),
        ({"value": "x" * 4097}, "value", "at most 4,096"),
        ({"colour": "red"}, "colour", "give one of name, type, value, useAsDefault"),
        ({"value": "<+pipeline.x>"}, "value", "which isn't known here"),
        ({"value": '<+secrets.getValue("a.b.c")>'}, "value", "names what is no stored secret"),
        ({"value": "<+secrets.getValue(x)>"}, "value", "names a secret by a variable"),
        ({"value": "<+secrets.getValue("}, "value", "isn't understood"),
    ],
)
def test_what_is_wrong_with_an_input_is_told_at_its_place(fields: dict[str, Any], field: str, told: str) -> None:
    path, detail = refusal(**variable(**fields))
    assert path == f"{VARIABLES}[0].{field}"
    assert told in detail


def test_an_input_that_stands_twice_is_refused() -> None:
    inputs = {"environmentVariables": [{"name": "a"}, {"name": "b"}, {"name": "a", "value": "x"}]}
    path, detail = refusal(template={**WHOLE["template"], "templateInputs": inputs})
    assert path == f"{VARIABLES}[2].name" and "duplicate environment variable: a" in detail


def test_an_unknown_field_is_told_with_those_that_exist() -> None:
    path, detail = refusal(template={**WHOLE["template"], "script": "x"})
    assert path == "spec.template.script" and "templateRef, versionLabel, templateInputs" in detail
