"""Descriptions of secrets: in the words of their YAML, read from a manifest and written from a document.

Promises: the form of every field is checked before anybody is asked anything, and a value never comes from a file of
descriptions: `Inline` describes a secret whose value is set by itself, `Reference` one that its provider has. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from client.descriptions import HEAD_FORMS, USAGE_FORM, Headed, ordered, tags_of, usage_body
from client.manifest import Manifest
from client.secret_inputs import LONGEST, inputs_of, value_of
from client.yaml_texts import yaml_text
from shared.connectors.fields import Forms, Refused, read
from shared.documents.connector import BUILT_IN, BUILT_IN_ALIASES
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.usage import Usage
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE, Reference, Scope
from shared.ssh import read_spec, references
from shared.template_inputs import read_inputs, write_inputs

KIND = "secret"
TYPES = ("SSHKey", "SecretFile", "SecretText")
LONGEST_REFERENCE = 2_048
ALIAS = "harnessSecretManager"
"""What users call the built-in secret manager."""

INLINE, REFERENCE, INPUTS = VALUE_TYPES = ("Inline", "Reference", "CustomSecretManagerValues")


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    values: dict[str, str | int | bool] = {}


class _Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    secret_manager_identifier: str
    value_type: str = INLINE
    value: Annotated[str, Meta(max_length=LONGEST)] | dict[str, Any] | None = None
    additional_metadata: _Metadata = _Metadata()


class _Body(Headed, frozen=True, kw_only=True):
    type: str
    usage: Usage | None = None
    spec: dict[str, Any]


_FORMS = Forms(
    choices={"type": TYPES},
    forms={**HEAD_FORMS, "usage": USAGE_FORM},
    missing={"type": "the secret's type is missing"},
)
_PATH = "a text of at most 2,048 characters, PATH or PATH#KEY"
_SPEC_FORMS = Forms(
    choices={"valueType": VALUE_TYPES},
    forms={
        "value": f"where the provider has it: {_PATH}; of {INPUTS}, its inputs: JSON as a text, or a mapping",
        "additionalMetadata.values": "texts by name, such as version: latest",
    },
    missing={
        "secretManagerIdentifier": "the secret manager is missing: account.NAME, org.NAME or NAME",
    },
)


@dataclass(frozen=True, slots=True)
class SecretDescription:
    """A secret as it is wanted. `refers_to` is empty for one whose values are ours.

    An SSHKey is its `spec`; `named` are the secrets that it names, by the paths of their fields.
    """

    manifest: Manifest
    place: Reference
    name: str
    description: str
    tags: dict[str, str]
    type: str
    connector: Reference
    refers_to: str
    metadata: dict[str, str]
    usage: Usage | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] | None = None
    """Of a secret at a custom secret manager, which `refers_to` then stands for."""

    def refused(self, path: str, detail: str, hint: str = "", *, code: str = "secret_malformed") -> Malformed:
        """An error at one of the secret's fields."""
        return self.manifest.refused(f"{KIND}.{path}", detail, hint, code=code)


def is_login(manifest: Manifest) -> bool:
    """Whether it describes an SSHKey."""
    return manifest.body.get("type") == SSH_KEY


def describe_secret(manifest: Manifest) -> SecretDescription:
    """The secret that a manifest describes. Raises Malformed with file, line, path and what is allowed."""

    def refused(path: str, detail: str, hint: str = "see docs/cli.md", **facts: Any) -> Malformed:
        return manifest.refused(f"{KIND}.{path}", detail, hint, code="secret_malformed", **facts)

    given = {**manifest.body, "tags": tags_of(manifest, KIND, manifest.body.get("tags"))}
    try:
        body = read(_Body, given, _FORMS)
    except Refused as why:
        facts: dict[str, Any] = {"allowed": list(why.allowed)} if why.allowed else {}
        raise refused(why.path, why.detail, **facts) from None
    if body.type not in TYPES:
        raise refused("type", f"give one of {', '.join(TYPES)}", allowed=list(TYPES))
    place, common = body.place(refused), (body.name, body.description, body.tags, body.type)
    if body.type == SSH_KEY:
        return _login(manifest, place, common, body.spec, body.usage)
    try:
        spec = read(_Spec, body.spec, _SPEC_FORMS)
    except Refused as why:
        facts = {"allowed": list(why.allowed)} if why.allowed else {}
        raise refused(f"spec.{why.path}" if why.path else "spec", why.detail, **facts) from None
    refers_to, inputs = _value(manifest, body.type, spec)
    return SecretDescription(
        manifest,
        place,
        *common,
        _connector(manifest, spec.secret_manager_identifier, place.scope),
        refers_to,
        {name: _text(value) for name, value in spec.additional_metadata.values.items()},
        body.usage,
        inputs=inputs,
    )


def _value(manifest: Manifest, kind: str, spec: _Spec) -> tuple[str, dict[str, str] | None]:
    """What a secret refers to, empty where its values are ours; and the inputs that this stands for."""

    def refused(path: str, detail: str, hint: str = "see docs/cli.md", **facts: Any) -> Malformed:
        return manifest.refused(f"{KIND}.spec.{path}", detail, hint, code="secret_malformed", **facts)

    value = spec.value
    if spec.value_type not in VALUE_TYPES:
        raise refused("valueType", f"give {', '.join(VALUE_TYPES[:-1])} or {INPUTS}", allowed=list(VALUE_TYPES))
    if spec.value_type != INLINE and kind != "SecretText":
        raise refused("valueType", "a file is always Inline")
    if spec.value_type == INLINE:
        if value:
            raise refused("value", "a value isn't taken from a description", "set it by itself: privyseal secret set")
        return "", None
    if spec.value_type == REFERENCE:
        if not value:
            raise refused("value", "a reference says where the provider has the secret: PATH or PATH#KEY")
        if not isinstance(value, str) or len(value) > LONGEST_REFERENCE:
            raise refused("value", f"give {_PATH}")
        return value, None
    if spec.additional_metadata.values:
        raise refused("additionalMetadata", "a custom secret manager takes inputs alone", "leave it out")
    try:
        inputs = inputs_of(value or {})
        return write_inputs(inputs), inputs
    except Malformed as why:
        raise refused("value", why.detail, why.hint) from None


def _login(
    manifest: Manifest,
    place: Reference,
    common: tuple[str, str, dict[str, str], str],
    spec: dict[str, Any],
    usage: Usage | None,
) -> SecretDescription:
    """An SSHKey. Whose delegates it is for is told by a secret manager, by default the built-in one; it keeps nothing there."""
    settings = dict(spec)
    holder = settings.pop("secretManagerIdentifier", BUILT_IN)
    try:
        named = references(read_spec(settings))
        for path, text in named.items():
            try:
                Reference.parse(text, place.scope)
            except Malformed as why:
                raise manifest.refused(f"{KIND}.spec.{path}", why.detail, why.hint, code=why.code) from None
    except Malformed as why:
        if why.code != "ssh_malformed":
            raise
        facts = {name: why.facts[name] for name in ("allowed",) if name in why.facts}
        detail = why.detail.rpartition(" of the SSHKey: ")[2]
        raise manifest.refused(
            f"{KIND}.{why.facts['path']}", detail, why.hint, code="secret_malformed", **facts
        ) from None
    if not isinstance(holder, str):
        raise manifest.refused(
            f"{KIND}.spec.secretManagerIdentifier", "give account.NAME, org.NAME or NAME", code="secret_malformed"
        )
    return SecretDescription(
        manifest, place, *common, _connector(manifest, holder, place.scope), "", {}, usage, settings, named
    )


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _connector(manifest: Manifest, text: str, scope: Scope) -> Reference:
    if text.rpartition(".")[2] in BUILT_IN_ALIASES:
        # Each scope has one by that name for users; all of them are the account's.
        return Reference(ACCOUNT_SCOPE, BUILT_IN)
    try:
        return Reference.parse(text, scope)
    except Malformed as why:
        path = f"{KIND}.spec.secretManagerIdentifier"
        raise manifest.refused(path, why.detail, why.hint, code="secret_malformed") from None


def secret_body(document: SecretDocument, connector: Reference) -> dict[str, Any]:
    """A document in the words of its YAML, without a value."""
    scope = Scope.parse(document.scope)
    told = {
        "type": document.type,
        "name": document.name,
        "identifier": document.identifier,
        "description": document.description,
        "orgIdentifier": scope.org,
        "projectIdentifier": scope.project,
        "tags": dict(document.tags),
        "usage": usage_body(document.usage),
    }
    kept = _seen_from(connector, scope)
    if document.type == SSH_KEY:
        at = {} if kept == ALIAS else {"secretManagerIdentifier": kept}
        return {**{key: value for key, value in told.items() if value}, "spec": {**at, **ordered(document.spec)}}
    spec: dict[str, Any] = {"secretManagerIdentifier": kept}
    inputs = _inputs(document.reference)
    if document.type == "SecretText":
        spec["valueType"] = INLINE if not document.reference else REFERENCE if inputs is None else INPUTS
    if document.reference:
        spec["value"] = document.reference if inputs is None else value_of(inputs)
    if document.metadata:
        spec["additionalMetadata"] = {"values": dict(document.metadata)}
    return {**{key: value for key, value in told.items() if value}, "spec": spec}


def _inputs(reference: str) -> dict[str, str] | None:
    """The inputs that a reference stands for; None where it is a path. No provider has a path in the form of theirs."""
    try:
        return read_inputs(reference) if reference.startswith("{") else None
    except Malformed:
        return None


def _seen_from(connector: Reference, scope: Scope) -> str:
    if connector == Reference(ACCOUNT_SCOPE, BUILT_IN):
        return ALIAS
    if connector.scope == scope and scope.org:
        return connector.identifier
    return str(connector)


def secret_yaml(body: dict[str, Any]) -> str:
    """A document of YAML."""
    return yaml_text({KIND: body})
