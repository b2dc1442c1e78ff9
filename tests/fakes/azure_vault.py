"""A vault of Azure's: secrets and keys with their versions, states and rights, as Key Vault's REST reference describes them.

Sources: Key Vault REST API reference (Set Secret, Get Secret, Get Secret Versions, Delete Secret, Get Deleted Secret, Recover
Deleted Secret, Purge Deleted Secret, wrapKey, unwrapKey); "Azure Key Vault REST API error codes"; "Azure Key Vault soft-delete
overview"; "About Azure Key Vault secrets" (names without case, 25k bytes, tags of each version).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP

from shared.canonical import b64u, unb64u
from shared.errors import Malformed

ALL_RIGHTS = frozenset(
    f"{kind}/{verb}"
    for kind, verbs in {
        "secrets": ("get", "set", "list", "delete", "recover", "purge"),
        "keys": ("wrapKey", "unwrapKey"),
    }.items()
    for verb in verbs
)
LONGEST_VALUE = 25_600
MOST_TAGS = 15
PAGE = 3
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}\Z")
_OAEP = OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None)


class Refused(Exception):
    """An answer that isn't one of success."""

    def __init__(self, status: int, code: str, inner: str = "", message: str = "") -> None:
        super().__init__(code)
        self.status = status
        told: dict[str, Any] = {"code": code, "message": message or "It isn't so."}
        if inner:
            told["innererror"] = {"code": inner}
        self.body = {"error": told}


@dataclass
class Version:
    """One version of a secret."""

    id: str
    value: str
    tags: dict[str, str]
    content_type: str | None
    expires: int | None
    created: int
    enabled: bool = True


@dataclass
class Deleted:
    """Soft-deleted versions; `seen_in` is how many looks it takes until the deletion is done."""

    versions: list[Version]
    seen_in: int = 0


@dataclass
class KeyVersion:
    """One version of a key."""

    id: str
    key: rsa.RSAPrivateKey
    enabled: bool = True
    operations: tuple[str, ...] = ("wrapKey", "unwrapKey")


@dataclass
class AzureVault:
    """`rights` by principal; `lag` is how many looks a deletion or recovery takes."""

    name: str
    tenant: str
    suffix: str = "vault.azure.net"
    rights: dict[str, frozenset[str]] = field(default_factory=dict)
    purge_protected: bool = False
    firewalled: bool = False
    lag: int = 0
    secrets: dict[str, list[Version]] = field(default_factory=dict)
    deleted: dict[str, Deleted] = field(default_factory=dict)
    recovering: dict[str, tuple[int, list[Version]]] = field(default_factory=dict)
    keys: dict[str, list[KeyVersion]] = field(default_factory=dict)
    clock: int = field(default_factory=lambda: int(time.time()))

    @property
    def url(self) -> str:
        """As identifiers have it."""
        return f"https://{self.name}.{self.suffix}"

    # ---- what its owner does with tools of his own

    def put(self, name: str, value: str, tags: Mapping[str, str] | None = None) -> Version:
        """A further version of a secret."""
        self.clock += 1
        made = Version(secrets.token_hex(16), value, dict(tags or {}), None, None, self.clock)
        self.secrets.setdefault(name.lower(), []).append(made)
        return made

    def newest(self, name: str) -> Version:
        """The newest version of a secret."""
        return self.secrets[name.lower()][-1]

    def add_key(self, name: str, bits: int = 2048) -> KeyVersion:
        """A further version of a key."""
        made = KeyVersion(secrets.token_hex(16), rsa.generate_private_key(65537, bits))
        self.keys.setdefault(name.lower(), []).append(made)
        return made

    # ---- the REST API

    def answer(
        self, principal: str, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any]
    ) -> tuple[int, Any]:
        """Status and body. Raises Refused."""
        parts = path.strip("/").split("/")
        collection, name, rest = parts[0], parts[1] if len(parts) > 1 else "", parts[2:]
        if "api-version" not in query:
            raise Refused(400, "BadParameter", message="api-version is missing")
        if self.firewalled:
            raise Refused(403, "Forbidden", "ForbiddenByFirewall", "Client address is not authorized")
        if not _NAME.match(name):
            raise Refused(400, "BadParameter", message="The request URI contains an invalid name")
        key = name.lower()
        match (method, collection, rest):
            case ("PUT", "secrets", []):
                return self._allowed(principal, "secrets/set") or self._set(key, body)
            case ("GET", "secrets", ["versions"]):
                return self._allowed(principal, "secrets/list") or self._listed(key, int(query.get("$skiptoken", "0")))
            case ("GET", "secrets", [] | [_]):
                return self._allowed(principal, "secrets/get") or self._get(key, rest[0] if rest else "")
            case ("DELETE", "secrets", []):
                return self._allowed(principal, "secrets/delete") or self._delete(key)
            case ("GET", "deletedsecrets", []):
                return self._allowed(principal, "secrets/get") or (200, self._shown(key, self._gone(key).versions[-1]))
            case ("POST", "deletedsecrets", ["recover"]):
                return self._allowed(principal, "secrets/recover") or self._recover(key)
            case ("DELETE", "deletedsecrets", []):
                return self._allowed(principal, "secrets/purge") or self._purge(key)
            case ("POST", "keys", [*version, ("wrapkey" | "unwrapkey") as verb]):
                right = "wrapKey" if verb == "wrapkey" else "unwrapKey"
                return self._allowed(principal, f"keys/{right}") or self._used(key, "".join(version), right, body)
        raise Refused(405, "MethodNotAllowed")

    def _allowed(self, principal: str, right: str) -> None:
        if right not in self.rights.get(principal, frozenset()):
            message = f"Caller is not authorized to perform action on resource.\r\nAction: '{right}'"
            raise Refused(403, "Forbidden", "ForbiddenByRbac", message)

    def _set(self, key: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        value, attributes = body.get("value"), body.get("attributes") or {}
        if not isinstance(value, str) or len(value.encode()) > LONGEST_VALUE or len(body.get("tags") or {}) > MOST_TAGS:
            raise Refused(400, "BadParameter")
        if key in self.deleted:
            busy = self.deleted[key].seen_in > 0
            raise Refused(409, "Conflict", "ObjectIsBeingDeleted" if busy else "ObjectIsDeletedButRecoverable")
        if key in self.recovering:
            raise Refused(409, "Conflict", "ObjectIsBeingRecovered")
        made = self.put(key, value, body.get("tags"))
        made.content_type, made.expires = body.get("contentType"), attributes.get("exp")
        return 200, {**self._shown(key, made), "value": value}

    def _get(self, key: str, version: str) -> tuple[int, Any]:
        if key in self.recovering:
            left, versions = self.recovering[key]
            if left > 0:
                self.recovering[key] = (left - 1, versions)
            else:
                self.secrets[key] = self.recovering.pop(key)[1]
        found = [one for one in self.secrets.get(key, ()) if version in {"", one.id}]
        if not found:
            message = f"A secret with (name/id) {key}/{version} was not found in this key vault."
            raise Refused(404, "SecretNotFound", message=message)
        if not found[-1].enabled:
            message = "Operation get is not allowed on a disabled secret."
            raise Refused(403, "Forbidden", "SecretDisabled", message)
        return 200, {**self._shown(key, found[-1]), "value": found[-1].value}

    def _listed(self, key: str, start: int) -> tuple[int, Any]:
        versions = self.secrets.get(key)
        if versions is None:
            raise Refused(404, "SecretNotFound")
        more = f"{self.url}:443/secrets/{key}/versions?api-version=7.6&$skiptoken={start + PAGE}"
        shown = [self._shown(key, one) for one in versions[start : start + PAGE]]
        return 200, {"value": shown, "nextLink": more if start + PAGE < len(versions) else None}

    def _delete(self, key: str) -> tuple[int, Any]:
        if key in self.deleted:
            raise Refused(409, "Conflict", "ObjectIsBeingDeleted")
        if key not in self.secrets:
            raise Refused(404, "SecretNotFound")
        self.deleted[key] = Deleted(self.secrets.pop(key), self.lag)
        return 200, self._shown(key, self.deleted[key].versions[-1])

    def _gone(self, key: str) -> Deleted:
        found = self.deleted.get(key)
        if found is None or found.seen_in > 0:
            if found is not None:
                found.seen_in -= 1
            raise Refused(404, "SecretNotFound", message="is not currently in a deleted state")
        return found

    def _recover(self, key: str) -> tuple[int, Any]:
        versions = self._gone(key).versions
        del self.deleted[key]
        self.recovering[key] = (self.lag, versions)
        return 200, self._shown(key, versions[-1])

    def _purge(self, key: str) -> tuple[int, Any]:
        self._gone(key)
        if self.purge_protected:
            message = 'Operation "purge" is not allowed because purge protection is enabled for this vault.'
            raise Refused(403, "Forbidden", message=message)
        del self.deleted[key]
        return 204, None

    def _shown(self, key: str, one: Version) -> dict[str, Any]:
        attributes = {"enabled": one.enabled, "created": one.created, "updated": one.created, "exp": one.expires}
        found = {
            "id": f"{self.url}/secrets/{key}/{one.id}",
            "attributes": {name: value for name, value in attributes.items() if value is not None},
            "tags": one.tags,
            "contentType": one.content_type,
        }
        if key in self.deleted:
            found |= {"recoveryId": f"{self.url}/deletedsecrets/{key}", "deletedDate": self.clock}
        return found

    def _used(self, key: str, version: str, verb: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        found = [one for one in self.keys.get(key, ()) if version in {"", one.id}]
        if not found:
            raise Refused(404, "KeyNotFound")
        one = found[-1]
        if not one.enabled:
            raise Refused(403, "Forbidden", "KeyDisabled", f"Operation {verb} is not allowed on a disabled key.")
        if verb not in one.operations:
            raise Refused(403, "Forbidden", "KeyOperationForbidden", f"Operation {verb} is not permitted on this key.")
        if body.get("alg") != "RSA-OAEP-256":
            raise Refused(400, "BadParameter", message="Key and signing algorithm are incompatible.")
        try:
            given = unb64u(body["value"])
            done = one.key.public_key().encrypt(given, _OAEP) if verb == "wrapKey" else one.key.decrypt(given, _OAEP)
        except (ValueError, KeyError, Malformed):
            raise Refused(400, "BadParameter", message="The parameter is incorrect.") from None
        return 200, {"kid": f"{self.url}/keys/{key}/{one.id}", "value": b64u(done)}
