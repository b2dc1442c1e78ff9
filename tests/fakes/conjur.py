"""CyberArk Conjur as far as a reader meets it: authn, authn-jwt, whoami, secrets one by one and together.

    conjur = Conjur("acme")
    conjur.hosts["host/apps/privyseal"] = Host(api_key="...")
    conjur.variables["prod/db/password"] = [b"hunter2"]          # versions, the oldest first
    conjur.permit("host/apps/privyseal", "prod/db/password")
    with Https(conjur) as site: ...

It does real work: tokens are signed and checked, also for their end; ID tokens are verified against the JWKS that an issuer
publishes. Sources: the server's own routes and controllers (cyberark/conjur: config/routes.rb, authenticate_controller.rb,
secrets_controller.rb, whoami_controller.rb) and its OpenAPI description (cyberark/conjur-openapi-spec).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from jwt import PyJWKSet
from jwt.exceptions import PyJWTError

from tests.servers.https import Reply, Request, told

LIFETIME_SECONDS = 480
KEPT_VERSIONS = 20


@dataclass
class Host:
    """A role. `annotations`: the claims that an ID token must have for it, by the authenticator's id."""

    api_key: str = field(default_factory=lambda: secrets.token_hex(28))
    annotations: dict[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass
class Authenticator:
    """authn-jwt: whom it believes; `host_claim` (token-app-property) and `identity_path` find a host that the URL doesn't name."""

    issuer: str
    keys: Mapping[str, Any]
    audience: str = ""
    host_claim: str = ""
    identity_path: str = ""
    users: set[str] = field(default_factory=set)


@dataclass
class Conjur:
    """One account. `base`: a path before all routes, as in CyberArk's cloud. `tell_end`: whether tokens say when they end."""

    account: str = "acme"
    base: str = ""
    tell_end: bool = True
    lifetime: int = LIFETIME_SECONDS
    now: Callable[[], float] = time.time
    hosts: dict[str, Host] = field(default_factory=dict)
    authenticators: dict[str, Authenticator] = field(default_factory=dict)
    variables: dict[str, list[bytes]] = field(default_factory=dict)
    permitted: set[tuple[str, str]] = field(default_factory=set)
    visible: set[tuple[str, str]] = field(default_factory=set)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    logins: int = 0

    def permit(self, login: str, *variables: str) -> None:
        """Execute (and read) on these variables."""
        self.permitted |= {(login, one) for one in variables}
        self.visible |= {(login, one) for one in variables}

    def end_tokens(self) -> None:
        """No token that was given is taken any longer."""
        self.key = secrets.token_bytes(32)

    def answer(self, request: Request) -> Reply:
        """What the routes give."""
        if not request.path.startswith(self.base):
            return Reply(404)
        steps = [unquote(step) for step in request.path.removeprefix(self.base).split("/")[1:]]
        match (request.method, steps):
            case ("POST", ["authn", self.account, login, "authenticate"]):
                return self._by_key(login, request.body)
            case ("POST", ["authn-jwt", service, self.account, login, "authenticate"]):
                return self._by_jwt(service, login, request)
            case ("POST", ["authn-jwt", service, self.account, "authenticate"]):
                return self._by_jwt(service, "", request)
        who = self._known(request.headers.get("authorization", ""))
        if who is None:
            return Reply(401)
        match (request.method, steps):
            case ("GET", ["whoami"]):
                return told(200, {"client_ip": request.peer, "account": self.account, "username": who})
            case ("GET", ["secrets", self.account, "variable", *names]):
                return self._one(who, "/".join(names), request.query.get("version", ""))
            case ("GET", ["secrets"]):
                return self._many(who, request.query.get("variable_ids", ""))
        return Reply(404)

    def _by_key(self, login: str, key: bytes) -> Reply:
        host = self.hosts.get(login)
        if host is None or not hmac.compare_digest(host.api_key.encode(), key):
            return Reply(401)
        return self._token(login)

    def _by_jwt(self, service: str, login: str, request: Request) -> Reply:
        authenticator = self.authenticators.get(service)
        if authenticator is None or request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return Reply(401)
        (shown,) = parse_qs(request.body.decode()).get("jwt", [""])
        if not shown:
            return Reply(400)
        try:
            kid = jwt.get_unverified_header(shown)["kid"]
            keys = {one.key_id: one for one in PyJWKSet.from_dict(dict(authenticator.keys)).keys}
            claims = jwt.decode(
                shown,
                keys[kid],
                algorithms=["RS256"],
                issuer=authenticator.issuer,
                audience=authenticator.audience or None,
                options={"verify_aud": bool(authenticator.audience), "require": ["exp", "iat"]},
            )
        except (PyJWTError, KeyError):
            return Reply(401)
        if not login and authenticator.host_claim:
            path = [authenticator.identity_path] if authenticator.identity_path else []
            login = "/".join(["host", *path, str(claims.get(authenticator.host_claim, ""))])
        host = self.hosts.get(login)
        wanted = {} if host is None else host.annotations.get(service, {})
        if not wanted or any(claims.get(name) != value for name, value in wanted.items()):
            return Reply(401)
        return self._token(login) if login in authenticator.users else Reply(403)

    def _token(self, login: str) -> Reply:
        self.logins += 1
        began = int(self.now())
        claims = {"sub": login, "iat": began, **({"exp": began + self.lifetime} if self.tell_end else {})}
        protected, payload = (_b64(json.dumps(one)) for one in ({"alg": "conjur.org/slosilo/v2", "kid": "x"}, claims))
        signature = _b64(self._signature(protected, payload))
        return told(200, {"protected": protected, "payload": payload, "signature": signature})

    def _signature(self, protected: str, payload: str) -> bytes:
        return hmac.digest(self.key, f"{protected}.{payload}".encode(), hashlib.sha256)

    def _known(self, header: str) -> str | None:
        """Whose token that is, while it lives."""
        begins = 'Token token="'
        if not header.startswith(begins) or not header.endswith('"'):
            return None
        try:
            token = json.loads(base64.b64decode(header[len(begins) : -1], validate=True))
            signature = base64.urlsafe_b64decode(token["signature"])
            claims = json.loads(base64.urlsafe_b64decode(token["payload"]))
        except (ValueError, KeyError, TypeError):
            return None
        if not hmac.compare_digest(signature, self._signature(token["protected"], token["payload"])):
            return None
        return claims["sub"] if self.now() < claims["iat"] + self.lifetime else None

    def _one(self, who: str, name: str, version: str) -> Reply:
        versions = self.variables.get(name)
        if versions is None or (who, name) not in self.visible:
            return _missing(f"{self.account}:variable:{name}")
        if (who, name) not in self.permitted:
            return Reply(403)
        number = int(version) if version.isdigit() else len(versions)
        if (version and not version.isdigit()) or not len(versions) - KEPT_VERSIONS < number <= len(versions):
            return _missing(f"{self.account}:variable:{name}")
        if number < 1:
            return _missing(f"{self.account}:variable:{name}")
        return Reply(200, versions[number - 1], {"Content-Type": "application/octet-stream"})

    def _many(self, who: str, told_ids: str) -> Reply:
        ids = told_ids.split(",")
        if not told_ids or "" in ids or len(ids) != len(set(ids)):
            return told(422, {"error": {"code": "argument_error", "message": "variable_ids"}})
        names = [one.removeprefix(f"{self.account}:variable:") for one in ids]
        for name, id in zip(names, ids, strict=True):
            if name == id or not self.variables.get(name) or (who, name) not in self.visible:
                return _missing(id)
        if any((who, name) not in self.permitted for name in names):
            return Reply(403)
        values = [self.variables[name][-1] for name in names]
        if not all(value.isascii() for value in values):
            # Ruby's strings of bytes become no JSON: JSON::GeneratorError.
            return told(406, {"error": {"code": "bad_secret_encoding", "message": "Issue encoding secret into JSON"}})
        return told(200, {id: value.decode() for id, value in zip(ids, values, strict=True)})


def _missing(id: str) -> Reply:
    what = f"Variable {id} doesn't exist"
    details = {"code": "not_found", "target": "id", "message": id}
    return told(404, {"error": {"code": "not_found", "message": what, "target": "variable", "details": details}})


def _b64(text: str | bytes) -> str:
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode("ascii")
