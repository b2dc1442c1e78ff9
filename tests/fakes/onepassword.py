"""1Password Connect as its API reference (1.8) describes it: vaults, items, fields, files, and tokens that name vaults.

    connect = Connect()
    vault = connect.vault("prod")                       # its id
    item = connect.item(vault, "db", password="hunter2")
    token = connect.token(vault)
    with Https(connect) as site: ...

Promises: ids have the form that the reference gives; filters are parsed, and one that isn't `ATTRIBUTE eq "VALUE"` is refused;
names are compared without regard to case, as SCIM does (RFC 7644, 3.4.2.2), so that who asks has to compare himself; a token
gives its own vaults alone. Must not know who asks.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.servers.https import Reply, Request, told

_ALPHABET = string.ascii_lowercase + string.digits
_ID = re.compile(r"[\da-z]{26}\Z")
_FILTER = re.compile(r'(?P<attribute>\w+) eq (?P<value>"(?:[^"\\\x00-\x1f]|\\.)*")\Z')


def new_id() -> str:
    """26 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(26))


class Refused(Exception):
    """What Connect answers instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Item:
    """An item with its fields, and the bytes of its files by their ids."""

    id: str
    vault: str
    title: str
    state: str = ""
    version: int = 1
    sections: list[dict[str, Any]] = field(default_factory=list)
    fields: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)

    def section(self, label: str) -> str:
        """A new section; its id."""
        self.sections.append({"id": new_id(), "label": label})
        return str(self.sections[-1]["id"])

    def add(self, label: str, value: str, section: str = "", id: str = "") -> str:
        """A new field; its id."""
        made: dict[str, Any] = {"id": id or new_id(), "type": "CONCEALED", "label": label}
        if value:
            made["value"] = value
        if section:
            made["section"] = {"id": section}
        self.fields.append(made)
        self.version += 1
        return str(made["id"])

    def attach(self, name: str, content: bytes, section: str = "") -> str:
        """A new file; its id."""
        made: dict[str, Any] = {"id": new_id(), "name": name, "size": len(content)}
        made["content_path"] = f"/v1/vaults/{self.vault}/items/{self.id}/files/{made['id']}/content"
        if section:
            made["section"] = {"id": section}
        self.files.append(made)
        self.contents[made["id"]] = content
        return str(made["id"])

    def summary(self) -> dict[str, Any]:
        """As it stands in a list."""
        state = {"state": self.state} if self.state else {}
        return {
            "id": self.id,
            "title": self.title,
            "vault": {"id": self.vault},
            "category": "LOGIN",
            "version": self.version,
            **state,
        }

    def details(self) -> dict[str, Any]:
        """As it is read alone."""
        files = {"files": self.files} if self.files else {}
        return {**self.summary(), "sections": self.sections, "fields": self.fields, **files}


class Connect:
    """One account at one Connect server."""

    def __init__(self) -> None:
        self.vaults: dict[str, str] = {}
        self.items: dict[str, Item] = {}
        self.tokens: dict[str, frozenset[str]] = {}

    def vault(self, name: str) -> str:
        """A new vault; its id."""
        made = new_id()
        self.vaults[made] = name
        return made

    def token(self, *vaults: str) -> str:
        """A new token that gives these vaults, in the form of a JWT."""
        made = f"eyJhbGciOiJFUzI1NiJ9.{secrets.token_urlsafe(48)}.{secrets.token_urlsafe(64)}"
        self.tokens[made] = frozenset(vaults)
        return made

    def item(self, vault: str, title: str, **fields: str) -> Item:
        """A new item with fields of these labels in no section, as a login has them: id and label are one."""
        made = Item(new_id(), vault, title)
        self.items[made.id] = made
        for label, value in fields.items():
            made.add(label, value, id=label)
        return made

    def answer(self, request: Request) -> Reply:
        """What Connect says."""
        try:
            return self._answer(request)
        except Refused as why:
            return told(why.status, {"status": why.status, "message": why.message})

    def _answer(self, request: Request) -> Reply:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or token not in self.tokens:
            raise Refused(401, "Invalid token signature")
        scope = self.tokens[token]
        match [unquote(part) for part in request.path.split("/")][1:]:
            case ["v1", "vaults"] if request.method == "GET":
                known = [{"id": id, "name": name, "type": "USER_CREATED"} for id, name in self.vaults.items()]
                return told(200, _filtered([one for one in known if one["id"] in scope], request, "name"))
            case ["v1", "vaults", vault, "items"] if request.method == "GET":
                self._check(vault, scope)
                kept = [one.summary() for one in self.items.values() if one.vault == vault]
                return told(200, _filtered(kept, request, "title"))
            case ["v1", "vaults", vault, "items", id] if request.method == "GET":
                return told(200, self._item(vault, id, scope).details())
            case ["v1", "vaults", vault, "items", id, "files", file, "content"] if request.method == "GET":
                content = self._item(vault, id, scope).contents.get(file)
                if content is None:
                    raise Refused(404, f"file {file} not found")
                return Reply(200, content, {"Content-Type": "application/octet-stream"})
        raise Refused(404, "not found")

    def _check(self, vault: str, scope: frozenset[str]) -> None:
        if not _ID.match(vault):
            raise Refused(400, "Invalid Vault UUID")
        if vault not in self.vaults:
            raise Refused(404, f"vault {vault} not found")
        if vault not in scope:
            raise Refused(403, f"vault {vault} is not in scope")

    def _item(self, vault: str, id: str, scope: frozenset[str]) -> Item:
        self._check(vault, scope)
        if not _ID.match(id):
            raise Refused(400, "Invalid Item UUID")
        found = self.items.get(id)
        if found is None or found.vault != vault:
            raise Refused(404, f"item {id} not found")
        return found


def _filtered(found: list[dict[str, Any]], request: Request, attribute: str) -> list[dict[str, Any]]:
    told_filter = request.query.get("filter")
    if told_filter is None:
        return found
    parsed = _FILTER.match(told_filter)
    if parsed is None or parsed["attribute"] != attribute:
        raise Refused(400, "Invalid filter")
    folded: Callable[[str], str] = str.casefold
    wanted = folded(json.loads(parsed["value"]))
    return [one for one in found if folded(one[attribute]) == wanted]
