"""Descriptions of templates: what is read, given back, and refused at its field; and inputs of secrets in both their forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from client.manifest import Manifest, parse
from client.secret_inputs import inputs_of, value_of
from client.template_descriptions import describe_template, template_body, template_yaml
from client.templates import order_of, template_diff
from shared.documents.template import TemplateDocument
from shared.errors import Malformed
from shared.names import Reference, Scope
from shared.template_inputs import HOST
from tests.fakes.world import World

BODY: dict[str, Any] = {
    "name": "My SM",
    "versionLabel": "v1",
    "type": "SecretManager",
    "orgIdentifier": "acme",
    "tags": {"team": "payments"},
    "spec": {
        "shell": "Bash",
        "delegateSelectors": ["Zone:A", "zone:a"],
        "source": {"type": "Inline", "spec": {"script": 'secret="$path<+secrets.getValue("token")>"\n'}},
        "write": {"type": "Inline", "spec": {"script": 'echo "<+secrets.getValue("account.writer")>"'}},
        "environmentVariables": [
            {"name": "path", "type": "String", "value": "<+input>"},
            {"name": "url", "type": "String", "value": 'https://<+secrets.getValue("org.host")>'},
            {"name": "other"},
        ],
    },
}


def manifest(**changes: Any) -> Manifest:
    spec = {**BODY["spec"], **changes.pop("spec", {})}
    body = {**BODY, **changes, "spec": {name: value for name, value in spec.items() if value is not None}}
    (found,) = parse(yaml.safe_dump({"template": {k: v for k, v in body.items() if v is not None}}).encode(), "f.yaml")
    return found


def refusal(**changes: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        describe_template(manifest(**changes))
    return caught.value


def document(one: Manifest) -> TemplateDocument:
    world, wanted = World(), describe_template(one)
    return TemplateDocument(
        v=1,
        acct=world.id,
        id=world.opaque("template"),
        rev=1,
        iat=1,
        scope=str(wanted.place.scope),
        identifier=wanted.place.identifier,
        version=wanted.version,
        name=wanted.name,
        description=wanted.description,
        tags=wanted.tags,
        content=wanted.content,
    )


def test_a_description_is_read_whole() -> None:
    one = describe_template(manifest())
    assert (one.place, one.version, one.place_name) == (Reference(Scope("acme"), "My_SM"), "v1", "My_SM@v1")
    content = one.content
    assert content.selectors == ("zone:a",)
    assert content.secrets == ("account.writer", "org.host", "token")
    assert [(each.name, each.value) for each in content.inputs] == [
        ("path", None), ("url", 'https://<+secrets.getValue("org.host")>'), ("other", None),
    ]  # fmt: skip
    assert content.write.startswith("echo") and content.remove == ""
    assert [one.path_of(each) for each in content.secrets] == [
        "spec.write.spec.script", "spec.environmentVariables[1].value", "spec.source.spec.script",
    ]  # fmt: skip
    assert one.path_of("account.nowhere") == "spec"


def test_what_is_given_back_is_read_as_the_same() -> None:
    first = document(manifest())
    text = template_yaml(template_body(first))
    assert "        script: |\n" in text
    (again,) = parse(text.encode(), "export")
    assert describe_template(again).content == first.content
    assert template_diff(first, first, "") == ""
    assert template_diff(None, first, "f:1").startswith("--- /dev/null\n+++ org/acme/My_SM@v1 (f:1)\n")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<\0"), min_size=1, max_size=60))
def test_any_script_that_is_taken_comes_back_to_the_character(script: str) -> None:
    try:
        first = document(manifest(spec={"source": {"spec": {"script": script}}, "shell": "Python"}))
    except Malformed:
        return
    (again,) = parse(template_yaml(template_body(first)).encode(), "export")
    assert describe_template(again).content.script == first.content.script


@pytest.mark.parametrize(
    ("changes", "path", "told"),
    [
        ({"versionLabel": None}, "versionLabel", "is missing"),
        ({"versionLabel": "a b"}, "versionLabel", "without spaces"),
        ({"type": "Step"}, "type", "SecretManager"),
        ({"name": "~"}, "name", "a name"),
        ({"name": "...", "identifier": None}, "identifier", "no identifier can be made"),
        ({"orgIdentifier": None, "projectIdentifier": "p"}, "projectIdentifier", "without its organisation"),
        ({"orgIdentifier": None}, "spec", "org."),
        ({"icon": "x"}, "icon", "no such field"),
        ({"spec": {"shell": "Zsh"}}, "spec.shell", "Bash, PowerShell, Python"),
        ({"spec": {"shell": None}}, "spec.shell", "missing"),
        ({"spec": {"source": None}}, "spec.source", "the script is missing"),
        ({"spec": {"source": {"type": "Remote", "spec": {"script": "x"}}}}, "spec.source.type", "Inline"),
        ({"spec": {"source": {"type": "Inline", "spec": {"script": ""}}}}, "spec.source.spec.script", "1 to 65,536"),
        ({"spec": {"remove": {"spec": {"script": "<+x>"}}}}, "spec.remove.spec.script", "line 1, column 3 uses x"),
        ({"spec": {"delegateSelectors": ["a b"]}}, "spec.delegateSelectors", "selector"),
        ({"spec": {"outputVariables": ["x"]}}, "spec.outputVariables", "secret alone"),
        ({"spec": {"executionTarget": {"workingDirectory": "/x"}}}, "spec.executionTarget.workingDirectory", "connector"),
        ({"spec": {"environmentVariables": [{"name": "IFS"}]}}, "spec.environmentVariables[0].name", "IFS"),
        ({"spec": {"environmentVariables": [{"name": "a"}, {"name": "a"}]}}, "spec.environmentVariables[1].name", "dup"),
        ({"spec": {"environmentVariables": [{"name": "a", "value": "<+b>"}]}}, "spec.environmentVariables[0].value", "b"),
        ({"spec": {"environmentVariables": [{"name": "a", "type": "Secret"}]}}, "spec.environmentVariables[0].type", "Str"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_field(changes: dict[str, Any], path: str, told: str) -> None:
    why = refusal(**changes)
    assert why.facts["path"] == f"template.{path}" and why.facts["file"] == "f.yaml"
    assert told in f"{why.detail} {why.hint}"


def test_more_secrets_than_a_document_takes_are_refused() -> None:
    script = "\n".join(f'echo "<+secrets.getValue("account.s{at}")>"' for at in range(65))
    assert "more than 64 secrets" in refusal(spec={"source": {"spec": {"script": script}}}).detail


def test_labels_are_sorted_with_numbers_by_their_value() -> None:
    assert sorted(["v10", "v9", "1.10", "1.9", "v9.1", "2024-06"], key=order_of) == [
        "1.9", "1.10", "2024-06", "v9", "v9.1", "v10",
    ]  # fmt: skip
    assert order_of("v01") != order_of("v1")


# ---- inputs of secrets


FORM = {"environmentVariables": [{"name": "path", "type": "String", "value": "a"}], "executionTarget": {"host": "db"}}


def test_both_forms_of_inputs_are_read() -> None:
    assert inputs_of({"path": "a"}) == inputs_of('{"path":"a"}') == {"path": "a"}
    assert inputs_of(FORM) == inputs_of(json.dumps(FORM)) == {"path": "a", HOST: "db"}
    assert inputs_of("") == inputs_of({}) == inputs_of({"environmentVariables": []}) == {}
    assert inputs_of({"executionTarget": {}}) == {}
    assert inputs_of(value_of({"path": "a", HOST: "db"})) == {"path": "a", HOST: "db"}
    assert value_of({}) == '{"environmentVariables":[]}'


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{", "malformed JSON"),
        ("[1]", "no JSON object"),
        (5, "no JSON object"),
        ("NaN", "malformed JSON"),
        ('{"a": 5}', "isn't a text"),
        ('{"a": "x", "a": "y"}', "stands twice"),
        ("[" * 100_000, "malformed JSON"),
        ({"environmentVariables": [{"name": "a"}]}, "isn't a list of name"),
        ({"environmentVariables": [{"name": "a", "value": "b", "colour": "c"}]}, "isn't a list of name"),
        ({"environmentVariables": [{"name": "a", "value": "b"}] * 2}, "duplicate environment variable: a"),
        ({"environmentVariables": [], "other": "x"}, "isn't a list of name"),
    ],
)
def test_what_is_neither_is_refused_without_repeating_it(value: object, told: str) -> None:
    with pytest.raises(Malformed) as caught:
        inputs_of(value)
    assert caught.value.code == "inputs_malformed" and told in caught.value.detail
