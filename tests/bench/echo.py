"""The floor's manager, which only echoes: `python -m tests.bench.echo HTTP_PORT GRPC_PORT`.

The same servers as the product's, on the same event loop, with nothing in between: raw bytes, no protobuf, no database,
no cryptography. Its counterpart is `echo_delegate`. `POST /echo?bytes=N`
answers with N bytes; `GET /stream?count=N&bytes=M` times N round trips of M bytes
down the delegate's stream, one after the other, and answers with the seconds of each.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class EchoManager:
    """Both ports in one process, as the manager has them."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._over = asyncio.Event()

    async def serve(self, http_port: int, grpc_port: int) -> None:
        """Until the process is ended."""
        server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(self._connect)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("floor.Echo", {"Connect": handler}),))
        server.add_insecure_port(f"127.0.0.1:{grpc_port}")
        await server.start()
        app = Starlette(
            routes=[
                Route("/echo", self._echo, methods=["POST"]),
                Route("/stream", self._time_stream),
                Route("/ready", self._ready),
            ]
        )
        config = uvicorn.Config(
            app,
            port=http_port,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
        )
        await uvicorn.Server(config).serve()

    async def _connect(self, _: AsyncIterator[bytes], context: Any) -> None:
        self._stream = context
        await self._over.wait()

    @staticmethod
    async def _echo(request: Request) -> Response:
        data = bytearray()
        async for piece in request.stream():
            data += piece
        wanted = int(request.query_params["bytes"])
        return Response(bytes(data[:wanted]).ljust(wanted, b"."), media_type="application/octet-stream")

    async def _ready(self, _: Request) -> Response:
        return Response(status_code=200 if self._stream is not None else 503)

    async def _time_stream(self, request: Request) -> Response:
        message, seconds = bytes(int(request.query_params["bytes"])), []
        for _ in range(int(request.query_params["count"])):
            began = time.perf_counter()
            await self._stream.write(message)
            await self._stream.read()
            seconds.append(time.perf_counter() - began)
        return Response(msgspec.json.encode(seconds))


def main(arguments: list[str]) -> None:
    """Serves until the process is ended."""
    http_port, grpc_port = map(int, arguments)
    uvloop.run(EchoManager().serve(http_port, grpc_port))


if __name__ == "__main__":
    main(sys.argv[1:])
