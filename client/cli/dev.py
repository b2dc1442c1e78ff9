"""`privyseal dev`: a manager and delegates on this machine until Ctrl-C. Not for production, and it says so."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client.cli.session import Leaf, Session, session

if TYPE_CHECKING:
    from client.dev import DevEnvironment


@click.command(cls=Leaf)
@click.option("--dir", "folder", metavar="DIR", help="keep everything there and use it again [a temporary folder]")
@click.option("--delegates", type=click.IntRange(1, 8), default=2, show_default=True, metavar="N")
@click.option("--name", default="dev", show_default=True, metavar="NAME", help="what to call the context")
@click.pass_context
def dev(context: click.Context, folder: str | None, delegates: int, name: str) -> None:
    """Start a manager and delegates with the selectors zone:a, zone:b, ... and an account to try things out.

    NOT FOR PRODUCTION: the root key lies beside the data, and everything is on this machine.
    """
    run = session(context)
    path = Path(folder).expanduser() if folder else None
    asyncio.run(_serve(run, path, delegates, name))


async def _serve(run: Session, folder: Path | None, delegates: int, name: str) -> None:
    from client.dev import DevEnvironment

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    run.out.note("NOT FOR PRODUCTION: the root key lies beside the data. Starting ...")
    environment = DevEnvironment(folder, delegates=delegates, name=name, home=run.folder())
    starting = asyncio.create_task(environment.start())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return
        await starting
        _report(run, environment)
        await _watch(run, environment, stopped)
    finally:
        starting.cancel()
        stopped.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        run.out.note("stopping ...")
        await environment.stop()


async def _watch(run: Session, environment: DevEnvironment, stopped: asyncio.Task[bool]) -> None:
    """Until Ctrl-C; a program that ends by itself is told, the others go on."""
    programs = [environment.manager, *environment.delegates.values()]
    ends = {asyncio.create_task(one.ended(), name=one.name): one for one in programs}
    waiting: set[asyncio.Task[int] | asyncio.Task[bool]] = {*ends, stopped}
    try:
        while not stopped.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task, one in ends.items():
                if task in done and not stopped.done():
                    run.out.warning(f"{one.name} ended by itself (status {task.result()}): see {one.log}")
    finally:
        for task in ends:
            task.cancel()


def _report(run: Session, environment: DevEnvironment) -> None:
    facts = {
        "context": environment.name,
        "manager": environment.url,
        "account": environment.account,
        "folder": str(environment.folder),
        "root_key": str(environment.root_key),
        "keyring": str(environment.keyring),
        "delegates": {name: {"selectors": [f"zone:{name}"]} for name in environment.delegates},
        "logs": [str(path) for path in environment.logs],
    }
    zones = ", ".join(f"zone:{name}" for name in environment.delegates)
    run.out.done(
        f"Ready: a manager at {environment.url} and delegates with {zones}.\n"
        f"Data, keys and logs: {environment.folder}{' (removed at the end)' if environment.is_temporary else ''}\n\n"
        "In another terminal:\n\n"
        f"  export PRIVYSEAL_CONTEXT={environment.name}\n"
        "  echo -n 'correct horse' | privyseal secret set account.token --from-stdin\n"
        "  privyseal reveal account.token --delegate zone:a\n"
        "  privyseal delegate list\n"
        "  privyseal audit verify\n"
        "  privyseal doctor\n\n"
        "Ctrl-C stops everything.",
        **facts,
    )
    sys.stdout.flush()
