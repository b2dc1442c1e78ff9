"""A whole installation of real processes with a network that breaks: a `FaultyLink` before the manager for each delegate and for clients.

    async with faulty_site(folder) as site:
        site.links["a"].hold(UP, DOWN)         # the path between the delegate `a` and the manager
        site.front.reset()                     # the one between clients and the manager
        await site.is_listed("a", "disconnected")

`site.client()` goes through `front`. The probes of `ready` don't: they are this machine's own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from client.dev import DevEnvironment
from client.program import Program, command
from client.sdk import Client
from tests.fakes.faulty_link import FaultyLink

PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.02


class FaultySite(DevEnvironment):
    """Its programs dial the links."""

    def __init__(
        self,
        folder: Path,
        front: FaultyLink,
        links: Mapping[str, FaultyLink],
        manager_options: Sequence[str],
        delegate_options: Sequence[str],
        database: str = "",
        *,
        stepped: bool = False,
    ) -> None:
        self._stepped = stepped
        self.front = front
        self.links = dict(links)
        self._database = database
        own = {name: ["--manager", link.url] for name, link in links.items()}
        origins = ",".join(link.url for link in links.values())
        super().__init__(
            folder,
            delegates=len(links),
            manager_options=["--url", front.url, *(["--delegate-url", origins] if origins else []), *manager_options],
            delegate_options={"*": delegate_options, **own},
        )
        front.target = ("127.0.0.1", self._layout.http)
        for link in links.values():
            link.target = ("127.0.0.1", self._layout.grpc)

    @property
    def url(self) -> str:
        return self.front.url

    @property
    def dialled(self) -> str:
        """Where delegates would dial without a link between."""
        return f"127.0.0.1:{self._layout.grpc}"

    def step(self, name: str, seconds: int) -> None:
        """Sets the wall clock of `manager`, or of a delegate, so far ahead of this machine's (behind: negative)."""
        written = self._clock(name).with_suffix(".new")
        written.write_text(str(seconds))
        written.replace(self._clock(name))

    def _clock(self, name: str) -> Path:
        return self.folder / f"clock-{name}"

    def _manager(self) -> Program:
        program = super()._manager()
        return self._with_clock(program, "manager", command("privyseal-manager", "manager.main"), "manager.main")

    def _delegate(self, at: int, name: str) -> Program:
        program = super()._delegate(at, name)
        return self._with_clock(program, name, command("privyseal-delegate", "delegate.main"), "delegate.main")

    def _with_clock(self, program: Program, name: str, usual: Sequence[str], module: str) -> Program:
        if self._stepped:
            entry = [sys.executable, "-m", "tests.fakes.stepped", str(self._clock(name)), module]
            program.argv[: len(usual)] = entry
        return program

    def _database_url(self) -> str:
        return self._database or super()._database_url()

    def mend(self) -> None:
        """No network has a fault any more."""
        for link in (self.front, *self.links.values()):
            link.mend()

    async def whole(self) -> None:
        """Every program runs, is ready, and reaches the others."""
        self.mend()
        await self.manager.start()
        await asyncio.gather(*(one.start() for one in self.delegates.values()))
        await self.ready()

    async def is_listed(self, name: str, state: str) -> None:
        """Waits until the manager lists that delegate so."""
        async with asyncio.timeout(PATIENCE_SECONDS), self.client() as client:
            while (name, state) not in [(one["name"], one["state"]) for one in await client.views.delegates()]:
                await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def faulty_site(
    folder: Path,
    *,
    delegates: int = 2,
    manager_options: Sequence[str] = (),
    delegate_options: Sequence[str] = (),
    database: str = "",
    stepped: bool = False,
) -> AsyncIterator[FaultySite]:
    """The installation, ready; with `database` as its URL where that isn't SQLite in the folder.

    `stepped`: its programs' wall clocks can be set (`tests.fakes.stepped`); their PYTHONPATH must have this repository.
    """
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(FaultyLink())
        links = {name: await stack.enter_async_context(FaultyLink()) for name in "abcdefgh"[:delegates]}
        site = FaultySite(folder, front, links, manager_options, delegate_options, database, stepped=stepped)
        await stack.enter_async_context(site)
        # What was broken to the end mustn't hold up the ending.
        stack.callback(site.mend)
        yield site


def said(program: Program, event: str, since: float = 0.0) -> list[dict[str, Any]]:
    """The program's log lines of that event, after that moment (seconds since 1970), each with its own as `moment`."""
    lines = []
    for text in program.log.read_text("utf-8", "replace").splitlines():
        if f'"{event}"' in text and text.startswith("{"):
            line = json.loads(text)
            line["moment"] = datetime.fromisoformat(line["timestamp"]).timestamp()
            if line["event"] == event and line["moment"] >= since:
                lines.append(line)
    return lines


async def is_said(program: Program, event: str, since: float = 0.0, **facts: Any) -> dict[str, Any]:
    """Waits for the first line of that event after that moment, with these facts in it."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = [one for one in said(program, event, since) if facts.items() <= one.items()]
        if found:
            return found[0]
        assert time.monotonic() < until, f"{program.name} never said {event}: {program.last_lines()}"
        await asyncio.sleep(POLL_SECONDS)


async def has_ended(client: Client, tasks: int = 1_000) -> list[dict[str, Any]]:
    """All tasks as the manager lists them, once none is under way."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = await client.views.tasks(tasks)
        open_ones = [one for one in listed if not one["finished_at"]]
        if not open_ones:
            return listed
        assert time.monotonic() < until, f"tasks without an end: {open_ones}"
        await asyncio.sleep(POLL_SECONDS)
