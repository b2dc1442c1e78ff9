"""Documents of what runs and logs in: templates, SSHKeys, grants of paths and direct fetches, well formed and not.

Each edit crosses one limit of docs/formats.md in the smallest document of its kind. Pure; nothing here is secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.connector import CUSTOM
from shared.documents.fields import Payload
from shared.documents.secret import SSH_KEY
from shared.documents.template import TemplateInput, TemplateUse
from tests.vectors import actors as a
from tests.vectors.limits import LIMITS as PLAIN
from tests.vectors.limits import Edit, nested, put
from tests.vectors.orders import LIMITS as ORDER

_ID = a.opaque("some id")
_DIGEST = b64u(a.fixed("digest of a content"))
_USE = {"id": _ID, "content": _DIGEST}
_LONG = "a" * 128
_PYTHON, _POWER_SHELL = {"shell": "Python"}, {"shell": "PowerShell"}
_TEXT = 'é \U0001f600 " \\ / \n \x00 \x7f \u2028'
_NAME = f"connector/{_ID}"


def good() -> Mapping[str, tuple[Identity, Payload]]:
    """Well-formed documents by name."""
    full = a.template(
        "every_member",
        "1.0-β+x@y" + "z" * 55,
        **_POWER_SHELL,
        script=_TEXT,
        write=_TEXT,
        remove="x" * 65_536,
        inputs=(TemplateInput(name="_"), TemplateInput(name=_LONG, value=""), TemplateInput(name="a", value=_TEXT)),
        selectors=("linux", "a/b@c+d=e.f_g-h"),
        secrets=("A", "_", "account.a", "org.a"),
    )
    described = {"description": _TEXT, "tags": {"~": _TEXT}, "deleted": True, "rev": 2, "prev": _DIGEST}
    login = a.secret("login", type=SSH_KEY)
    return {
        "template": (a.EDITOR, a.template()),
        "template, full": (a.OWNER, a.changed(full, scope="org/orders", **described)),
        "template, in Python": (a.EDITOR, a.template(**_PYTHON)),
        "connector, custom": (
            a.EDITOR,
            a.connector("custom", type=CUSTOM, template=TemplateUse(**_USE), spec={"connectorRef": "login"}),
        ),
        "connector, custom without a template": (a.EDITOR, a.connector("custom", type=CUSTOM)),
        "secret, an SSHKey of nothing": (a.EDITOR, login),
        "secret, an SSHKey": (
            a.EDITOR,
            a.changed(
                login,
                spec={"auth": {"type": "SSH", "port": 22, "none": None}},
                secrets=("A", "_", *(f"a{at}" for at in range(4)), "account.a", "org.a"),
                **described,
            ),
        ),
        "grant, of a connector": (a.OWNER, a.grant("x", a.READER, ("fetch",), "account", resource=_NAME)),
        "grant, of a path": (
            a.OWNER,
            a.grant("x", a.READER, ("fetch", "reveal"), "account", resource=f"{_NAME}/a b/é/.../..c/%2e%2e/\\/x:y"),
        ),
        "grant, of a long path": (
            a.OWNER,
            a.grant("x", a.READER, ("fetch",), "account", resource=f"{_NAME}/" + "\U0001f600" * (2_199 - len(_NAME))),
        ),
    }


def _content(**members: Any) -> Edit:
    return lambda payload: payload["content"].update(members)


def _shell(name: str) -> Edit:
    return lambda payload: payload["content"].update({"shell": name})


def _login(**members: Any) -> Edit:
    return put(type=SSH_KEY, **members)


def _custom(use: Any) -> Edit:
    return put(type=CUSTOM, template=use)


def _target(**members: Any) -> Edit:
    return lambda payload: payload["targets"][0].update(members)


_RESOURCES = {
    "empty": "",
    "of a connector without an id": "connector/",
    "of a connector in upper case": f"Connector/{_ID}",
    "of a connector with two slashes": f"connector//{_ID}",
    "of a connector with a slash behind": f"{_NAME}/",
    "of a connector with a key": f"{_NAME}#a",
    "of a path below a secret": f"{_ID}/a",
    "of another kind": f"template/{_ID}",
    "of a path with a slash behind": f"{_NAME}/a/",
    "of a path with an empty part": f"{_NAME}/a//b",
    "of a path with a step on the spot": f"{_NAME}/./a",
    "of a path that ends with one": f"{_NAME}/a/.",
    "of a path with a step upwards": f"{_NAME}/a/../b",
    "of a path that ends with that": f"{_NAME}/a/..",
    "of a path with a key": f"{_NAME}/a#b",
    "of a path with a line break": f"{_NAME}/a\n",
    "of a path with a line break inside": f"{_NAME}/a\n/b",
    "of a path with a step and a line break": f"{_NAME}/..\n",
    "of a path with a null character": f"{_NAME}/a\x00",
    "of a path with a delete character": f"{_NAME}/\x7f",
    "that is too long": f"{_NAME}/" + "a" * (2_200 - len(_NAME)),
}
_LABELS = {
    "empty": "",
    "that begins with a point": ".1",
    "that begins with a hyphen": "-1",
    "that begins with an underline": "_1",
    "that begins with a letter outside of ASCII": "é",
    "of sixty-five characters": "1" * 65,
    "with a space": "1 2",
    "with a tab": "1\t2",
    "with a line break": "1\n",
    "with a slash": "1/2",
    "with an ampersand": "1&2",
    "with a null character": "1\x00",
    "with a delete character": "1\x7f",
    "with a separator of units": "1\x1f",
    "with a next line": "1\x85",
    "with a space that doesn't break": "1\xa0",
    "with a line separator": "1\u2028",
    "with a wide space": "1\u3000",
    "with a space of no width that doesn't break": "1\ufeff",
}
_NEW: Mapping[str, Mapping[str, Edit]] = {
    "template": {
        # What a template has in common with other things that live in a scope.
        **PLAIN["scope"],
        **{f"a label {name}": put(version=label) for name, label in _LABELS.items()},
        "a label that is a number": put(version=1),
        "a content of another type": _content(type="Script"),
        "a content with more than that": _content(timeout=1),
        "a content that is a text": put(content="x"),
        "a shell in lower case": _shell("bash"),
        "an unknown shell": _shell("Zsh"),
        "a content without a script": lambda payload: payload["content"].pop("script"),
        "a content without a shell": lambda payload: payload["content"].pop("shell"),
        "a content without a type": lambda payload: payload["content"].pop("type"),
        "an empty script": _content(script=""),
        "a script that is too long": _content(script="x" * 65_537),
        "what writes, too long": _content(write="x" * 65_537),
        "what removes, too long": _content(remove="x" * 65_537),
        "what writes spelt out as none": _content(write=""),
        "no input spelt out": _content(inputs=[]),
        "an input twice": _content(inputs=[{"name": "a"}, {"name": "a", "value": "x"}]),
        "an input that is no identifier": _content(inputs=[{"name": "a-b"}]),
        "an input without a name": _content(inputs=[{"value": "x"}]),
        "an input with null": _content(inputs=[{"name": "a", "value": None}]),
        "an input with a number": _content(inputs=[{"name": "a", "value": 1}]),
        "an input with more than that": _content(inputs=[{"name": "a", "required": True}]),
        "an input that is too long": _content(inputs=[{"name": "a", "value": "x" * 4_097}]),
        "sixty-five inputs": _content(inputs=[{"name": f"a{at}"} for at in range(65)]),
        "a selector in upper case": _content(selectors=["Linux"]),
        "sixty-five selectors": _content(selectors=["a"] * 65),
        "secrets out of order": _content(secrets=["b", "a"]),
        "a secret that is named twice": _content(secrets=["a", "a"]),
        "a secret with an unknown prefix": _content(secrets=["project.a"]),
        "sixty-five secrets": _content(secrets=[f"a{at:02}" for at in range(65)]),
        "an organisation's secret in the account": lambda payload: payload.update(
            scope="account", content={**payload["content"], "secrets": ["org.a"]}
        ),
    },
    "connector": {
        "a template of the built-in kind": put(template=_USE),
        "a template of another kind": put(type="Vault", template=_USE),
        "a template that is null": _custom(None),
        "a template without a content": _custom({"id": _ID}),
        "a template without an id": _custom({"content": _DIGEST}),
        "a template with more than that": _custom({**_USE, "version": "1"}),
        "a template by its name": _custom({**_USE, "id": "script"}),
        "a template with a short digest": _custom({**_USE, "content": _DIGEST[:-1]}),
        "a template that is a text": _custom(_ID),
    },
    "secret": {
        "an SSHKey in another case": put(type="SshKey"),
        "a text with a spec": put(spec={"a": 1}),
        "a text with secrets": put(secrets=["a"]),
        "a file with a spec": put(type="SecretFile", spec={"a": 1}),
        "an SSHKey with a reference": _login(reference="a"),
        "an SSHKey with metadata": _login(metadata={"version": "1"}),
        "an SSHKey with a file name": _login(filename="id"),
        "an SSHKey with nine secrets": _login(secrets=[f"a{at}" for at in range(9)]),
        "an SSHKey with secrets out of order": _login(secrets=["b", "a"]),
        "an SSHKey with a secret twice": _login(secrets=["a", "a"]),
        "an SSHKey with a secret that is none": _login(secrets=["a-b"]),
        "an SSHKey of the account with an organisation's": _login(scope="account", secrets=["org.a"]),
        "an SSHKey with a spec of seventeen levels": _login(spec=nested(17)),
        "an SSHKey with a fraction": _login(spec={"a": 1.5}),
    },
    "grant": {f"a resource {name}": put(resource=resource) for name, resource in _RESOURCES.items()},
    "task": {
        "a target with a reference spelt out as none": _target(reference=""),
        "a target with metadata spelt out as none": _target(metadata={}),
        "a target with a reference of 2049 characters": _target(reference="x" * 2_049),
        "a target with a reference that is a list": _target(reference=["a", "b"]),
        "a target with metadata that isn't a text": _target(metadata={"version": 1}),
        "a target with metadata that has a space in its name": _target(metadata={"a b": "x"}),
    },
}
LIMITS: Mapping[str, Mapping[str, Edit]] = {
    **{kind: {**PLAIN.get(kind, {}), **_NEW.get(kind, {})} for kind in PLAIN.keys() | _NEW.keys()},
    "order": ORDER,
}
"""All edits, by kind."""
