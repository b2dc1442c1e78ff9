"""The wizard of `privyseal connector create`: what the well-known one asks, in its order, as the body of a connector's YAML.

Promises: an answer that can't be right is asked for again, with what is allowed. Must not ask for a secret's value: a
credential is the reference of a secret that is stored already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import click

from client.descriptions import KIND, describe, identifier_of
from client.manifest import Manifest
from shared.connectors.aws import CREDENTIAL_TYPES
from shared.connectors.kinds import KINDS
from shared.errors import Malformed
from shared.names import Scope

Body = dict[str, Any]

ASKED = ("AwsKms", "Local")
"""The kinds whose fields are asked for; the others are described in YAML."""


class Asker(Protocol):
    """Whoever asks."""

    def title(self, text: str) -> None:
        """A new step."""
        ...

    def ask(self, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        """An answer; `default` for none."""
        ...

    def say(self, text: str) -> None:
        """Why it is asked again."""
        ...


class Terminal:
    """Asks on standard error."""

    def title(self, text: str) -> None:
        """A heading."""
        click.echo(f"\n{text}", err=True)

    def ask(self, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        """What is typed, trimmed."""
        kind = click.Choice(list(choices)) if choices else str
        text: str = click.prompt(f"  {question}", default=default, show_default=bool(default), type=kind, err=True)
        return text.strip()

    def say(self, text: str) -> None:
        """A line."""
        click.echo(f"  {text}", err=True)


class Wizard:
    """Asks one person for one connector."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def ask(self, here: Scope) -> Body:
        """The connector's body, at the scope `here`."""
        body: Body = {}
        self._asker.title("Overview")
        self._field(body, "name", "Name", required=True)
        self._field(body, "identifier", "Identifier", identifier_of(body["name"]), required=True)
        self._field(body, "description", "Description")
        self._field(body, "tags", "Tags (KEY:VALUE, ...)", read=_words)
        if here.org:
            body["orgIdentifier"] = here.org
        if here.project:
            body["projectIdentifier"] = here.project
        self._asker.title("Details")
        if len(KINDS) > len(ASKED):
            self._asker.say(f"{', '.join(sorted(set(KINDS) - set(ASKED)))}: described in a file, see --from-file")
        body["type"] = self._asker.ask("Type", "AwsKms", ASKED)
        spec: Body = {}
        body["spec"] = spec
        if body["type"] == "AwsKms":
            self._aws_kms(body, spec)
        self._asker.title("Delegates")
        self._field(body, "spec.delegateSelectors", "Selectors that its delegates carry (a, b; none: any)", read=_words)
        return body

    def _aws_kms(self, body: Body, spec: Body) -> None:
        self._field(body, "spec.region", "Region", "us-east-1", required=True)
        if self._asker.ask("Is the key's ARN a secret, or plain?", "plain", ("secret", "plain")) == "plain":
            self._field(body, "spec.kmsArnInPlainText", "The key's ARN", required=True)
        else:
            self._field(body, "spec.kmsArn", "The secret that holds the key's ARN (account.NAME)", required=True)
        kind = self._asker.ask("Credential", "AssumeIAMRole", CREDENTIAL_TYPES)
        spec["credential"] = {"type": kind, "spec": {}}
        at = "spec.credential.spec."
        if kind == "ManualConfig":
            self._field(body, f"{at}accessKey", "The secret that holds the access key (account.NAME)", required=True)
            self._field(body, f"{at}secretKey", "The secret that holds the secret key (account.NAME)", required=True)
        if kind in {"AssumeIAMRole", "AssumeSTSRole"}:
            question = "Selectors of the delegates whose AWS identity is used (a, b)"
            self._field(body, f"{at}delegateSelectors", question, read=_words, required=True)
        if kind == "AssumeSTSRole":
            self._field(body, f"{at}roleArn", "The ARN of the role to assume", required=True)
            self._field(body, f"{at}externalName", "External id")
            self._field(body, f"{at}assumeStsRoleDuration", "Seconds that a session lasts (900 to 3600)", read=_number)
        if kind == "OidcAuthentication":
            self._field(body, f"{at}iamRoleArn", "The ARN of the role that trusts the account's issuer", required=True)
            self._asker.title("Connectivity")
            mode = self._asker.ask(
                "Reached through a delegate, or by the platform?", "delegate", ("delegate", "platform")
            )
            spec["executeOnDelegate"] = mode == "delegate"

    def _field(
        self,
        body: Body,
        path: str,
        question: str,
        default: str = "",
        *,
        required: bool = False,
        read: Callable[[str], Any] = str,
    ) -> None:
        """Asks until the description isn't refused for this field; an empty answer leaves an optional one out."""
        *above, name = path.split(".")
        place = body
        for step in above:
            place = place[step]
        while True:
            text = self._asker.ask(question, default)
            if not text:
                if not required:
                    return
                self._asker.say("an answer is needed")
                continue
            place[name] = read(text)
            why = _wrong(body, path)
            if why is None:
                return
            del place[name]
            self._asker.say(why)


def _wrong(body: Body, path: str) -> str | None:
    """What is wrong with the field at `path`, whatever is still missing elsewhere."""
    below = f"{KIND}.{path}"
    for candidate in (body, *_completed(body)):
        try:
            describe(Manifest("your answers", 1, KIND, candidate))
        except Malformed as why:
            told = str(why.facts.get("path", ""))
            if told == below or told.startswith((f"{below}[", f"{below}.")):
                return why.detail.partition(f"{told}: ")[2]
    return None


def _completed(body: Body) -> list[Body]:
    """The body with what is asked for later, so that the errors of a field aren't hidden by those of the next."""
    spec = dict(body.get("spec") or {})
    if body.get("type", "Local") == "Local":
        return [{**body, "name": body.get("name", "x"), "type": "Local", "spec": spec}]
    arn = "arn:aws:iam::123456789012:role/x"
    samples: dict[str, Body] = {
        "ManualConfig": {"accessKey": "x", "secretKey": "x"},
        "AssumeIAMRole": {"delegateSelectors": ["x"]},
        "AssumeSTSRole": {"delegateSelectors": ["x"], "roleArn": arn},
        "OidcAuthentication": {"iamRoleArn": arn},
    }
    credential = spec.get("credential") or {"type": "AssumeIAMRole", "spec": {}}
    whole = {**samples[credential["type"]], **credential["spec"]}
    spec = {"region": "us-east-1", **spec, "credential": {"type": credential["type"], "spec": whole}}
    if "kmsArnInPlainText" not in spec:
        spec.setdefault("kmsArn", "x")
    return [{**body, "spec": spec}]


def _words(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
