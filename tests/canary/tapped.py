"""A whole installation of real processes with a wiretap in front of each of the manager's ports."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from client.dev import DevEnvironment
from client.ports import HeldPorts
from client.program import clean_environment, command
from tests.canary.wiretap import Wiretap


class TappedEnvironment(DevEnvironment):
    """As `DevEnvironment`; clients and delegates go through the wiretaps `http` and `grpc`, and know no other way."""

    def __init__(self, folder: Path, **arguments: Any) -> None:
        self._tapped_ports = HeldPorts()
        self._tapped_http, self._tapped_grpc = self._tapped_ports.take(2)
        options: Sequence[str] = arguments.pop("manager_options", ())
        super().__init__(
            folder,
            manager_options=[*options, "--url", self.url, "--delegate-url", self.delegate_url],
            **arguments,
        )
        self.http = Wiretap(self._tapped_http, self._layout.http)
        self.grpc = Wiretap(self._tapped_grpc, self._layout.grpc)
        self._taps = AsyncExitStack()
        self.said: list[tuple[tuple[str, ...], str]] = []
        """What each command said on standard error, and on standard output unless that was the value."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._tapped_http}"

    @property
    def delegate_url(self) -> str:
        return f"http://127.0.0.1:{self._tapped_grpc}"

    async def start(self) -> None:
        await self._taps.enter_async_context(self.http)
        await self._taps.enter_async_context(self.grpc)
        await super().start()

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            await self._taps.aclose()
            self._tapped_ports.let_go()

    async def privyseal(
        self, *arguments: str, given: bytes | None = None, status: int = 0, gives_value: bool = False
    ) -> bytes:
        """The command line as a process of its own; fails unless it ends with `status`."""
        process = await asyncio.create_subprocess_exec(
            *command("privyseal", "client.cli.main"),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                **clean_environment(os.environ),
                "PRIVYSEAL_HOME": str(self.home.root),
                "PRIVYSEAL_CONTEXT": self.name,
            },
        )
        out, errors = await process.communicate(given)
        assert process.returncode == status, f"{arguments[:2]} ended with {process.returncode}: {errors[:500]!r}"
        shown = b"" if gives_value else out
        self.said.append((arguments, (shown + errors).decode("utf-8", "replace")))
        return out

    def records(self) -> list[bytes]:
        """Every record in the manager's database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return [bytes(row[0]) for row in database.execute("SELECT record FROM versions WHERE record IS NOT NULL")]

    def holdings(self) -> list[Path]:
        """Everything that the manager wrote: database, journal, audit heads, lock, log."""
        return [self.manager.log, *sorted(self.folder.glob("manager*"))]

    def sayings(self) -> Iterator[bytes]:
        """All that commands printed so far, as a surface."""
        yield from (said.encode() for _, said in self.said)
