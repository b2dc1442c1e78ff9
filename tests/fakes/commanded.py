"""Programs whose delegates run commands: their owner's policy file allows it.

async with commanded(folder, VALUE, silence="3s") as running:      # `account.token` has that value
    ...
    await whole(running)                                           # after a test that ended some of its programs
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from client.dev import DevEnvironment


def allowing(folder: Path) -> list[str]:
    """The options of a delegate whose policy file, in that folder, allows commands."""
    policy = folder / "policy.toml"
    policy.write_text("exec = true\n")
    return ["--policy-file", str(policy)]


@asynccontextmanager
async def commanded(folder: Path, value: bytes, *, silence: str) -> AsyncIterator[DevEnvironment]:
    """A manager that notices after so long that a delegate says nothing, and two of them."""
    options = ["--silence", silence, "--heartbeat", "500ms"]
    async with DevEnvironment(
        folder / "dev", manager_options=options, delegate_options={"*": allowing(folder)}
    ) as running:
        async with running.client() as client:
            await client.store("account.token", value)
        yield running


async def whole(running: DevEnvironment) -> DevEnvironment:
    """The same, once all of its programs run and know of each other."""
    await running.manager.start()
    await asyncio.gather(*(one.start() for one in running.delegates.values()))
    await running.ready()
    return running
