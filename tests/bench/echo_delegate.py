"""The floor's delegate: a bare grpc.aio client whose one stream answers each message with a reply of one size.

    python -m tests.bench.echo_delegate GRPC_PORT REPLY_BYTES

Nothing else is imported: its memory is the floor of a delegate's.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio

METHOD = "/floor.Echo/Connect"


async def answer(grpc_port: int, reply_bytes: int) -> None:
    """Until the other side ends the stream."""
    reply = bytes(reply_bytes)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        # The stubs ask for more than gRPC does, and lack its end mark.
        connect: Any = channel.stream_stream(METHOD)  # type: ignore[call-arg]
        call = connect()
        while await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
            await call.write(reply)


if __name__ == "__main__":
    asyncio.run(answer(int(sys.argv[1]), int(sys.argv[2])))
