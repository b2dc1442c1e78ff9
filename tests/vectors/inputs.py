"""Vectors of the inputs of secrets at custom secret managers, as they stand in `reference`."""

from __future__ import annotations

from typing import Any

from shared.template_inputs import HOST, write_inputs
from tests.vectors.actors import case, file

_GOOD: dict[str, dict[str, str]] = {
    "none": {},
    "one": {"path": "prod/db"},
    "several, in order": {"b": "2", "B": "1", "_": "3", "a1": ""},
    "the sign of a key": {"path": "prod/db#password"},
    "what looks like its escape": {"path": "\\u0023", "other": "\\#"},
    "characters of every kind": {"path": "\u00e9\u2028\U0001f511\x85 \t\n\"\\'$(id)`id`"},
    "a < and a + apart": {"path": "a < + b"},
    "a host": {"path": "x", HOST: "db.example.com"},
    "the longest": {"path": "x" * 2_037},
}
_BAD: dict[str, tuple[str, str]] = {
    "nothing": ("", "inputs_malformed"),
    "a path": ("prod/db#password", "inputs_malformed"),
    "a list": ("[]", "inputs_malformed"),
    "the sign of a key as it is": ('{"path":"a#b"}', "inputs_malformed"),
    "another escape of it": ('{"path":"a\\U0023b"}', "inputs_malformed"),
    "another character escaped": ('{"path":"\\u0041"}', "inputs_malformed"),
    "out of order": ('{"b":"","a":""}', "inputs_malformed"),
    "a name twice": ('{"a":"","a":""}', "inputs_malformed"),
    "white space": ('{"a": ""}', "inputs_malformed"),
    "a number": ('{"a":1}', "inputs_malformed"),
    "nothing as a value": ('{"a":null}', "inputs_malformed"),
    "a name that is none": ('{"a b":""}', "inputs_malformed"),
    "a name that begins with a digit": ('{"1a":""}', "inputs_malformed"),
    "an empty name": ('{"":""}', "inputs_malformed"),
    "an expression": ('{"a":"<+secrets.getValue(\\"account.root\\")>"}', "input_expression"),
    "the beginning of one": ('{"a":"x<+"}', "input_expression"),
    "a null character": ('{"a":"\\u0000"}', "inputs_malformed"),
    "more than fits": ('{"path":"' + "x" * 2_038 + '"}', "inputs_too_long"),
    "a lone surrogate": ('{"a":"\\ud800"}', "inputs_malformed"),
}


def inputs() -> dict[str, Any]:
    """Texts, and the inputs that they stand for."""
    good = [case(name, "accepted", text=write_inputs(given), inputs=given) for name, given in _GOOD.items()]
    bad = [case(name, f"malformed/{code}", text=text) for name, (text, code) in _BAD.items()]
    return file("Inputs in the `reference` of a secret at a custom secret manager (formats, section 14).", good + bad)
