"""A secret manager made of a template: its script reads the values, on the delegate or on a host that it logs in at.

The settings say which template (signed, by the digest of its content in the connector's document), what of its inputs they
fix, and where it runs. They must not say what the template does: that is `shared.documents.template`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model
from shared.documents.fields import Identifier, SecretReference
from shared.documents.template import MOST_INPUTS, VersionLabel
from shared.errors import Malformed
from shared.ssh import check_host
from shared.templates import secrets_in

ASKED = "<+input>"
"""Instead of a value: whoever uses it is asked."""

LONGEST_VALUE = 4_096
DEFAULT_SECONDS = 20
LONGEST_SECONDS = 600

Directory = Annotated[str, Meta(max_length=1024, pattern=r"^/[^\x00-\x1f\x7f]*$(?!\n)")]

_VARIABLES = "template.templateInputs.environmentVariables"
_REFERENCE = "account.NAME, org.NAME or NAME"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, rename="camel"):
    """What every part of the settings has in common."""


class EnvironmentVariable(_Part, frozen=True, kw_only=True):
    """What the connector says of one input of its template. None and `<+input>` are asked of each secret."""

    name: Identifier
    type: Literal["String"] = "String"
    value: Annotated[str, Meta(max_length=LONGEST_VALUE)] | None = None
    use_as_default: bool = False

    @property
    def is_asked(self) -> bool:
        """Whether each secret may say it; `default` is what it is where that doesn't."""
        return self.use_as_default or self.text is None

    @property
    def text(self) -> str | None:
        """The value, which may hold expressions; None where the connector has none."""
        return None if self.value is None or self.value.strip() == ASKED else self.value


class TemplateInputs(_Part, frozen=True, kw_only=True):
    """The inputs, each once."""

    environment_variables: Annotated[tuple[EnvironmentVariable, ...], Meta(max_length=MOST_INPUTS)] = ()

    def __post_init__(self) -> None:
        names: set[str] = set()
        for at, one in enumerate(self.environment_variables):
            if one.name in names:
                raise Refused(f"{_VARIABLES}[{at}].name", f"duplicate environment variable: {one.name}")
            names.add(one.name)


class TemplateLink(_Part, frozen=True, kw_only=True):
    """Which template, by its place as seen from the connector's scope, and in which version."""

    template_ref: SecretReference
    version_label: VersionLabel
    template_inputs: TemplateInputs = TemplateInputs()


class CustomSecretManagerSettings(Model, frozen=True, kw_only=True):
    """Which template is run with what, and where."""

    FORMS: ClassVar[Forms] = Forms(
        forms={
            "onDelegate": "true to run the script on the delegate, false to run it on a host over SSH",
            "host": f"the name or address of the host, or {ASKED} to ask each secret for it",
            "connectorRef": f"the reference of an SSHKey: {_REFERENCE}",
            "workingDirectory": "an absolute path on the host, such as /tmp",
            "timeout": f"seconds, 1 to {LONGEST_SECONDS}",
            "template.templateRef": f"the template's place: {_REFERENCE}",
            "template.versionLabel": "the template's version label: up to 64 characters, no spaces, / and &; a number in quotes",
            _VARIABLES: f"a list of at most {MOST_INPUTS}: name, type, value, useAsDefault",
            f"{_VARIABLES}.name": "the name of an input: letters, digits and _, not beginning with a digit",
            f"{_VARIABLES}.value": f"a text of at most {LONGEST_VALUE:,} characters, or {ASKED}; in quotes where it looks like "
            "something else",
        },
        choices={f"{_VARIABLES}.type": ("String",)},
        missing={
            "template": "the template is missing: give templateRef and versionLabel",
            "template.templateRef": f"the template is missing: give its place, {_REFERENCE}",
            "template.versionLabel": "the template's version label is missing: say which version was looked at",
        },
        ways={
            "Where the script runs": {
                "onDelegate": Way(),
                "host": Way(needs=("connectorRef",), takes=("workingDirectory",)),
            }
        },
        unasked=(_VARIABLES,),
    )

    on_delegate: bool | None = None
    host: str | None = None
    connector_ref: SecretReference | None = None
    working_directory: Directory | None = None
    timeout: Annotated[int, Meta(ge=1, le=LONGEST_SECONDS)] = DEFAULT_SECONDS
    template: TemplateLink

    def __post_init__(self) -> None:
        for at, one in enumerate(self.variables):
            try:
                secrets_in(one.text or "")
            except Malformed as why:
                raise Refused(f"{_VARIABLES}[{at}].value", f"{why.detail} ({why.hint})") from None
        target = {"host": self.host, "connectorRef": self.connector_ref}
        if not self.is_remote:
            for path, value in {**target, "workingDirectory": self.working_directory}.items():
                if value is not None:
                    raise Refused(path, "this is for a target host alone: set onDelegate: false, or leave it out")
            return
        for path, value in target.items():
            if value is None:
                raise Refused(
                    path, f"with onDelegate: false the script runs on a target host: give {self.FORMS.forms[path]}"
                )
        assert self.host is not None
        if not self.asks_host:
            try:
                check_host(self.host)
            except Malformed as why:
                raise Refused("host", f"give {self.FORMS.forms['host']}: {why.hint}") from None

    @property
    def is_remote(self) -> bool:
        """Whether the script runs on a target host, over SSH; without `onDelegate` the host says so."""
        return self.host is not None if self.on_delegate is None else not self.on_delegate

    @property
    def asks_host(self) -> bool:
        """Whether each secret says on which host it is read."""
        return self.host is not None and self.host.strip() == ASKED

    @property
    def variables(self) -> tuple[EnvironmentVariable, ...]:
        """What the connector says of the template's inputs."""
        return self.template.template_inputs.environment_variables

    def named_references(self) -> dict[str, str]:
        """The SSHKey, and the secrets that values of inputs name; not those that the template names by itself."""
        found = {"connectorRef": self.connector_ref} if self.connector_ref is not None else {}
        for at, one in enumerate(self.variables):
            for nth, reference in enumerate(secrets_in(one.text or "")):
                found[f"{_VARIABLES}[{at}].value" + (f"[{nth}]" if nth else "")] = reference
        return found
