"""What stands between a delegate and AWS, in the attacker's hands: it reads every request, and changes requests and answers.

    async with EvilAws(moto.url) as aws:
        aws.on_request("Decrypt", lambda asked: {**asked, "EncryptionContext": {}})
        aws.on_answer("Decrypt", lambda asked, told: {**told, "KeyId": other})
        aws.asked                                  # whatever was asked, in order, as the delegate said it

Behind it is a real emulator, which doesn't mind a broken signature. KMS's calls can be changed; STS's are passed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from tests.fakes.aws import Asked
from tests.fakes.faulty_aws import FaultyAws

Parameters = Mapping[str, Any]

_SIGNED = re.compile(r"Credential=([A-Za-z0-9_]+)/")
_HOP = {"connection", "content-encoding", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}


class EvilAws(FaultyAws):
    """See the module; `upstream` is the emulator's URL."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.told: list[bytes] = []
        """What the emulator answered, as it did."""
        self._requests: dict[str, Callable[[Parameters], Parameters]] = {}
        self._answers: dict[str, Callable[[Parameters, Parameters], Parameters]] = {}

    def on_request(self, operation: str, change: Callable[[Parameters], Parameters]) -> None:
        """The emulator is asked this instead."""
        self._requests[operation] = change

    def on_answer(self, operation: str, change: Callable[[Parameters, Parameters], Parameters]) -> None:
        """The delegate is answered this instead; given what it asked and what the emulator says."""
        self._answers[operation] = change

    def behave(self) -> None:
        """Passes everything on."""
        self._requests.clear()
        self._answers.clear()

    def said(self, member: str) -> set[str]:
        """Every value that a parameter has had so far."""
        return {str(asked.parameters[member]) for asked in self.asked if member in asked.parameters}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert self._client is not None
        body = await request.read()
        target = request.headers.get("X-Amz-Target", "")
        parameters: dict[str, Any]
        if target:
            operation, parameters = target.rpartition(".")[2], json.loads(body)
        else:
            parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            operation = parameters.get("Action", request.method)
        signed = _SIGNED.search(request.headers.get("Authorization", ""))
        asked = Asked(operation, signed[1] if signed else "", parameters, dict(request.headers))
        self.asked.append(asked)
        if self.faults[operation]:
            return await self.faults[operation].popleft()(asked)
        if target and operation in self._requests:
            body = json.dumps(self._requests[operation](parameters)).encode()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with self._client.post(self._upstream, data=body, headers=headers) as answered:
            told, status = await answered.read(), answered.status
            self.told.append(told)
            if operation in self._answers and status == 200:
                told = json.dumps(self._answers[operation](parameters, json.loads(told))).encode()
            kept = {name: value for name, value in answered.headers.items() if name.lower() not in _HOP}
            return web.Response(body=told, status=status, headers=kept)
