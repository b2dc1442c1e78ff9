"""Secret objects of Kubernetes: what they are called, how one of ours says whose it is, and what is sent to make or replace one.

Promises: two secrets of one account never have one name; what others added to an object stays when its value is replaced.
Must not ask anybody. Sources: Kubernetes, "Object Names and IDs" (RFC 1123 subdomains), "Labels and Selectors", v1/Secret.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from delegate.secret_managers.interface import SecretVersion
from delegate.secret_managers.ownership import is_own, tags_of
from shared.canonical import b32, sha256
from shared.crypto.plaintext import Plaintext

KEY = "value"
LONGEST_NAME = 253
MANAGED_BY = {"app.kubernetes.io/managed-by": "privyseal"}
VERSION_NOTE = "privyseal-version"
"""An annotation: `N/DIGEST`, the secret's version and its store task."""

_HEAD = 180


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """Of a Secret."""

    name: str
    namespace: str
    uid: Annotated[str, Meta(min_length=1)]
    resource_version: Annotated[str, Meta(min_length=1)]
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class Object(msgspec.Struct, frozen=True, rename="camel"):
    """A Secret, as far as it concerns us."""

    kind: Literal["Secret"]
    metadata: Metadata
    data: dict[str, str] | None = None
    immutable: bool | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.labels or {}

    @property
    def note(self) -> str:
        """Which version of which store task it says it is."""
        return (self.metadata.annotations or {}).get(VERSION_NOTE, "")

    @property
    def n(self) -> int:
        """The secret's version, 0 where it doesn't say."""
        number = self.note.partition("/")[0]
        return int(number) if len(number) <= 15 and number.isascii() and number.isdigit() else 0

    def is_of(self, secret: SecretVersion) -> bool:
        """Whether exactly this store task wrote it."""
        return is_own(secret, self.labels) and self.note == note_of(secret)


def name_of(text: str) -> str:
    """The name of the Secret for `ID`, `ORG.ID` or `ORG.PROJECT.ID`: one to one, and one that Kubernetes takes.

    Letters in lower case, digits and the points stand for themselves, `_` as `--`, capitals as `-a` to `-z`. A part that then
    begins with `-` gets 0 before it (no identifier begins with a digit), one that ends so `-0` after it. What is too long
    ends with `-9` and a digest.
    """
    written = ".".join(map(_part, text.split(".")))
    if len(written) <= LONGEST_NAME:
        return written
    return f"{written[:_HEAD].rstrip('-.')}-9{b32(sha256(text.encode()))}"


def _part(identifier: str) -> str:
    written = "".join("--" if one == "_" else f"-{one.lower()}" if one.isupper() else one for one in identifier)
    return ("0" if written.startswith("-") else "") + written + ("-0" if written.endswith("-") else "")


def note_of(secret: SecretVersion) -> str:
    """Its annotation."""
    return f"{secret.n}/{secret.aad.version}"


def new(name: str, namespace: str, secret: SecretVersion, value: Plaintext) -> dict[str, Any]:
    """The object for a value of that secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**MANAGED_BY, **tags_of(secret)},
            "annotations": {VERSION_NOTE: note_of(secret)},
        },
        "data": _data(value),
    }


def replaced(whole: dict[str, Any], secret: SecretVersion, value: Plaintext) -> dict[str, Any]:
    """The same object with another value; what others added to it stays, and its resourceVersion, by which it is replaced."""
    metadata = whole["metadata"]
    notes = {**(metadata.get("annotations") or {}), VERSION_NOTE: note_of(secret)}
    return {
        **whole,
        "metadata": {**metadata, "annotations": notes},
        "data": {**(whole.get("data") or {}), **_data(value)},
    }


def _data(value: Plaintext) -> dict[str, str]:
    return {KEY: base64.b64encode(value.reveal()).decode("ascii")}
