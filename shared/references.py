"""References: a stored secret by its place, or a value at a provider that no secret of ours stands for (direct fetch).

    account.NAME, org.NAME, NAME                                a stored secret
    [account.|org.]hashicorpvault://CONNECTOR/PATH[?version=N][#KEY]
    [account.|org.]awssecretsmanager://CONNECTOR/NAME[?version=ID][#KEY]
    [account.|org.]azurevault://CONNECTOR/NAME[?version=ID][#KEY]
    [account.|org.]gcpsecretsmanager://CONNECTOR/NAME[/N][#KEY]  (or ?version=N)

The prefix says where the connector lives. Promises: one reference has one meaning; a path has no empty part, no `.` or `..`,
nothing encoded and no character that another reader could take for something else. Must not know which secrets there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import Malformed
from shared.names import IDENTIFIER, Reference, Scope

KINDS: Mapping[str, str] = {
    "awssecretsmanager": "AwsSecretManager",
    "azurevault": "AzureKeyVault",
    "gcpsecretsmanager": "GcpSecretManager",
    "hashicorpvault": "Vault",
}
"""The connector's type, by the scheme that users write."""

LONGEST = 2_048
_FORM = re.compile(r"((?P<prefix>account|org)\.)?(?P<scheme>[^:/]*)://(?P<connector>[^/]*)(/(?P<detail>.*))?\Z", re.S)
_IDENTIFIER = re.compile(IDENTIFIER)
_VERSION = re.compile(r"[0-9A-Za-z_.\-]{1,64}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")
_VERSIONED = "?version="


@dataclass(frozen=True, slots=True)
class DirectReference:
    """What a connector of `kind` is asked for: `reference` is PATH or PATH#KEY, `metadata` has `version` where one is named."""

    connector: Reference
    kind: str
    reference: str
    metadata: Mapping[str, str]


def parse(text: str, here: Scope) -> Reference | DirectReference:
    """What a reference means to somebody at scope `here`. Raises Malformed."""
    if len(text) > LONGEST:
        raise _malformed("is too long", f"keep to {LONGEST} characters")
    if ":" not in text and "/" not in text:
        return Reference.parse(text, here)
    form = _FORM.match(text)
    if form is None:
        raise _malformed("has no legal form", "write TYPE://CONNECTOR/PATH or TYPE://CONNECTOR/PATH#KEY")
    kind = _kind(form["scheme"])
    identifier, detail = form["connector"], form["detail"]
    if not identifier or not detail:
        raise _malformed(
            "has no detail part", f"write {form['scheme']}://CONNECTOR/PATH: a connector, and what it reads"
        )
    if not _IDENTIFIER.match(identifier):
        raise _malformed(
            "names no connector",
            "the connector's identifier follows ://, and account. or org. stands before the type",
        )
    prefix = f"{form['prefix']}." if form["prefix"] else ""
    path, key, version = _split(detail)
    if kind == "GcpSecretManager":
        path, version = _google(path, version)
    metadata = {"version": version} if version else {}
    return DirectReference(Reference.parse(prefix + identifier, here), kind, path + key, metadata)


def _kind(scheme: str) -> str:
    kind = KINDS.get(scheme)
    if kind is None:
        what = "has a type that isn't known" if scheme else "has no type"
        raise _malformed(what, "known are " + ", ".join(f"{one}://" for one in KINDS))
    return kind


def _split(detail: str) -> tuple[str, str, str]:
    """Path, `#key` or "", version or ""."""
    whole, mark, key = detail.partition("#")
    if mark and not key:
        raise _malformed("has a # without a key", "write PATH, PATH#KEY or PATH#a.b.c")
    if _VERSIONED in key or not key.isprintable():
        raise _malformed("has a key that can't be one", "write PATH?version=N#KEY, without control characters")
    path, asked, version = whole.partition(_VERSIONED)
    if asked and not _VERSION.match(version):
        raise _malformed(
            "asks for a version that can't be one", "write PATH?version=N: the provider's own number or id"
        )
    _check_path(path)
    return path, mark + key, version


def _check_path(path: str) -> None:
    parts = [part.strip() for part in path.split("/")]
    if not path.isprintable() or {"", ".", ".."} & set(parts) or set("\\%?") & set(path):
        raise _malformed(
            "has a path that could be read as another one",
            "separate its parts by one / each, with no . or .. among them, and without \\, %, ? and control characters",
        )


def _google(path: str, version: str) -> tuple[str, str]:
    """Name and version of NAME or NAME/VERSION."""
    name, *rest = path.split("/")
    if len(rest) > 1 or (rest and version):
        raise _malformed(
            "has more than a name and a version", "write gcpsecretsmanager://CONNECTOR/NAME or .../NAME/VERSION"
        )
    version = rest[0] if rest else version
    if version and version != "latest" and not _NUMBER.match(version):
        raise _malformed("asks for a version that can't be one", "a version at Google is a number, or latest")
    return name, version


def _malformed(what: str, hint: str) -> Malformed:
    return Malformed("reference_malformed", f"the reference {what}", hint)
