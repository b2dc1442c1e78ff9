"""The command line as a user runs it: a process of its own, in the context of an environment."""

from __future__ import annotations

import asyncio
import os

from client.dev import DevEnvironment
from client.program import clean_environment, command


async def privyseal(environment: DevEnvironment, *arguments: str, given: str = "") -> tuple[int, str, str]:
    """Its exit status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *command("privyseal", "client.cli"),
        *("--context", environment.name),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean_environment(os.environ), "PRIVYSEAL_HOME": str(environment.home.root)},
    )
    out, errors = await process.communicate(given.encode())
    return process.returncode or 0, out.decode(), errors.decode()
