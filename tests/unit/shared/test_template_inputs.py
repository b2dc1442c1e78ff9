"""Inputs of templates: what is fixed, what is asked, what doesn't fit, and the form in which a secret's document has them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies

from shared.connectors.custom_secret_manager import ASKED, CustomSecretManagerSettings
from shared.connectors.kinds import settings
from shared.documents.template import TemplateContent, TemplateInput
from shared.errors import Malformed
from shared.names import Scope
from shared.template_inputs import (
    HOST,
    Asked,
    Gap,
    asked,
    check_given,
    connector_gap,
    host_of,
    merged,
    open_inputs,
    read_inputs,
    secret_gap,
    seen_from,
    write_inputs,
)

CONTENT = TemplateContent(  # noqa: S604 (a field of ours)
    type="SecretManager",
    shell="Bash",
    script="secret=x",
    inputs=(
        TemplateInput(name="path"),
        TemplateInput(name="engine", value=ASKED),
        TemplateInput(name="url", value='https://<+secrets.getValue("host")>'),
        TemplateInput(name="namespace"),
    ),
    secrets=("host",),
)
VARIABLES: list[dict[str, Any]] = [
    {"name": "path", "value": ASKED},
    {"name": "engine", "value": "kv", "useAsDefault": True},
    {"name": "namespace", "value": '<+secrets.getValue("account.ns")>'},
]


def custom(variables: list[dict[str, Any]] = VARIABLES, **changes: Any) -> CustomSecretManagerSettings:
    link = {
        "templateRef": "account.t",
        "versionLabel": "v1",
        "templateInputs": {"environmentVariables": variables},
    }
    found = settings("CustomSecretManager", {"template": link, **changes})
    assert isinstance(found, CustomSecretManagerSettings)
    return found


REMOTE = custom(host=ASKED, connectorRef="account.key")


def test_what_the_template_fixes_is_no_connectors_to_say() -> None:
    assert open_inputs(CONTENT) == ("path", "engine", "namespace")
    assert not connector_gap(CONTENT, custom())
    gap = connector_gap(CONTENT, custom([*VARIABLES[:2], {"name": "url", "value": "x"}, {"name": "other"}]))
    assert gap == Gap(("namespace",), ("other", "url"))


def test_a_gap_is_told_by_names() -> None:
    error = Gap(("a", "b"), ("c",)).refusal("the inputs", "do something")
    assert error.detail == "the inputs: missing environment variables: a, b; unnecessary environment variable: c"
    assert (error.code, error.hint, error.facts["missing"]) == ("inputs_unfit", "do something", ["a", "b"])
    assert not Gap() and Gap(missing=("a",)) and Gap(unnecessary=("a",))


def test_a_secret_is_asked_for_what_nobody_fixed() -> None:
    assert asked(CONTENT, custom()) == (Asked("path"), Asked("engine", "kv"))
    assert asked(CONTENT, REMOTE) == (Asked("path"), Asked("engine", "kv"), Asked(HOST))
    # What the connector doesn't mention is asked for too: nothing gets lost.
    assert asked(CONTENT, custom([])) == (Asked("path"), Asked("engine"), Asked("namespace"))
    assert asked(CONTENT, custom([{"name": "path", "value": f" {ASKED} ", "useAsDefault": True}]))[0] == Asked("path")


def test_inputs_come_together_from_all_three() -> None:
    together = {
        "path": "a/b#c",
        "engine": "kv",
        "url": 'https://<+secrets.getValue("host")>',
        "namespace": '<+secrets.getValue("account.ns")>',
    }
    assert merged(CONTENT, custom(), {"path": "a/b#c"}) == together
    assert merged(CONTENT, custom(), {"path": "x", "engine": ""}) == {**together, "path": "x", "engine": ""}
    assert list(merged(CONTENT, custom(), {"path": "x"})) == ["path", "engine", "url", "namespace"]
    assert merged(CONTENT, custom([]), {"path": "x", "engine": "y", "namespace": "z"})["namespace"] == "z"
    assert HOST not in merged(CONTENT, REMOTE, {"path": "x", HOST: "db"})


@pytest.mark.parametrize(
    ("given", "missing", "unnecessary"),
    [
        ({}, ("path",), ()),
        ({"engine": "x"}, ("path",), ()),
        ({"path": "x", "namespace": "y"}, (), ("namespace",)),
        ({"path": "x", "url": "y", HOST: "z"}, (), (HOST, "url")),
        ({"other": "x"}, ("path",), ("other",)),
    ],
)
def test_what_is_missing_and_what_nobody_asks_for_is_refused(
    given: dict[str, str], missing: tuple[str, ...], unnecessary: tuple[str, ...]
) -> None:
    assert secret_gap(CONTENT, custom(), given) == Gap(missing, unnecessary)
    with pytest.raises(Malformed) as caught:
        merged(CONTENT, custom(), given)
    assert caught.value.code == "inputs_unfit"
    assert caught.value.facts["unnecessary"] == list(unnecessary)


def test_a_host_is_the_connectors_or_asked() -> None:
    assert secret_gap(CONTENT, REMOTE, {"path": "x"}) == Gap((HOST,))
    assert host_of(REMOTE, {HOST: "db"}) == "db"
    assert host_of(custom(host="web", connectorRef="account.key"), {HOST: "db"}) == "web"
    assert host_of(custom(), {HOST: "db"}) is None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"path": '<+secrets.getValue("account.root")>'}, "input_expression"),
        ({"path": "a <+ b"}, "input_expression"),
        ({"path": "a\0b"}, "inputs_malformed"),
        ({"path": "x" * 4097}, "inputs_malformed"),
        ({"a b": "x"}, "inputs_malformed"),
        ({"": "x"}, "inputs_malformed"),
        ({"path;rm": "x"}, "inputs_malformed"),
        ({HOST: "root@db"}, "ssh_host_malformed"),
        ({HOST: "-oProxyCommand=x"}, "ssh_host_malformed"),
    ],
)
def test_a_secret_says_plain_texts_alone(given: dict[str, str], code: str) -> None:
    for act in (check_given, write_inputs, lambda it: merged(CONTENT, custom(), it)):
        with pytest.raises(Malformed) as caught:
            act(given)
        assert caught.value.code == code
        assert not any(text in str(caught.value) for text in given.values())


def test_a_templates_references_are_seen_from_its_own_scope() -> None:
    assert seen_from("x", Scope()) == seen_from("account.x", Scope("acme")) == "account.x"
    assert seen_from("x", Scope("acme")) == seen_from("org.x", Scope("acme", "shop")) == "org.x"
    assert seen_from("x", Scope("acme", "shop")) == "x"


def test_the_form_in_a_document_has_no_sign_of_a_key() -> None:
    text = write_inputs({"path": "a#b", "engine": "#", "x": "\\u0023"})
    assert text == '{"engine":"\\u0023","path":"a\\u0023b","x":"\\\\u0023"}'
    assert "#" not in text
    assert read_inputs(text) == {"path": "a#b", "engine": "#", "x": "\\u0023"}
    assert read_inputs(write_inputs({})) == {} and write_inputs({}) == "{}"


def test_more_than_a_document_takes_is_refused() -> None:
    longest = {"path": "x" * (2_048 - len('{"path":""}'))}
    assert len(write_inputs(longest)) == 2_048
    with pytest.raises(Malformed) as caught:
        write_inputs({"path": longest["path"] + "x"})
    assert caught.value.code == "inputs_too_long"


names = strategies.from_regex(r"\A[a-z_][a-z0-9_]{0,8}\Z")
texts = strategies.text(max_size=30).filter(lambda text: "<+" not in text and "\0" not in text)


@drawn(strategies.dictionaries(names, texts, max_size=6))
def test_what_was_written_is_read(given: dict[str, str]) -> None:
    assert read_inputs(write_inputs(given)) == given


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "a/b#c", "{", '{"a":1}', '{"a":null}', '{"b":"x","a":"y"}', '{"a":"x","a":"y"}'),
        *('{"a": "x"}', '{"a":"#"}', '{"a":"\\u0041"}', '{"a":"\\ud800"}', '{"a b":"x"}', '{"a":"<+x>"}', "[" * 9000),
    ],
)
def test_every_other_text_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read_inputs(text)


@drawn(strategies.text(max_size=40))
def test_garbage_is_read_or_malformed(text: str) -> None:
    try:
        read_inputs(text)
    except Malformed:
        pass
