"""Descriptions: a connector in the words of its YAML, read from a manifest and written from a document.

Promises: the form of every field is checked before anybody is asked anything; `spec` is kept as its author wrote it, so that
what is exported equals what was applied. Pure. Must not decide whether the settings work: a delegate does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from client.manifest import Manifest
from client.yaml_texts import yaml_text
from shared.connectors.catalogue import Catalogue
from shared.connectors.fields import Forms, Refused, read
from shared.connectors.model import Model
from shared.documents.connector import BUILT_IN, BUILT_IN_ALIASES, ConnectorDocument
from shared.documents.fields import Identifier, Line, Name, Tags
from shared.documents.usage import Usage
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE, Reference, Scope

KIND = "connector"
_LONGEST = 128


class Headed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What every description begins with: how it is called, and where it is to live."""

    name: Name
    identifier: Identifier | None = None
    description: Line = ""
    org_identifier: Identifier | None = None
    project_identifier: Identifier | None = None
    tags: Tags = {}

    def place(self, refused: Callable[[str, str, str], Malformed]) -> Reference:
        """Where it is to live; `refused` makes the error from a field, what is wrong with it and the remedy. Raises Malformed."""
        if self.project_identifier and not self.org_identifier:
            raise refused("projectIdentifier", "a project is named without its organisation", "add orgIdentifier")
        identifier = self.identifier or identifier_of(self.name)
        if not identifier:
            raise refused("identifier", "no identifier can be made from the name", "give an identifier")
        return Reference(Scope(self.org_identifier or "", self.project_identifier or ""), identifier)


class _Body(Headed, frozen=True, kw_only=True):
    type: str
    keyring: Identifier | None = None
    usage: Usage | None = None
    spec: dict[str, Any] = {}


_IDENTIFIER = "an identifier: letters, digits and _, not beginning with a digit, at most 128"
HEAD_FORMS = {
    "name": "a name: up to 128 letters, digits, spaces and the characters - _ .",
    "identifier": _IDENTIFIER,
    "orgIdentifier": _IDENTIFIER,
    "projectIdentifier": _IDENTIFIER,
    "description": "a text of at most 1,024 characters",
    "tags": "tags as KEY: VALUE, or a list of KEY:VALUE",
}
"""Of the fields of `Headed`."""
USAGE_FORM = "applications and environments: lists of labels in order, each once, at least one of both"
_FORMS = Forms(
    forms={**HEAD_FORMS, "type": "the name of a kind", "keyring": _IDENTIFIER, "usage": USAGE_FORM},
    missing={"type": "the connector's type is missing"},
)


@dataclass(frozen=True, slots=True)
class Description:
    """A connector as it is wanted. `keyring` is None where its author leaves it to the account."""

    manifest: Manifest
    place: Reference
    name: str
    description: str
    tags: dict[str, str]
    type: str
    keyring: str | None
    spec: dict[str, Any]
    settings: Model
    usage: Usage | None = None

    def refused(self, path: str, detail: str, hint: str = "", *, code: str = "manifest_malformed") -> Malformed:
        """An error at one of the connector's fields."""
        return self.manifest.refused(f"{KIND}.{path}", detail, hint, code=code)


def describe(manifest: Manifest, kinds: Catalogue) -> Description:
    """The connector that a manifest describes. Raises Malformed with file, line, path and what is allowed."""
    given = dict(manifest.body)
    given["tags"] = tags_of(manifest, KIND, given.get("tags"))
    spec = given.get("spec") or {}
    try:
        body = read(_Body, given, _FORMS)
    except Refused as why:
        if why.path == "type":
            what = why.detail if given.get("type") is None else "the connector's type is not a known kind"
            raise _kindless(manifest, what, kinds) from None
        raise _refused(manifest, f"{KIND}.{why.path}", why.detail, why.allowed) from None
    try:
        kinds.model(body.type)
    except Malformed as why:
        if why.code == "kind_unknown":
            raise _kindless(manifest, "the connector's type is not a known kind", kinds) from None
        raise manifest.refused(f"{KIND}.type", why.detail.removeprefix("type: "), why.hint, code=why.code) from None
    place = body.place(lambda path, detail, hint: manifest.refused(f"{KIND}.{path}", detail, hint))
    if place.identifier in BUILT_IN_ALIASES and place != Reference(ACCOUNT_SCOPE, BUILT_IN):
        raise manifest.refused(
            f"{KIND}.identifier",
            "this names the built-in secret manager, which is there already",
            "leave the document out, or choose another identifier",
        )
    try:
        model = kinds.settings(body.type, spec)
    except Malformed as why:
        path, allowed = str(why.facts.get("path", "")), tuple(why.facts.get("allowed", ()))
        raise _refused(manifest, f"{KIND}.{path}", why.detail.rpartition(" connector: ")[2], allowed) from None
    return Description(
        manifest, place, body.name, body.description, body.tags, body.type, body.keyring, dict(spec), model, body.usage
    )


def _kindless(manifest: Manifest, what: str, kinds: Catalogue) -> Malformed:
    return _refused(manifest, f"{KIND}.type", f"{what}: give one of {', '.join(kinds.names)}", kinds.names)


def _refused(manifest: Manifest, path: str, detail: str, allowed: tuple[str, ...]) -> Malformed:
    facts = {"allowed": list(allowed)} if allowed else {}
    return manifest.refused(path, detail, "see docs/connectors.md", code="connector_malformed", **facts)


def identifier_of(name: str) -> str:
    """The identifier that a name gives: spaces become `_`, what an identifier can't hold is left out; perhaps empty."""
    return re.sub(r"^[0-9]+", "", re.sub(r"[^0-9a-zA-Z_]", "", re.sub(r" +", "_", name.strip())))[:_LONGEST]


def tags_of(manifest: Manifest, kind: str, given: object) -> Any:
    """Tags are a mapping, or a list of `KEY:VALUE`; a bare key has an empty value."""
    if isinstance(given, Mapping):
        return {key: "" if value is None else value for key, value in given.items()}
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        pairs = [one.partition(":") for one in given]
        if len({key.strip() for key, _, _ in pairs}) < len(pairs):
            raise manifest.refused(f"{kind}.tags", "a tag stands twice", "keep one")
        return {key.strip(): value.strip() for key, _, value in pairs}
    return given


def body_of(document: ConnectorDocument, default_keyring: str) -> dict[str, Any]:
    """A document in the words of its YAML; its keyring is named where it isn't the account's own."""
    scope = Scope.parse(document.scope)
    told = {
        "name": document.name,
        "identifier": document.identifier,
        "description": document.description,
        "orgIdentifier": scope.org,
        "projectIdentifier": scope.project,
        "tags": dict(document.tags),
        "type": document.type,
        "keyring": document.keyring if document.keyring != default_keyring else "",
        "usage": usage_body(document.usage),
    }
    return {**{key: value for key, value in told.items() if value}, "spec": ordered(document.spec)}


def usage_body(usage: Usage | None) -> dict[str, list[str]]:
    """Labels in the words of YAML; nothing where it is for anything."""
    told = {"applications": usage.applications, "environments": usage.environments} if usage else {}
    return {name: list(labels) for name, labels in told.items() if labels}


def yaml_of(body: Mapping[str, Any]) -> str:
    """A document of YAML."""
    return yaml_text({KIND: dict(body)})


def ordered(value: Any) -> Any:
    """What is signed has no order of its own: a `type` stands before what it decides."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value, key=lambda key: (key != "type", key))}
    return [ordered(one) for one in value] if isinstance(value, list) else value
