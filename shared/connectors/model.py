"""What the models of all kinds share: reading a `spec`, field paths in errors, references to secrets, selectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta

from shared.condition import parsed
from shared.connectors.fields import Forms, Refused, read
from shared.documents.fields import SecretReference
from shared.errors import Malformed
from shared.selectors import MAXIMUM, normalise, normalise_all

Text = Annotated[str, Meta(min_length=1, max_length=2048)]

DEFAULT_ALIAS = "isDefault"
"""How `default` was written in older YAML."""

M = TypeVar("M", bound="Model")


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, rename="camel"):
    """Settings that every kind takes. Fields are written in camelCase, as in the YAML."""

    FORMS: ClassVar[Forms] = Forms()
    """What errors say of the kind's fields."""

    delegate_selectors: tuple[str, ...] = ()
    delegate_condition: str = ""
    execute_on_delegate: bool = True
    ignore_test_connection: bool = False
    default: bool = False

    def references(self) -> tuple[str, ...]:
        """The secrets that the settings name, in the order of their fields."""
        return tuple(self.named_references().values())

    def named_references(self) -> dict[str, str]:
        """The same by the path of the field that names them."""
        return {
            path: value
            for path, field, value in _leaves(self)
            if value is not None and field.type in {SecretReference, SecretReference | None}
        }

    @property
    def oidc_audience(self) -> str | None:
        """The audience of the ID tokens that such a connector shows; None where it shows none."""
        return None

    def selectors(self) -> tuple[str, ...]:
        """The connector's selectors united with its credential's, normalised."""
        return normalise_all(selector for _, selector in _selectors(self))

    def condition(self) -> str:
        """The connector's condition over its delegates' tags, in its canonical form; empty for none."""
        return str(parsed(self.delegate_condition)) if self.delegate_condition else ""


def convert(model: type[M], spec: Mapping[str, Any], kind: str) -> M:
    """`spec` as that model. Raises Malformed with the field's path (fact `path`) and what is allowed, never the value."""
    given = dict(spec)
    alias = DEFAULT_ALIAS in given
    try:
        if alias:
            if "default" in given:
                raise Refused(DEFAULT_ALIAS, "this is the older name of default: give one of them")
            given["default"] = given.pop(DEFAULT_ALIAS)
        settings = read(model, given, model.FORMS)
        _check_selectors(settings)
        _check_condition(settings)
    except Refused as why:
        path = DEFAULT_ALIAS if alias and why.path == "default" else why.path
        place = f"spec.{path}" if path else "spec"
        facts = {"path": place, **({"allowed": list(why.allowed)} if why.allowed else {})}
        raise Malformed(
            "connector_malformed", f"{place} of the {kind} connector: {why.detail}", "see docs/connectors.md", **facts
        ) from None
    return settings


def _check_selectors(settings: Model) -> None:
    seen: set[str] = set()
    for path, selector in _selectors(settings):
        try:
            seen.add(normalise(selector))
        except Malformed as why:
            raise Refused(path, why.hint) from None
    if len(seen) > MAXIMUM:
        raise Refused("delegateSelectors", f"more than {MAXIMUM} selectors are given")


def _check_condition(settings: Model) -> None:
    try:
        if settings.delegate_condition:
            parsed(settings.delegate_condition)
    except Malformed as why:
        raise Refused("delegateCondition", f"{why.detail}; {why.hint}") from None


def _selectors(settings: Model) -> Iterator[tuple[str, str]]:
    for path, field, value in _leaves(settings):
        if field.name == "delegate_selectors":
            yield from ((f"{path}[{at}]", selector) for at, selector in enumerate(value))


def _leaves(struct: msgspec.Struct, above: str = "") -> Iterator[tuple[str, msgspec.structs.FieldInfo, Any]]:
    for field in msgspec.structs.fields(struct):
        value, path = getattr(struct, field.name), f"{above}{field.encode_name}"
        if isinstance(value, msgspec.Struct):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, field, value
