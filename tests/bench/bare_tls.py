"""The floor of the manager's memory: a grpc.aio server over TLS whose streams do nothing.

    python -m tests.bench.bare_tls PORT CERTIFICATE KEY

The manager's event loop and its gRPC settings; for each stream 32 bytes go out, and then it only waits for more.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from manager.daemon import _GRPC_OPTIONS
from shared.wire import delegate_pb2, delegate_pb2_grpc


class Bare(delegate_pb2_grpc.DelegatesServicer):
    """Streams without a purpose."""

    async def Connect(  # noqa: N802 (the name is gRPC's)
        self, request_iterator: AsyncIterator[delegate_pb2.FromDelegate], context: Any
    ) -> None:
        """Sends the nonce, reads whatever comes."""
        await context.write(delegate_pb2.FromManager(challenge=delegate_pb2.Challenge(nonce=os.urandom(32))))
        while await context.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
            pass


async def serve(port: int, certificate: Path, key: Path) -> None:
    """Until the process is ended."""
    server = grpc.aio.server(options=_GRPC_OPTIONS)
    delegate_pb2_grpc.add_DelegatesServicer_to_server(Bare(), server)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
