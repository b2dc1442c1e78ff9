"""A server of AWS's protocol with the faults that it doesn't have by itself: requests go on to it unless a test says otherwise.

async with FaultyAws(url) as aws:
    aws.faults["TagResource"].append(refuse("AccessDeniedException"))
    aws.operations()                           # what was asked, by name, in order
"""

from __future__ import annotations

import json
from typing import Self

from aiohttp import ClientSession, web

from tests.fakes.aws import Asked, Aws

_HOP = {"connection", "content-encoding", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}


class FaultyAws(Aws):
    """What stands before the server at `upstream`."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream
        self._client: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = ClientSession()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        await self._client.close()
        await super().__aexit__()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert self._client is not None
        body = await request.read()
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        asked = Asked(operation, "", json.loads(body), dict(request.headers))
        self.asked.append(asked)
        if self.faults[operation]:
            return await self.faults[operation].popleft()(asked)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with self._client.post(self._upstream, data=body, headers=headers) as answered:
            told = {name: value for name, value in answered.headers.items() if name.lower() not in _HOP}
            return web.Response(body=await answered.read(), status=answered.status, headers=told)
