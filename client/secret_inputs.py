"""Inputs of a secret at a custom secret manager, in the words of its YAML: JSON as a text, or a mapping.

    {"environmentVariables": [{"name": "path", "type": "String", "value": "a/b"}], "executionTarget": {"host": "db"}}
    {"path": "a/b"}

Promises: both forms mean the same, and what is neither is refused without repeating it. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta

from shared.documents.fields import Identifier
from shared.documents.template import MOST_INPUTS
from shared.errors import Malformed
from shared.template_inputs import HOST

VARIABLES, TARGET = "environmentVariables", "executionTarget"
LONGEST = 16_384


class _Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    name: Identifier
    type: Literal["String"] = "String"
    value: str
    use_as_default: bool = False
    """As the connector has it; it means nothing here."""


class _Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str | None = None


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    environment_variables: Annotated[tuple[_Variable, ...], Meta(max_length=MOST_INPUTS)] = ()
    execution_target: _Target = _Target()


def inputs_of(value: object) -> dict[str, str]:
    """The inputs by their names. Raises Malformed: inputs_malformed."""
    if isinstance(value, str):
        value = _parsed(value) if value.strip() else {}
    if not isinstance(value, Mapping):
        raise _malformed("the inputs are no JSON object")
    given = dict(value)
    if VARIABLES in given or TARGET in given:
        return _of_form(given)
    if not all(isinstance(one, str) for one in given.values()):
        raise _malformed("an input isn't a text")
    return {str(name): text for name, text in given.items()}


def _of_form(given: dict[str, Any]) -> dict[str, str]:
    try:
        form = msgspec.convert(given, _Form)
    except msgspec.ValidationError:
        raise _malformed(f"{VARIABLES} isn't a list of name, type: String and value") from None
    found: dict[str, str] = {}
    for one in form.environment_variables:
        if one.name in found:
            raise _malformed(f"duplicate environment variable: {one.name}")
        found[one.name] = one.value
    return {**found, HOST: form.execution_target.host} if form.execution_target.host else found


def _parsed(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise _malformed("the inputs are malformed JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _malformed("a name stands twice in the inputs")
    return found


def _refused(_: str) -> NoReturn:
    raise ValueError


def value_of(given: Mapping[str, str]) -> str:
    """The JSON that today's YAML has for inputs."""
    variables = [{"name": name, "type": "String", "value": text} for name, text in given.items() if name != HOST]
    form: dict[str, Any] = {VARIABLES: variables}
    if HOST in given:
        form[TARGET] = {"host": given[HOST]}
    return json.dumps(form, ensure_ascii=False, separators=(",", ":"))


def _malformed(detail: str) -> Malformed:
    return Malformed(
        "inputs_malformed", detail, 'write a mapping of names and texts, or JSON: {"path": "a/b"}; a number in quotes'
    )
