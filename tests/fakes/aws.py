"""AWS's KMS and STS on loopback, spoken as AWS documents them, with the faults that no emulator has.

    async with Aws() as aws:
        key = aws.new_key()                        # its ARN
        aws.faults["Decrypt"].append(refuse("ThrottlingException"))
        ...
        aws.asked                                  # every request, in order

Keys really wrap (AES-GCM, with key and encryption context bound), credentials of STS really expire. No policies, no
signatures: MiniStack has those.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCOUNT, REGION = "123456789012", "us-east-1"


@dataclass(frozen=True)
class Asked:
    """One request: its operation, the id of the access key that signed it ("" for none), parameters and headers."""

    operation: str
    access_key: str
    parameters: Mapping[str, Any]
    headers: Mapping[str, str]


Fault = Callable[[Asked], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """What AWS answers instead."""

    def __init__(self, code: str, status: int = 400, message: str = "") -> None:
        super().__init__(code)
        self.code, self.status, self.message = code, status, message


def refuse(code: str, status: int = 400, message: str = "") -> Fault:
    """AWS says no with that code."""

    async def fault(asked: Asked) -> web.StreamResponse:
        return _refusal(asked, Refused(code, status, message))

    return fault


def answer(body: bytes, status: int = 200, **headers: str) -> Fault:
    """Exactly this is answered."""

    async def fault(_: Asked) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return fault


def stall(until: asyncio.Event) -> Fault:
    """Nothing is answered before that."""

    async def fault(asked: Asked) -> web.StreamResponse:
        await until.wait()
        return _refusal(asked, Refused("ServiceUnavailable", 503))

    return fault


class Aws:
    """One account in one region. `now` tells the time by which credentials of STS end."""

    def __init__(self, now: Callable[[], float] = time.time, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.lifetime_seconds = 3600
        self.ended: set[str] = set()
        """Ids of access keys that have expired."""
        self.url = ""
        self._tls = tls
        self._now = now
        self._keys: dict[str, bytes] = {}
        self._ends: dict[str, float] = {}
        self._site: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self._site = runner
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._site is not None
        await self._site.cleanup()

    @property
    def connections(self) -> int:
        """How many are open."""
        assert self._site is not None and self._site.server is not None
        return len(self._site.server.connections)

    def operations(self) -> list[str]:
        """What was asked, by name."""
        return [asked.operation for asked in self.asked]

    def new_key(self) -> str:
        """The ARN of a new key."""
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{secrets.token_hex(16)}"
        self._keys[arn] = secrets.token_bytes(32)
        return arn

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        target = request.headers.get("X-Amz-Target", "")
        if target:
            operation, parameters = target.removeprefix("TrentService."), json.loads(body)
        else:
            parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            operation = parameters.get("Action", request.method)
        signed = re.search(r"Credential=([A-Za-z0-9_]+)/", request.headers.get("Authorization", ""))
        asked = Asked(operation, signed[1] if signed else "", parameters, dict(request.headers))
        self.asked.append(asked)
        if self.faults[operation]:
            return await self.faults[operation].popleft()(asked)
        try:
            self._check_credentials(asked)
            return getattr(self, f"_{operation}")(asked.parameters)  # type: ignore[no-any-return]
        except Refused as no:
            return _refusal(asked, no)

    def _check_credentials(self, asked: Asked) -> None:
        if asked.operation == "AssumeRoleWithWebIdentity":
            return
        if asked.access_key in self.ended or self._ends.get(asked.access_key, float("inf")) <= self._now():
            raise Refused("ExpiredTokenException" if "key" in asked.parameters else "ExpiredToken")

    def _GenerateDataKey(self, parameters: Mapping[str, Any]) -> web.Response:  # noqa: N802
        arn = parameters["KeyId"]
        plaintext, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
        wrapped = nonce + self._key(arn).encrypt(nonce, plaintext, _context(arn, parameters))
        return _json(KeyId=arn, Plaintext=_b64(plaintext), CiphertextBlob=_b64(wrapped))

    def _Decrypt(self, parameters: Mapping[str, Any]) -> web.Response:  # noqa: N802
        arn, blob = parameters["KeyId"], base64.b64decode(parameters["CiphertextBlob"])
        try:
            plaintext = self._key(arn).decrypt(blob[:12], blob[12:], _context(arn, parameters))
        except InvalidTag:
            raise Refused("InvalidCiphertextException") from None
        return _json(KeyId=arn, Plaintext=_b64(plaintext), EncryptionAlgorithm="SYMMETRIC_DEFAULT")

    def _key(self, arn: str) -> AESGCM:
        if arn not in self._keys:
            raise Refused("NotFoundException")
        return AESGCM(self._keys[arn])

    def _AssumeRole(self, parameters: Mapping[str, Any]) -> web.Response:  # noqa: N802
        return self._role("AssumeRole", parameters)

    def _AssumeRoleWithWebIdentity(self, parameters: Mapping[str, Any]) -> web.Response:  # noqa: N802
        return self._role("AssumeRoleWithWebIdentity", parameters)

    def _role(self, operation: str, parameters: Mapping[str, Any]) -> web.Response:
        access_key = "ASIA" + secrets.token_hex(8).upper()
        end = self._ends[access_key] = self._now() + int(parameters.get("DurationSeconds", self.lifetime_seconds))
        told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        credentials = (
            f"<AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secrets.token_hex(20)}</SecretAccessKey>"
            f"<SessionToken>{secrets.token_hex(32)}</SessionToken><Expiration>{told}</Expiration>"
        )
        return web.Response(
            text=f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>'
            f"<Credentials>{credentials}</Credentials></{operation}Result></{operation}Response>",
            content_type="text/xml",
        )


def _context(arn: str, parameters: Mapping[str, Any]) -> bytes:
    return json.dumps([arn, sorted(parameters.get("EncryptionContext", {}).items())]).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(**members: str) -> web.Response:
    return web.Response(text=json.dumps(members), content_type="application/x-amz-json-1.1")


def _refusal(asked: Asked, no: Refused) -> web.Response:
    if "X-Amz-Target" in asked.headers:
        return web.Response(
            text=json.dumps({"__type": no.code, "message": no.message}),
            status=no.status,
            content_type="application/x-amz-json-1.1",
        )
    return web.Response(
        text=f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{no.code}</Code><Message>{no.message}</Message></Error><RequestId>1</RequestId></ErrorResponse>",
        status=no.status,
        content_type="text/xml",
    )
