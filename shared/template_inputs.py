"""Inputs of templates: what a template fixes, what a connector fixes of the rest, and what each secret is asked for.

    template         value: a text, fixed       <+input>, or none: the connector says it
    connector        value: a text, fixed       with useAsDefault: what it is where the secret doesn't say    <+input>: asked
    secret           a plain text for each input that is asked; it is in the `reference` of its document

Promises: what may not be asked can't be said; texts of a secret are never read as expressions, so that who describes a secret
names no credential of the connector. Pure. Must not fill in expressions: the delegate does, with values that nobody else sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from shared.canonical import encode
from shared.connectors.custom_secret_manager import (
    ASKED,
    LONGEST_VALUE,
    CustomSecretManagerSettings,
    EnvironmentVariable,
)
from shared.documents.template import TemplateContent
from shared.errors import Malformed
from shared.expressions import OPENING
from shared.names import IDENTIFIER, Reference, Scope
from shared.ssh import check_host

HOST = "executionTarget.host"
"""The host, among what a secret is asked for; no input has a point in its name."""

LONGEST_INPUTS = 2_048
"""Characters that a secret's document has for them."""

_name = re.compile(IDENTIFIER)
_decoder = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Asked:
    """What each secret is asked for. `default` is what it is where the secret doesn't say; None where it must."""

    name: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """What keeps inputs from fitting together: the names of those that are missing and of those that nobody asks for, in order."""

    missing: tuple[str, ...] = ()
    unnecessary: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unnecessary)

    def refusal(self, whose: str, hint: str) -> Malformed:
        """The error about it; `whose` inputs they are."""
        told = [
            f"{kind} environment variable{'s' if len(names) > 1 else ''}: {', '.join(names)}"
            for kind, names in (("missing", self.missing), ("unnecessary", self.unnecessary))
            if names
        ]
        return Malformed(
            "inputs_unfit",
            f"{whose}: {'; '.join(told)}",
            hint,
            missing=list(self.missing),
            unnecessary=list(self.unnecessary),
        )


def open_inputs(content: TemplateContent) -> tuple[str, ...]:
    """The inputs that a template leaves to its connectors, in its order."""
    return tuple(one.name for one in content.inputs if _is_open(one.value))


def connector_gap(content: TemplateContent, settings: CustomSecretManagerSettings) -> Gap:
    """How a connector's inputs differ from those that its template leaves open."""
    return _gap(open_inputs(content), {one.name for one in settings.variables}, ())


def asked(content: TemplateContent, settings: CustomSecretManagerSettings) -> tuple[Asked, ...]:
    """What each secret of a connector is asked for, in the template's order; the host is last."""
    said = _said(settings)
    inputs = [
        Asked(name, said[name].text if name in said else None)
        for name in open_inputs(content)
        if name not in said or said[name].is_asked
    ]
    return (*inputs, Asked(HOST)) if settings.asks_host else tuple(inputs)


def secret_gap(content: TemplateContent, settings: CustomSecretManagerSettings, given: Mapping[str, str]) -> Gap:
    """How a secret's inputs differ from those that it is asked for."""
    wanted = asked(content, settings)
    return _gap([one.name for one in wanted], given, [one.name for one in wanted if one.default is not None])


def merged(content: TemplateContent, settings: CustomSecretManagerSettings, given: Mapping[str, str]) -> dict[str, str]:
    """The text of every input, which may hold expressions.

    References in what the template fixes mean what they mean in its scope (`seen_from`), those in what the connector says what
    they mean in the connector's. Raises Malformed: inputs_unfit, and what `check_given` raises.
    """
    check_given(given)
    if gap := secret_gap(content, settings, given):
        raise gap.refusal("the secret's inputs", "give them anew: privyseal secret set --input NAME=VALUE")
    said = _said(settings)
    texts: dict[str, str] = {}
    for one in content.inputs:
        if not _is_open(one.value):
            assert one.value is not None
            texts[one.name] = one.value
            continue
        default = said[one.name].text if one.name in said else None
        # Nothing is missing: what isn't given has a text of the connector.
        texts[one.name] = given.get(one.name, default or "")
    return texts


def host_of(settings: CustomSecretManagerSettings, given: Mapping[str, str]) -> str | None:
    """The target host: the connector's, or what the secret says; None where the script runs on the delegate."""
    return given.get(HOST) if settings.asks_host else settings.host


def seen_from(reference: str, home: Scope) -> str:
    """A reference that stands in a template at `home`, as a connector at that scope or below it names the same secret."""
    return str(Reference.parse(reference, home))


def check_given(given: Mapping[str, str]) -> None:
    """Raises Malformed for what no secret may say: other names, expressions, null characters, texts that are too long."""
    for name, text in given.items():
        if name == HOST:
            check_host(text)
            continue
        if not _name.match(name):
            raise Malformed(
                "inputs_malformed", "an input has a name that can't be one", "a name has letters, digits and _"
            )
        if OPENING in text:
            raise Malformed(
                "input_expression",
                f"the input {name} of the secret holds an expression",
                "a secret's inputs are plain texts; what names secrets stands in the connector or its template",
            )
        if "\0" in text or len(text) > LONGEST_VALUE:
            raise Malformed(
                "inputs_malformed", f"the input {name} is too long, or has a null character", "give a shorter text"
            )


def write_inputs(given: Mapping[str, str]) -> str:
    """What stands for them in a secret's `reference`: canonical JSON. Raises as `check_given`, and for more than fits."""
    check_given(given)
    # A # would be taken for the beginning of a key; within JSON it only ever stands in a text.
    text = encode(dict(given)).decode().replace("#", "\\u0023")
    if len(text) > LONGEST_INPUTS:
        raise Malformed(
            "inputs_too_long",
            f"the secret's inputs are longer together than {LONGEST_INPUTS:,} characters",
            "fix those that are the same for all secrets in the connector",
        )
    return text


def read_inputs(reference: str) -> dict[str, str]:
    """What `write_inputs` was given. Raises Malformed: inputs_malformed for every other text."""
    try:
        given = _decoder.decode(reference.encode())
        is_same = write_inputs(given) == reference
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        is_same = False
    if not is_same:
        raise Malformed(
            "inputs_malformed",
            "the inputs of the secret aren't canonical JSON of names and texts",
            "give them anew: privyseal secret set --input NAME=VALUE",
        )
    return given


def _is_open(value: str | None) -> bool:
    return value is None or value.strip() == ASKED


def _said(settings: CustomSecretManagerSettings) -> dict[str, EnvironmentVariable]:
    return {one.name: one for one in settings.variables}


def _gap(wanted: Iterable[str], given: Iterable[str], optional: Iterable[str]) -> Gap:
    names, have, spare = list(wanted), set(given), set(optional)
    missing = tuple(one for one in names if one not in have and one not in spare)
    return Gap(missing, tuple(sorted(have - set(names))))
