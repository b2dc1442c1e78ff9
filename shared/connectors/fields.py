"""Reading an object whose fields have forms: what is wrong is told by the field's path and by what is allowed there.

Promises: a text about a field never repeats its value, and names no field that wasn't asked for but in letters and digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

_PATH = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?\Z", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>[A-Za-z0-9_]{1,64})`")
_MISSING = re.compile(r"^Object missing required field `(?P<name>[A-Za-z0-9_]{1,64})`")
_PLACE = re.compile(r"\[[0-9.]*\]")
_TYPES = {
    "array": "a list",
    "bool": "true or false",
    "int": "a whole number",
    "object": "an object with fields of its own",
    "str": "a text; in quotes where it looks like something else",
}


class Refused(ValueError):
    """A field that isn't what it must be. `path` leads to it from the object that was read; `allowed` are its only values."""

    def __init__(self, path: str, detail: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.path = path
        self.detail = detail
        self.allowed = allowed


class Way(msgspec.Struct, frozen=True):
    """One of several ways to do the same: the fields that it `needs`, and those that it `takes`, by their paths."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


class Forms(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of fields by their paths: the only `choices`, what a value `is`, and the text when it is `missing`.

    `ways` and `unasked` are for whoever asks a person for the fields one by one; what is allowed is the model's alone.
    """

    choices: Mapping[str, tuple[str, ...]] = {}
    named: Mapping[str, str] = {}
    """How a field with choices is called in errors."""
    forms: Mapping[str, str] = {}
    missing: Mapping[str, str] = {}
    ways: Mapping[str, Mapping[str, Way]] = {}
    """By the field whose value chooses; or in words, where the field that is given chooses. Fields of other ways mean nothing."""
    unasked: tuple[str, ...] = ()
    """Other words for what another field says, and what no person sets."""


def read(cls: type[S], value: Mapping[str, Any], forms: Forms) -> S:
    """`value` as that struct; fields that are there and empty count as absent. Raises Refused."""
    try:
        return msgspec.convert(without_empty(value), cls)
    except msgspec.ValidationError as error:
        why = error.__cause__
        if isinstance(why, Refused):
            raise Refused(why.path, why.detail, why.allowed) from None
        raise _refused(str(error), cls, value, forms) from None


def without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object without its null fields, at every depth."""
    return {
        key: without_empty(member) if isinstance(member, Mapping) else member
        for key, member in value.items()
        if member is not None
    }


def _refused(told: str, cls: type[msgspec.Struct], value: Mapping[str, Any], forms: Forms) -> Refused:
    match = _PATH.match(told)
    assert match is not None
    what, path = match["what"], (match["path"] or "").removesuffix("[...]").lstrip(".")
    if what.startswith("Object contains unknown field"):
        known = _known_fields(cls, value, path)
        return Refused(_below(path, _UNKNOWN.match(what)), _one_of("there is no such field", known), known)
    if (absent := _MISSING.match(what)) is not None:
        path = _below(path, absent)
        choices = forms.choices.get(path, ())
        return Refused(path, _one_of(forms.missing.get(path, "the field is missing"), choices), choices)
    form = _PLACE.sub("", path)
    choices = forms.choices.get(form, ())
    if choices:
        return Refused(path, _one_of(forms.named.get(form, "the value isn't allowed"), choices), choices)
    wanted = re.match(r"Expected `([a-z]+)`", what)
    kind = _TYPES.get(wanted[1]) if wanted else None
    return Refused(path, f"give {forms.forms.get(form) or kind or 'a value of the documented form'}")


def _below(path: str, match: re.Match[str] | None) -> str:
    return f"{path}.{match['name']}".lstrip(".") if match else path


def _one_of(detail: str, allowed: tuple[str, ...]) -> str:
    return f"{detail}: give one of {', '.join(allowed)}" if allowed else detail


def _known_fields(cls: type[msgspec.Struct], value: Any, path: str) -> tuple[str, ...]:
    """The fields of the struct at `path`; where there are several, of the one that `value` names by its tag."""
    for step in filter(None, path.split(".")):
        name = _PLACE.sub("", step)
        value = value[name]
        for place in _PLACE.findall(step):
            value = value[int(place[1:-1])]
        (field,) = (one for one in msgspec.structs.fields(cls) if one.encode_name == name)
        kind = get_args(field.type)[0] if get_origin(field.type) is Annotated else field.type
        members = tuple(one for one in get_args(kind) if one not in {type(None), ...}) or (kind,)
        (cls,) = (one for one in members if len(members) == 1 or _is_chosen(one, value))
    tag = cls.__struct_config__.tag_field
    return (*([tag] if tag else []), *(field.encode_name for field in msgspec.structs.fields(cls)))


def _is_chosen(cls: type[msgspec.Struct], value: Mapping[str, Any]) -> bool:
    config = cls.__struct_config__
    return bool(value[str(config.tag_field)] == config.tag)
