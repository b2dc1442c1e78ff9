"""The questions of a kind of connector, made from its model: what its `spec` may hold, given what is answered already.

Promises: a kind needs nothing here; its fields, types and defaults are its model's, and hints, choices and ways are its
FORMS'. Pure. Must not decide whether an answer is right: the model does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import NODEFAULT, inspect

from shared.connectors.fields import Way
from shared.connectors.model import Model

Spec = dict[str, Any]

SELECTORS = "delegateSelectors"
"""Asked in a step of its own; a credential's only where its type needs them."""
CONNECTIVITY = "executeOnDelegate"
CONDITION = "delegateCondition"
"""For who writes YAML."""


@dataclass(frozen=True, slots=True)
class Question:
    """A field. `default` is the model's, None where there is none that would say something."""

    path: str
    type: inspect.Type
    hint: str
    required: bool
    default: Any

    @property
    def name(self) -> str:
        """The field's own name."""
        return self.path.rpartition(".")[2]

    @property
    def is_flag(self) -> bool:
        """Whether it is answered by yes or no."""
        return isinstance(self.type, inspect.BoolType)

    @property
    def choices(self) -> tuple[str, ...]:
        """The only answers, where they are few."""
        return tuple(str(one) for one in self.type.values) if isinstance(self.type, inspect.LiteralType) else ()

    @property
    def takes_lines(self) -> bool:
        """Whether its text may have several lines, and is rather taken from a file."""
        pattern = self.type.pattern if isinstance(self.type, inspect.StrType) else None
        return pattern is not None and re.search(pattern, "a\nb") is not None

    def read(self, text: str) -> Any:
        """The value that was typed; a text where it is none of the field's type, for the model to refuse."""
        if isinstance(self.type, inspect.IntType):
            return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else text
        if isinstance(self.type, inspect.VarTupleType):
            return words(text)
        return text


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways, of which one is needed. `path` is the field that says which; None where the given field does."""

    key: str
    path: str | None
    ways: Mapping[str, Way]


class Questions:
    """What is asked of one kind. `chosen` are the ways that were chosen, by the keys of their choices."""

    def __init__(self, model: type[Model]) -> None:
        found = inspect.type_info(model)
        assert isinstance(found, inspect.StructType)
        self._model, self._forms = found, model.FORMS
        self.chosen: dict[str, str] = {}

    def fields(self) -> list[Question]:
        """The fields that mean something as things are chosen, in the model's order."""
        return [one for one in self._walk(self._model, "", True) if not self._hidden(one.path)]

    def field(self, path: str) -> Question | None:
        """The field at `path`; also one of a way that isn't chosen."""
        return next((one for one in self._walk(self._model, "", True) if one.path == path), None)

    def choice(self) -> Choice | None:
        """The first that is not chosen yet."""
        return next((one for one in self._choices() if one.key not in self.chosen), None)

    def needed(self) -> list[str]:
        """The paths that the model and the chosen ways need, in the order in which they are asked for."""
        found = [one.path for one in self.fields() if one.required]
        for choice in self._choices():
            if (way := self.chosen.get(choice.key)) is not None:
                own = [way] if choice.path is None else []
                found += [path for path in (*own, *choice.ways[way].needs) if path not in found]
        return [
            path for path in found if (one := self.field(path)) and not one.is_flag and path not in self._forms.ways
        ]

    def more(self) -> list[Question]:
        """The fields that may be left out."""
        ways = self._forms.ways
        said = {*self.needed(), *self._forms.unasked, *ways, *(name for names in ways.values() for name in names)}
        unasked = {SELECTORS, CONDITION, CONNECTIVITY}
        return [one for one in self.fields() if one.path not in said and one.name not in unasked]

    def _choices(self) -> Iterator[Choice]:
        places = {one.path for one in self._walk(self._model, "", True)}
        unions = dict(self._unions(self._model, ""))
        for key in dict.fromkeys((*self._forms.ways, *unions)):
            ways = {**unions.get(key, {}), **self._forms.ways.get(key, {})}
            if key in unions or (key in places and not self._hidden(key)):
                yield Choice(key, key, ways)
            elif key not in places and any(self._exists(way, places) for way in ways):
                yield Choice(key, None, ways)

    @staticmethod
    def _exists(path: str, places: set[str]) -> bool:
        return any(place == path or place.startswith(f"{path}.") for place in places)

    def _hidden(self, path: str) -> bool:
        """Whether it belongs to ways that aren't chosen, and to none that is."""
        for key, ways in self._forms.ways.items():
            belongs = {name for name, way in ways.items() if _holds(name, way, path)}
            if belongs and self.chosen.get(key) not in belongs:
                return True
        return False

    def _walk(self, struct: inspect.StructType, above: str, required: bool) -> Iterator[Question]:
        for field in struct.fields:
            path, kind = f"{above}{field.encode_name}", _bare(field.type)
            needed = required and field.required
            if isinstance(kind, inspect.StructType):
                yield from self._walk(kind, f"{path}.", needed)
            elif isinstance(kind, inspect.UnionType):
                chosen = self.chosen.get(f"{path}.type")
                for member in _members(kind):
                    if member.tag == chosen:
                        yield from self._walk(member, f"{path}.", needed)
            else:
                default = None if field.default is NODEFAULT else field.default
                yield Question(path, kind, self._hint(path, kind), needed, default)

    def _unions(self, struct: inspect.StructType, above: str) -> Iterator[tuple[str, dict[str, Way]]]:
        for field in struct.fields:
            kind = _bare(field.type)
            if isinstance(kind, inspect.UnionType) and field.required:
                tags = {str(member.tag): Way() for member in _members(kind)}
                yield f"{above}{field.encode_name}.type", tags

    def _hint(self, path: str, kind: inspect.Type) -> str:
        hint = self._forms.forms.get(path, "a whole number" if isinstance(kind, inspect.IntType) else "")
        if isinstance(kind, inspect.VarTupleType):
            hint = f"{hint}; a, b, ..." if hint else "a, b, ..."
        return hint


def _holds(name: str, way: Way, path: str) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in (name, *way.needs, *way.takes))


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type without `| None`."""
    if isinstance(kind, inspect.UnionType):
        left = tuple(one for one in kind.types if not isinstance(one, inspect.NoneType))
        return left[0] if len(left) == 1 else inspect.UnionType(left)
    return kind


def _members(kind: inspect.UnionType) -> list[inspect.StructType]:
    return [one for one in kind.types if isinstance(one, inspect.StructType)]


def words(text: str) -> list[str]:
    """What stands between commas."""
    return [one.strip() for one in text.split(",") if one.strip()]
