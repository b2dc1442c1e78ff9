"""What Vault's kinds are tried with: connectors in a world, and a stand-in for what no server at hand can do.

The stand-in speaks Vault's HTTP API as it is documented (api-docs/auth/ldap, api-docs/auth/aws, api-docs/index: status codes):
its LDAP login compares a password, its AWS login verifies the signature of the GetCallerIdentity request as AWS would.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import ssl
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, Self

from aiohttp import web

from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings
from delegate.secret_managers.vault import Vault
from delegate.secret_managers.vault_transit import VaultTransit
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from tests.fakes.versions import version
from tests.fakes.world import World

KINDS: Mapping[str, Callable[..., SecretManager]] = {"Vault": Vault, "VaultTransit": VaultTransit}
_bases = count(1)


class VaultWorld:
    """A world whose connectors lead to one server. Each has base paths of its own, so that tests don't meet."""

    def __init__(self, address: str, **spec: Any) -> None:
        self.world = World()
        self.spec = {"vaultUrl": address, "renewalIntervalMinutes": 0, "basePath": f"/base-{next(_bases)}", **spec}
        self.made: list[SecretManager] = []

    @property
    def base(self) -> str:
        """The base path, without its slash."""
        return str(self.spec["basePath"]).strip("/")

    def surroundings(self, policy: str = "", **changes: Any) -> Surroundings:
        """Of a delegate with that local policy."""
        given: dict[str, Any] = {"call_seconds": 10.0, "randomness": secrets.token_bytes, **changes}
        zone = Zone(self.world.keyring, self.world.book())
        return Surroundings(zone, LocalPolicy.parse(policy, list(KINDS)), given.pop("randomness"), **given)

    def connector(self, kind: str = "Vault", credentials: Mapping[str, Any] = {}, **spec: Any) -> ConnectorDocument:
        """A connector of that kind."""
        return self.world.connector_document(
            "vault", type=kind, spec={**self.spec, **spec}, secrets=tuple(sorted(credentials))
        )

    def manager(
        self,
        kind: str = "Vault",
        credentials: Mapping[str, str | bytes] = {},
        surroundings: Surroundings | None = None,
        **spec: Any,
    ) -> SecretManager:
        """Its manager, closed with `close`; `credentials` are the values of the secrets that the connector names."""
        values = {
            name: Plaintext(value if isinstance(value, bytes) else value.encode())
            for name, value in credentials.items()
        }
        made = KINDS[kind](self.connector(kind, credentials, **spec), surroundings or self.surroundings(), values)
        self.made.append(made)
        return made

    def with_token(self, token: str, kind: str = "Vault", **spec: Any) -> SecretManager:
        """A manager that is given a token."""
        return self.manager(kind, {"account.token": token}, authToken="account.token", **spec)

    def version(self, identifier: str = "password", n: int = 1, task: str = "", **document: Any) -> SecretVersion:
        """Version `n` of a secret at a Vault connector, stored by the task of that name."""
        return version(self.world, self.connector(), identifier, n, task=task, **document)

    async def close(self) -> None:
        """Close every manager."""
        for one in self.made:
            await one.close()


Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StandIn:
    """A server on loopback that answers as it is told: `answers[path]` one after the other, then `otherwise`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.answers: defaultdict[str, deque[Answering]] = defaultdict(deque)
        self.otherwise: Answering = _nothing
        self.asked: list[tuple[str, Mapping[str, str], Any]] = []
        """Path, headers and JSON body of each request."""
        self.address = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.address = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, body = request.path, await request.read()
        self.asked.append((path, dict(request.headers), json.loads(body) if body else None))
        waiting = self.answers[path]
        return await (waiting.popleft() if waiting else self.otherwise)(request)


async def _nothing(request: web.Request) -> web.StreamResponse:
    return web.json_response({"errors": []}, status=404)


def answer(data: Any = None, status: int = 200, **others: Any) -> Answering:
    """JSON, as Vault answers."""

    async def give(request: web.Request) -> web.StreamResponse:
        return web.json_response({**({} if data is None else {"data": data}), **others}, status=status)

    return give


def refusal(status: int, *errors: str) -> Answering:
    """A refusal in Vault's words."""
    return answer(status=status, errors=list(errors))


def granted(token: str, seconds: int = 3600, *, renewable: bool = False) -> Answering:
    """A login's token."""
    return answer(auth={"client_token": token, "lease_duration": seconds, "renewable": renewable})


async def never(request: web.Request) -> web.StreamResponse:
    """No answer, until the other side has had enough."""
    await asyncio.Event().wait()
    raise AssertionError


def ldap_login(users: Mapping[str, str]) -> Answering:
    """auth/ldap/login/:username."""

    async def give(request: web.Request) -> web.StreamResponse:
        name, body = request.path.rpartition("/")[2], json.loads(await request.read())
        if name not in users or not hmac.compare_digest(users[name], body.get("password", "")):
            return await refusal(400, "ldap operation failed: failed to bind as user")(request)
        return await granted("hvs.ldap-token")(request)

    return give


def aws_login(role: str, keys: Mapping[str, str], server: str = "") -> Answering:
    """auth/aws/login of type iam; `keys` are secret keys by access key id, `server` the header's value that is asked for."""

    async def give(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        why = _signed_wrongly(body, keys, server)
        if body.get("role") != role or why:
            return await refusal(400, why or "entry for role not found")(request)
        return await granted("hvs.aws-token")(request)

    return give


def _signed_wrongly(body: Mapping[str, str], keys: Mapping[str, str], server: str) -> str:
    """What is wrong with a signature (version 4) of a GetCallerIdentity request, "" for nothing."""
    if body["iam_http_request_method"] != "POST":
        return "invalid iam_http_request_method"
    headers = {
        name.lower(): ",".join(values) for name, values in json.loads(_plain(body["iam_request_headers"])).items()
    }
    if headers.get("x-vault-aws-iam-server-id", "") != server:
        return "error validating X-Vault-AWS-IAM-Server-ID header"
    scheme, *parts = headers["authorization"].replace(",", " ").split()
    said = dict(part.split("=", 1) for part in parts)
    access_key, date, region, service, _ = said["Credential"].split("/")
    names = said["SignedHeaders"].split(";")
    if server and "x-vault-aws-iam-server-id" not in names:
        return "the server id isn't signed"
    host = _plain(body["iam_request_url"]).removeprefix("https://").rstrip("/")
    if scheme != "AWS4-HMAC-SHA256" or service != "sts" or headers.get("host", host) != host:
        return "signed for something else"
    payload = hashlib.sha256(_plain(body["iam_request_body"]).encode()).hexdigest()
    lines = [f"{name}:{host if name == 'host' else headers[name]}\n" for name in names]
    canonical = "\n".join(("POST", "/", "", "".join(lines), ";".join(names), payload))
    scope = f"{date}/{region}/sts/aws4_request"
    to_sign = "\n".join((scheme, headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.get(access_key, '')}".encode()
    for step in (date, region, "sts", "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(signature, said["Signature"]) else "the signature doesn't fit"


def _plain(text: str) -> str:
    return base64.b64decode(text).decode()
