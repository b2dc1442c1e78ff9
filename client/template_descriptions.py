"""Descriptions of templates: in the words of their YAML, read from a manifest and written from a document.

Promises: the form of every field and expression is checked before anybody is asked anything; what a template would say that
nothing here does is refused, not left out. Pure. Must not decide whether a script works: a delegate runs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from client.descriptions import HEAD_FORMS, Headed, tags_of
from client.manifest import Manifest
from client.yaml_texts import yaml_text
from shared.connectors.custom_secret_manager import ASKED, LONGEST_VALUE
from shared.connectors.fields import Forms, Refused, read
from shared.documents.fields import Identifier
from shared.documents.template import (
    LONGEST_SCRIPT,
    MOST_INPUTS,
    TemplateContent,
    TemplateDocument,
    TemplateInput,
    VersionLabel,
)
from shared.errors import Malformed
from shared.names import Reference, Scope
from shared.selectors import MAXIMUM, normalise_all
from shared.templates import check_input, check_script, secrets_in

KIND = "template"
MALFORMED = "template_malformed"
SHELLS = ("Bash", "PowerShell", "Python")
SCRIPTS = {"script": "source", "write": "write", "remove": "remove"}
"""The fields of a template's YAML, by those of its document."""

Script = Annotated[str, Meta(min_length=1, max_length=LONGEST_SCRIPT)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What every part has in common."""


class _Inline(_Part, frozen=True, kw_only=True):
    script: Script


class _Source(_Part, frozen=True, kw_only=True):
    type: Literal["Inline"] = "Inline"
    spec: _Inline


class _Variable(_Part, frozen=True, kw_only=True):
    name: Identifier
    type: Literal["String"] = "String"
    value: Annotated[str, Meta(max_length=LONGEST_VALUE)] | None = None


class _Target(_Part, frozen=True, kw_only=True):
    host: str | None = None
    connector_ref: str | None = None
    working_directory: str | None = None


class _Spec(_Part, frozen=True, kw_only=True):
    shell: Literal["Bash", "PowerShell", "Python"]
    delegate_selectors: Annotated[tuple[str, ...], Meta(max_length=MAXIMUM)] = ()
    source: _Source
    write: _Source | None = None
    remove: _Source | None = None
    environment_variables: Annotated[tuple[_Variable, ...], Meta(max_length=MOST_INPUTS)] = ()
    output_variables: tuple[Any, ...] = ()
    on_delegate: bool = True
    execution_target: _Target = _Target()


class _Body(Headed, frozen=True, kw_only=True):
    version_label: VersionLabel
    type: Literal["SecretManager"]
    spec: _Spec


_SCRIPT = f"a script of 1 to {LONGEST_SCRIPT:,} characters"
_VARIABLES = "spec.environmentVariables"
_LABEL = "a version label: up to 64 characters, beginning with a letter or digit, without spaces, / and &; a number in quotes"
_FORMS = Forms(
    choices={
        "type": ("SecretManager",),
        "spec.shell": SHELLS,
        **{f"spec.{field}.type": ("Inline",) for field in SCRIPTS.values()},
        f"{_VARIABLES}.type": ("String",),
    },
    forms={
        **HEAD_FORMS,
        "versionLabel": _LABEL,
        "spec.delegateSelectors": f"a list of at most {MAXIMUM} selectors",
        **{f"spec.{field}.spec.script": _SCRIPT for field in SCRIPTS.values()},
        _VARIABLES: f"a list of at most {MOST_INPUTS}: name, type, value",
        f"{_VARIABLES}.name": "the name of an input: letters, digits and _, not beginning with a digit",
        f"{_VARIABLES}.value": f"a text of at most {LONGEST_VALUE:,} characters, or {ASKED}; in quotes where it looks like "
        "something else",
        "spec.onDelegate": "true; that a script runs on another host is for the connector to say",
    },
    missing={
        "type": "the template's type is missing",
        "versionLabel": f"the template's version label is missing: give {_LABEL}",
        "spec": "the template has no spec: give shell and source",
        "spec.shell": "the shell is missing",
        "spec.source": "the script is missing: give source: {type: Inline, spec: {script: ...}}",
    },
)


@dataclass(frozen=True, slots=True)
class TemplateDescription:
    """A template as it is wanted: one version, at `place`."""

    manifest: Manifest
    place: Reference
    version: str
    name: str
    description: str
    tags: dict[str, str]
    content: TemplateContent

    @property
    def place_name(self) -> str:
        """How it is called where it lives: NAME@LABEL."""
        return f"{self.place.identifier}@{self.version}"

    def refused(self, path: str, detail: str, hint: str = "", *, code: str = MALFORMED, **facts: Any) -> Malformed:  # fmt: skip
        """An error at one of the template's fields."""
        return self.manifest.refused(f"{KIND}.{path}", detail, hint, code=code, **facts)

    def path_of(self, reference: str) -> str:
        """The field whose text names that secret first."""
        content = self.content
        for at, one in enumerate(content.inputs):
            if reference in secrets_in(_fixed(one.value) or ""):
                return f"{_VARIABLES}[{at}].value"
        names = [one.name for one in content.inputs]
        for name, field in SCRIPTS.items():
            if reference in check_script(content.shell, getattr(content, name), names).secrets:
                return f"spec.{field}.spec.script"
        return "spec"


def describe_template(manifest: Manifest) -> TemplateDescription:
    """The template that a manifest describes. Raises Malformed with file, line, path and what is allowed."""

    def refused(
        path: str, detail: str, hint: str = "see docs/secret-managers/custom.md", code: str = MALFORMED, **facts: Any
    ) -> Malformed:
        return manifest.refused(f"{KIND}.{path}", detail, hint, code=code, **facts)

    try:
        body = read(_Body, {**manifest.body, "tags": tags_of(manifest, KIND, manifest.body.get("tags"))}, _FORMS)
    except Refused as why:
        facts: dict[str, Any] = {"allowed": list(why.allowed)} if why.allowed else {}
        raise refused(why.path, why.detail, **facts) from None
    place = body.place(refused)
    _check_target(body.spec, refused)
    content = _content(body.spec, refused)
    for one in content.secrets:
        try:
            Reference.parse(one, place.scope)
        except Malformed as why:
            raise refused("spec", f"{one}: {why.detail}", why.hint, code=why.code) from None
    return TemplateDescription(manifest, place, body.version_label, body.name, body.description, body.tags, content)


def _check_target(spec: _Spec, refused: Any) -> None:
    """What belongs to a connector may stand here as long as it leaves that to the connector."""
    if spec.output_variables:
        raise refused(
            "spec.outputVariables", "the script of a secret manager gives the variable secret alone", "leave it empty"
        )
    for name, value in msgspec.structs.asdict(spec.execution_target).items():
        if value and value.strip() != ASKED:
            field = re.sub(r"_(.)", lambda found: found[1].upper(), name)
            raise refused(
                f"spec.executionTarget.{field}",
                "where the script runs is for the connector to say",
                f"write {ASKED} or leave it out, and say it in the connector's spec",
            )


def _content(spec: _Spec, refused: Any) -> TemplateContent:
    names = [one.name for one in spec.environment_variables]
    secrets: set[str] = set()
    for at, one in enumerate(spec.environment_variables):
        path = f"{_VARIABLES}[{at}]"
        if one.name in names[:at]:
            raise refused(f"{path}.name", f"duplicate environment variable: {one.name}", "keep one")
        field = "name"
        try:
            check_input(spec.shell, one.name)
            field = "value"
            secrets.update(secrets_in(_fixed(one.value) or ""))
        except Malformed as why:
            raise refused(f"{path}.{field}", why.detail, why.hint, why.code) from None
    scripts = {name: getattr(spec, field) for name, field in SCRIPTS.items()}
    texts = {name: one.spec.script if one else "" for name, one in scripts.items()}
    for name, text in texts.items():
        try:
            secrets.update(check_script(spec.shell, text, names).secrets)
        except Malformed as why:
            raise refused(f"spec.{SCRIPTS[name]}.spec.script", why.detail, why.hint, why.code) from None
    try:
        selectors = normalise_all(spec.delegate_selectors)
    except Malformed as why:
        raise refused("spec.delegateSelectors", why.detail, why.hint) from None
    if len(secrets) > 64:
        raise refused("spec", "the template names more than 64 secrets", "divide it")
    return TemplateContent(
        type="SecretManager",
        shell=spec.shell,
        **texts,
        inputs=tuple(TemplateInput(name=one.name, value=_fixed(one.value)) for one in spec.environment_variables),
        selectors=selectors,
        secrets=tuple(sorted(secrets)),
    )


def _fixed(value: str | None) -> str | None:
    return None if value is None or value.strip() == ASKED else value


def template_body(document: TemplateDocument) -> dict[str, Any]:
    """A document in the words of its YAML."""
    scope, content = Scope.parse(document.scope), document.content
    told = {
        "name": document.name,
        "identifier": document.identifier,
        "versionLabel": document.version,
        "type": content.type,
        "description": document.description,
        "orgIdentifier": scope.org,
        "projectIdentifier": scope.project,
        "tags": dict(document.tags),
    }
    spec: dict[str, Any] = {"shell": content.shell}
    if content.selectors:
        spec["delegateSelectors"] = list(content.selectors)
    for name, field in SCRIPTS.items():
        if text := getattr(content, name):
            spec[field] = {"type": "Inline", "spec": {"script": text}}
    if content.inputs:
        spec["environmentVariables"] = [
            {"name": one.name, "type": "String", "value": ASKED if one.value is None else one.value}
            for one in content.inputs
        ]
    return {**{key: value for key, value in told.items() if value}, "spec": spec}


def template_yaml(body: Mapping[str, Any]) -> str:
    """A document of YAML."""
    return yaml_text({KIND: dict(body)}, literal=True)
