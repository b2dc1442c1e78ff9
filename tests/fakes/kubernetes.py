"""An API server of Kubernetes on loopback, as far as Secrets of a namespace and reviews of one's own rights go.

    with Kubernetes() as site:                    # connectors: masterUrl site.url, caCertificate site.trust
        token = site.api.account("apps", "privyseal", verbs=("get", "create", "update", "delete"))

It does what Kubernetes documents: tokens of service accounts, roles by verb and name, names, labels and keys as they are
validated, base64, 1 MiB of values, `immutable`, resourceVersion and uid as conditions, finalizers, and a `Status` for each refusal
("API Concepts", "Secrets", "Using RBAC Authorization", "Object Names and IDs", "Labels and Selectors").
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers.https import Https, Reply, Request, told

MOST_BYTES = 1_048_576
MOST_BODY = 3 * 1024 * 1024

_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_VALUE = re.compile(r"(|[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)\Z")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}\Z")
_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/secrets(?:/(?P<name>[^/]+))?\Z")
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
}


@dataclass(frozen=True)
class Rule:
    """Of a role: these verbs on Secrets of the namespace, on those of these names alone where there are any."""

    user: str
    namespace: str
    verbs: frozenset[str]
    names: frozenset[str]


class Refused(Exception):
    """Ends a request with a Status."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or _REASONS[code]

    @property
    def reply(self) -> Reply:
        """As the API's conventions have it."""
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return told(self.code, {**status, "message": str(self), "reason": self.reason, "code": self.code})


@dataclass
class ApiServer:
    """`objects` by namespace and name; `tokens` by their text, with the user that each shows."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    revision: int = 1000

    def account(
        self, namespace: str, name: str, *, verbs: Iterable[str] = (), names: Iterable[str] = (), within: str = ""
    ) -> str:
        """A service account's token; its namespace is made. It may do `verbs` in `within`, its own namespace unless given."""
        self.namespaces.add(namespace)
        user = f"system:serviceaccount:{namespace}:{name}"
        self.rules.append(Rule(user, within or namespace, frozenset(verbs), frozenset(names)))
        claims = base64.urlsafe_b64encode(json.dumps({"sub": user}).encode()).decode().rstrip("=")
        token = f"eyJhbGciOiJSUzI1NiJ9.{claims}.{secrets.token_urlsafe(32)}"
        self.tokens[token] = user
        return token

    def put(self, namespace: str, name: str, data: Mapping[str, bytes], **more: Any) -> dict[str, Any]:
        """Somebody makes or replaces a Secret past all roles."""
        before = self.objects.get((namespace, name), {})
        metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        whole = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": encoded, **more}
        return self._kept(namespace, name, whole, before)

    def data(self, namespace: str, name: str) -> dict[str, bytes]:
        """What a Secret has."""
        found = self.objects[namespace, name].get("data", {})
        return {key: base64.b64decode(value) for key, value in found.items()}

    def answer(self, request: Request) -> Reply:
        """The answer to one request."""
        try:
            return self._answered(request)
        except Refused as why:
            return why.reply

    def _answered(self, request: Request) -> Reply:
        user = self._user(request)
        if request.path == _REVIEW and request.method == "POST":
            return self._reviewed(user, _object(request, "SelfSubjectAccessReview"))
        match = _PATH.match(request.path)
        if match is None:
            raise Refused(404, "the server could not find the requested resource")
        namespace, name = match["namespace"], match["name"] or ""
        verb = _VERBS[request.method] if name or request.method == "POST" else "list"
        if not self._allows(user, namespace, verb, name if verb != "create" else ""):
            what = f'secrets "{name}"' if name else "secrets"
            raise Refused(403, f'{what} is forbidden: User "{user}" cannot {verb} resource "secrets" in "{namespace}"')
        match verb:
            case "get":
                return told(200, self._found(namespace, name))
            case "create" if not name:
                return told(201, self._created(namespace, _object(request, "Secret")))
            case "update":
                return told(200, self._updated(namespace, name, _object(request, "Secret")))
            case "delete":
                return told(200, self._deleted(namespace, name, _object(request, "DeleteOptions")))
        raise Refused(405, "the server does not allow this method on the requested resource")

    def _user(self, request: Request) -> str:
        header = request.headers.get("authorization", "")
        if not header:
            return "system:anonymous"
        user = self.tokens.get(header.removeprefix("Bearer "))
        if user is None or not header.startswith("Bearer "):
            raise Refused(401, "Unauthorized")
        return user

    def _allows(self, user: str, namespace: str, verb: str, name: str) -> bool:
        return any(
            one.user == user
            and one.namespace == namespace
            and verb in one.verbs
            and (not one.names or name in one.names)
            for one in self.rules
        )

    def _reviewed(self, user: str, review: dict[str, Any]) -> Reply:
        if user == "system:anonymous":
            raise Refused(403, "selfsubjectaccessreviews.authorization.k8s.io is forbidden")
        asked = review["spec"]["resourceAttributes"]
        if (asked.get("resource"), asked.get("group", "")) != ("secrets", ""):
            raise Refused(422, "only secrets are known here")
        allowed = self._allows(user, asked["namespace"], asked["verb"], asked.get("name", ""))
        return told(201, {**review, "metadata": {}, "status": {"allowed": allowed}})

    def _found(self, namespace: str, name: str) -> dict[str, Any]:
        found = self.objects.get((namespace, name))
        if found is None:
            raise Refused(404, f'secrets "{name}" not found')
        return found

    def _created(self, namespace: str, given: dict[str, Any]) -> dict[str, Any]:
        if namespace not in self.namespaces:
            raise Refused(404, f'namespaces "{namespace}" not found')
        metadata = given.get("metadata") or {}
        if metadata.get("resourceVersion"):
            raise Refused(400, "resourceVersion should not be set on objects to be created")
        if metadata.get("namespace", namespace) != namespace:
            raise Refused(400, "the namespace of the provided object does not match the namespace sent on the request")
        name = str(metadata.get("name", ""))
        _check(name, given)
        if (namespace, name) in self.objects:
            raise Refused(409, f'secrets "{name}" already exists', "AlreadyExists")
        given["metadata"] = {**metadata, "namespace": namespace}
        return self._kept(namespace, name, given, {})

    def _updated(self, namespace: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        before = self._found(namespace, name)
        metadata = given.get("metadata") or {}
        if metadata.get("name") != name:
            raise Refused(400, "the name of the object does not match the name on the URL")
        if metadata.get("namespace", namespace) != namespace:
            raise Refused(400, "the namespace of the object does not match the namespace on the URL")
        old = before["metadata"]
        for condition in ("uid", "resourceVersion"):
            if metadata.get(condition, old[condition]) != old[condition]:
                raise Refused(409, f'Operation cannot be fulfilled on secrets "{name}": modified', "Conflict")
        _check(name, given)
        if given.get("type", "Opaque") != before["type"]:
            raise Refused(422, f'Secret "{name}" is invalid: type: field is immutable')
        if before.get("immutable") and (given.get("data") != before.get("data") or not given.get("immutable")):
            raise Refused(422, f'Secret "{name}" is invalid: data: field is immutable when `immutable` is set')
        return self._kept(namespace, name, given, before)

    def _deleted(self, namespace: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
        found = self._found(namespace, name)
        for condition, wanted in (options.get("preconditions") or {}).items():
            if found["metadata"][condition] != wanted:
                raise Refused(409, f"Precondition failed: {condition} in precondition", "Conflict")
        if found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return self._kept(namespace, name, found, found)
        del self.objects[namespace, name]
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _kept(self, namespace: str, name: str, whole: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
        self.namespaces.add(namespace)
        self.revision += 1
        made = {"uid": secrets.token_hex(16), "creationTimestamp": "2026-01-01T00:00:00Z"}
        old = before.get("metadata", made)
        fixed = {key: old[key] for key in made}
        kept = {"type": "Opaque", **whole}
        kept["metadata"] = {**whole["metadata"], **fixed, "resourceVersion": str(self.revision)}
        # A later change mustn't change what was answered.
        self.objects[namespace, name] = json.loads(json.dumps(kept))
        return kept


class Kubernetes(Https):
    """An API server over TLS."""

    def __init__(self) -> None:
        self.api = ApiServer()
        super().__init__(self.api)


def _object(request: Request, kind: str) -> dict[str, Any]:
    if len(request.body) > MOST_BODY:
        raise Refused(413, "limit is 3145728")
    if kind == "DeleteOptions" and not request.body:
        return {}
    if request.headers.get("content-type") != "application/json":
        raise Refused(415, "the body of the request was in an unknown format")
    try:
        found = json.loads(request.body)
    except ValueError:
        raise Refused(400, "the object provided is unrecognized") from None
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise Refused(400, f"the object provided is no {kind}")
    return found


def _check(name: str, given: dict[str, Any]) -> None:
    """As the server validates a Secret. Raises Refused."""

    def invalid(what: str) -> Refused:
        return Refused(422, f'Secret "{name}" is invalid: {what}')

    if not _SUBDOMAIN.match(name):
        raise invalid(
            "metadata.name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters"
        )
    metadata, total = given.get("metadata") or {}, 0
    for key, value in (metadata.get("labels") or {}).items():
        if not _is_qualified(key) or not _VALUE.match(value):
            raise invalid("metadata.labels")
    if not all(_is_qualified(key.lower()) for key in metadata.get("annotations") or {}):
        raise invalid("metadata.annotations")
    for key, value in (given.get("data") or {}).items():
        if not _DATA_KEY.match(key) or key in {".", ".."} or key.startswith(".."):
            raise invalid(f"data[{key}]")
        try:
            total += len(base64.b64decode(value, validate=True))
        except (binascii.Error, TypeError, ValueError):
            raise Refused(400, "illegal base64 data at input byte 0") from None
    if total > MOST_BYTES:
        raise invalid("data: Too long: must have at most 1048576 bytes")


def _is_qualified(key: str) -> bool:
    prefix, found, name = key.rpartition("/")
    return bool(_QUALIFIED.match(name)) and (not found or bool(_SUBDOMAIN.match(prefix)))
