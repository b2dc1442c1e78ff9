"""The wizard of `privyseal connector create`: the steps of the well-known one, in its order, as the body of a connector's YAML.

Promises: it asks for every kind, by what the kind's model says; an answer that can't be right is asked for again, with the
model's own words. Must not ask for a secret's value: a credential is the reference of a secret that is stored already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import click

from client.cli.questions import CONNECTIVITY, SELECTORS, Choice, Question, Questions, Spec, words
from client.descriptions import KIND, describe, identifier_of
from client.manifest import Manifest
from shared.connectors.catalogue import Catalogue
from shared.errors import Malformed
from shared.names import Scope

Body = dict[str, Any]

_NEEDED = "an answer is needed"
_LONGEST = 65_536
"""Characters that are read of a file."""


class Asker(Protocol):
    """Whoever asks."""

    def title(self, text: str) -> None:
        """A new step."""
        ...

    def ask(self, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        """An answer; `default` for none."""
        ...

    def agrees(self, question: str, default: bool) -> bool:
        """Yes or no; `default` for neither."""
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
        kind = click.Choice(list(choices), case_sensitive=False) if choices else str
        text: str = click.prompt(f"  {question}", default=default, show_default=bool(default), type=kind, err=True)
        return text.strip()

    def agrees(self, question: str, default: bool) -> bool:
        """What is typed, asked again where it is neither."""
        return click.confirm(f"  {question}", default=default, err=True)

    def say(self, text: str) -> None:
        """A line."""
        click.echo(f"  {text}", err=True)


class Wizard:
    """Asks one person for one connector of those kinds."""

    def __init__(self, asker: Asker, kinds: Catalogue) -> None:
        self._asker = asker
        self._kinds = kinds

    def ask(self, here: Scope) -> Body:
        """The connector's body, at the scope `here`."""
        body: Body = {}
        self._asker.title("Overview")
        self._overview(body, "name", "Name", required=True)
        self._overview(body, "identifier", "Identifier", identifier_of(body["name"]), required=True)
        self._overview(body, "description", "Description")
        self._overview(body, "tags", "Tags (KEY:VALUE, ...)", read=words)
        if here.org:
            body["orgIdentifier"] = here.org
        if here.project:
            body["projectIdentifier"] = here.project
        self._asker.title("Details")
        while True:
            body["type"] = self._asker.ask("Type", "AwsKms", self._kinds.names)
            try:
                self._kinds.model(body["type"])
            except Malformed as why:
                # A package that doesn't work here: another kind may do.
                self._asker.say(f"{why.detail.removeprefix('type: ')} ({why.hint})")
            else:
                break
        body["spec"] = _Details(self._asker, body["type"], self._kinds).ask()
        return body

    def _overview(
        self,
        body: Body,
        name: str,
        question: str,
        default: str = "",
        *,
        required: bool = False,
        read: Callable[[str], Any] = str,
    ) -> None:
        """Asks until the description isn't refused for this field; an empty answer leaves an optional one out."""
        while True:
            text = self._asker.ask(question, default)
            if not text:
                if not required:
                    return
                self._asker.say(_NEEDED)
                continue
            body[name] = read(text)
            why = _wrong(body, name, self._kinds)
            if why is None:
                return
            del body[name]
            self._asker.say(why)


def _wrong(body: Body, name: str, kinds: Catalogue) -> str | None:
    """What is wrong with that field, whatever is still missing elsewhere."""
    try:
        describe(Manifest("your answers", 1, KIND, {"name": "x", "type": "Local", **body}), kinds)
    except Malformed as why:
        told = str(why.facts.get("path", ""))
        if told == f"{KIND}.{name}" or told.startswith((f"{KIND}.{name}[", f"{KIND}.{name}.")):
            return why.detail.partition(f"{told}: ")[2]
    return None


class _Details:
    """Asks for a `spec`: what the model needs, a way where there are several, and more where it is wanted."""

    def __init__(self, asker: Asker, kind: str, kinds: Catalogue) -> None:
        self._asker = asker
        self._kinds = kinds
        self._kind = kind
        self._questions = Questions(kinds.model(kind))
        self._spec: Spec = {}

    def ask(self) -> Spec:
        """The spec that the model takes."""
        self._complete()
        self._more()
        model = self._kinds.settings(self._kind, self._stood_in())
        if model.oidc_audience is not None:
            self._asker.title("Connectivity")
            answer = self._asker.ask(
                "Reached through a delegate, or by the platform?", "delegate", ("delegate", "platform")
            )
            self._spec[CONNECTIVITY] = answer == "delegate"
        self._asker.title("Delegates")
        self._delegates()
        return self._spec

    def _complete(self) -> None:
        """Asks until the model takes what is there."""
        while True:
            wrong = self._refused(self._stood_in())
            if wrong is not None and _given(self._spec, wrong[0]):
                path, detail = wrong
                self._asker.say(f"{_last(path)}: {detail}")
                self._field(path, required=path in self._questions.needed())
            elif missing := [path for path in self._questions.needed() if not _given(self._spec, path)]:
                self._field(missing[0], required=True)
            elif (choice := self._questions.choice()) is not None:
                self._choose(choice)
            elif wrong is not None:
                self._asker.say(wrong[1])
                self._field(wrong[0], required=True)
            else:
                return

    def _choose(self, choice: Choice) -> None:
        names = {_last(way) if choice.path is None else way: way for way in choice.ways}
        way = names[self._asker.ask(choice.key, choices=tuple(names))]
        self._questions.chosen[choice.key] = way
        own = self._questions.field(way) if choice.path is None else None
        if choice.path is not None:
            _put(self._spec, choice.path, way)
        elif own is not None and own.is_flag:
            _put(self._spec, way, True)

    def _more(self) -> None:
        offered = {_last(one.path): one for one in self._questions.more() if not _given(self._spec, one.path)}
        if not offered or not self._asker.agrees("More settings?", False):
            return
        self._asker.say(", ".join(offered))
        while True:
            wanted = words(self._asker.ask("Which of them? (a, b, ...)", "all"))
            if wanted == ["all"]:
                wanted = list(offered)
            if set(wanted) <= set(offered):
                break
            self._asker.say(f"there is no such setting: give some of {', '.join(offered)}")
        for name in wanted:
            self._field(offered[name].path, required=False)
        self._complete()

    def _delegates(self) -> None:
        while True:
            found = words(self._asker.ask("Selectors that its delegates carry (a, b; none: any)"))
            if found:
                self._spec[SELECTORS] = found
            wrong = self._refused(self._spec)
            if wrong is None:
                return
            self._spec.pop(SELECTORS, None)
            self._asker.say(wrong[1])

    def _field(self, path: str, *, required: bool) -> None:
        """Asks until the field isn't refused; an empty answer leaves an optional one out."""
        question = self._questions.field(path)
        if question is None:
            # The model wants what no question can give: its own error says more than a guess.
            self._kinds.settings(self._kind, self._stood_in())
            return
        while True:
            value = self._answer(question, required=required)
            if value is None:
                continue
            _drop(self._spec, path)
            if required or value not in (question.default, "", []):
                _put(self._spec, path, value)
            why = self._why(path)
            if why is None:
                return
            _drop(self._spec, path)
            self._asker.say(why)

    def _answer(self, question: Question, *, required: bool) -> Any:
        """What is answered, "" for nothing; None after having said why that can't be."""
        label = f"{question.name} ({question.hint})" if question.hint and not question.choices else question.name
        if question.is_flag:
            return self._asker.agrees(label, bool(question.default))
        default = str(question.default) if question.default not in (None, ()) else ""
        if question.takes_lines:
            label += ", from a file: @FILE"
        choices = question.choices if required or default else ()
        text = self._asker.ask(label, default, choices)
        if not text and required:
            self._asker.say(_NEEDED)
            return None
        if text.startswith("@") and question.takes_lines:
            return self._text_of(text[1:])
        return question.read(text)

    def _text_of(self, file: str) -> str | None:
        try:
            with Path(file).expanduser().open(encoding="utf-8") as opened:
                return opened.read(_LONGEST + 1)
        except (OSError, UnicodeError):
            self._asker.say("that file can't be read as text")
            return None

    def _why(self, path: str) -> str | None:
        """What is wrong with a field that was answered, whatever is still missing elsewhere."""
        for spec in (_alone(self._spec, path), self._stood_in()):
            wrong = self._refused(spec)
            if wrong is not None and wrong[0] == path:
                return wrong[1]
        return None

    def _stood_in(self) -> Spec:
        """The spec with a selector, where only that is missing: it is asked for in a step of its own."""
        wrong = self._refused(self._spec)
        return {**self._spec, SELECTORS: ["x"]} if wrong is not None and wrong[0] == SELECTORS else self._spec

    def _refused(self, spec: Spec) -> tuple[str, str] | None:
        """The path, without places in a list, and the model's own words."""
        try:
            self._kinds.settings(self._kind, spec)
        except Malformed as why:
            path = str(why.facts["path"]).removeprefix("spec").lstrip(".")
            return path.partition("[")[0], why.detail.partition(" connector: ")[2]
        return None


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _given(spec: Mapping[str, Any], path: str) -> bool:
    name, _, below = path.partition(".")
    return name in spec and (not below or _given(spec[name], below))


def _put(spec: Spec, path: str, value: Any) -> None:
    *above, name = path.split(".")
    for step in above:
        spec = spec.setdefault(step, {})
    spec[name] = value


def _drop(spec: Spec, path: str) -> None:
    name, _, below = path.partition(".")
    if below and name in spec:
        _drop(spec[name], below)
        if not spec[name]:
            del spec[name]
    elif not below:
        spec.pop(name, None)


def _alone(spec: Spec, path: str) -> Spec:
    """Only that field, with what says of which type the objects around it are."""
    name, _, below = path.partition(".")
    if name not in spec:
        return {}
    if not below:
        return {name: spec[name]}
    tag = {"type": spec[name]["type"]} if "type" in spec[name] else {}
    return {name: {**tag, **_alone(spec[name], below)}}
