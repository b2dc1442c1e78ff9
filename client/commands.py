"""Commands: run on a delegate with secrets in their environment, their output opened here as it comes.

Promises: the manager learns neither the command nor its output; nothing is shown that the chosen delegate didn't vouch for,
in its order; an output that was cut is an error, whatever the command's exit. A command is sent once: what became of a lost
one is unknown. Must not keep a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from client.account import Account
from client.candidates import Candidate, candidate
from client.directory import Directory
from client.dispatch import output, perform, submit
from client.meanings import NOTHING, Meaning, meaning
from client.outcomes import Opened
from client.readers import Readers
from client.relayed import Part
from client.run_outputs import opener_of
from client.sources import Source, sources_of
from client.tasks import SignedTask, connectors_in_use, sign_task
from shared.command import Command, Finished, finished_from
from shared.crypto.stream import OutputOpener
from shared.documents.usage import TaskUsage
from shared.errors import Malformed, NotFound, PrivySealError, Tampered
from shared.names import Reference, Scope

DEFAULT_SECONDS = 600
START_SECONDS = 120
"""How long a command may wait for its start."""

END_SECONDS = 30
"""How long its last output may take after its end."""

POLL_SECONDS = 20
_BEFORE_SECONDS = 0.1

Write = Callable[[int, bytes], None]
"""Takes what the command wrote: 1 for standard output or 2 for standard error, and the bytes."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended, and the delegate on which it ran."""

    finished: Finished
    delegate: str
    name: str


class Commands:
    """One account's. `here` is where bare names live."""

    def __init__(self, account: Account, directory: Directory, readers: Readers, here: Scope) -> None:
        self._account = account
        self._directory = directory
        self._readers = readers
        self.here = here

    async def run(
        self,
        argv: Sequence[str],
        secrets: Mapping[str, str],
        write: Write,
        *,
        env: Mapping[str, str] | None = None,
        directory: str = "",
        seconds: int = DEFAULT_SECONDS,
        selectors: Sequence[str] = (),
        usage: TaskUsage | None = None,
        variables: Mapping[str, str] = NOTHING,
    ) -> Ran:
        """Runs `argv` on one delegate that allows it; `secrets` are references (`client.meanings`) by the variable that each
        comes in, `variables` those of their expressions. `usage` is what it is for.

        Raises Malformed for what can't be run so, NotReady when no delegate takes it, Denied, Tampered for an output that
        isn't the delegate's, Unavailable (`outcome_unknown`) when the delegate was lost.
        """
        if not secrets:
            raise Malformed("command_without_secret", "the command uses no secret", "name one: --secret NAME=REFERENCE")
        command = Command(argv=tuple(argv), names=tuple(secrets), env=dict(env or {}), directory=directory)
        command.check()
        places = [meaning(text, self.here, variables) for text in secrets.values()]
        await self._account.sync()
        sources = await self._sources(places)
        chosen = await self._candidate(sources, selectors)

        def make() -> SignedTask:
            subjects = [one.subject(self._directory) for one in sources]
            return sign_task(
                self._account.book,
                self._account.identity,
                "exec",
                subjects,
                self._readers.take(),
                self._account.clock(),
                command=command,
                seconds=seconds,
                selectors=selectors,
                to=chosen.thumbprint,
                credentials=self._directory.credentials(one.connector for one in subjects),
                usage=usage,
            )

        async def run(account: Account, task: SignedTask, wait_seconds: float) -> Opened:
            return await _Run(account, task, chosen, write).run(wait_seconds)

        _, opened = await perform(
            self._account, make, self._directory.learn, START_SECONDS + seconds + END_SECONDS, run=run
        )
        (item,) = opened.items
        if isinstance(item, PrivySealError):
            raise item
        return Ran(finished_from(item.reveal()), opened.delegate, opened.name)

    async def _sources(self, places: Sequence[Meaning]) -> list[Source]:
        stored = [one for one in places if isinstance(one, Reference)]
        found = await self._directory.find(stored, fresh=True)
        sources = []
        for one in await sources_of(self._directory, places, dict(zip(stored, found, strict=True))):
            if isinstance(one, PrivySealError):
                raise one
            sources.append(one)
        return sources

    async def _candidate(self, sources: Sequence[Source], selectors: Sequence[str]) -> Candidate:
        used = [one.connector for one in sources]
        used += connectors_in_use(self._directory.credentials(used))
        return await candidate(self._account, used, sources[0].scope, selectors, runs_commands=True)


class _Run:
    """One signed task under way: its outcome and its output are waited for side by side."""

    def __init__(self, account: Account, task: SignedTask, chosen: Candidate, write: Write) -> None:
        self._account = account
        self._task = task
        self._chosen = chosen
        self._write = write
        self._next = 0
        self._opener: OutputOpener | None = None
        self._is_whole = False

    async def run(self, wait_seconds: float) -> Opened:
        submitting = asyncio.create_task(submit(self._account, self._task, wait_seconds))
        following = asyncio.create_task(self._follow(submitting))
        try:
            await asyncio.wait({submitting, following}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            # Only this one's end is sure to come: a manager may never end an output.
            opened = await submitting
            (item,) = opened.items
            if isinstance(item, PrivySealError):
                return opened
            async with asyncio.timeout(END_SECONDS):
                await following
            if not self._is_whole or self._next != finished_from(item.reveal()).chunks:
                raise _cut()
            return opened
        except TimeoutError:
            raise _cut() from None
        except (asyncio.CancelledError, PrivySealError):
            if not submitting.done():
                # Nobody will read on: the command had better end.
                with suppress(PrivySealError):
                    await asyncio.shield(self._account.ask("DELETE", f"tasks/{self._task.digest}"))
            raise
        finally:
            for one in (submitting, following):
                one.cancel()
            await asyncio.gather(submitting, following, return_exceptions=True)

    async def _follow(self, submitting: asyncio.Task[Opened]) -> None:
        """Shows what comes, in order, until the last chunk."""
        while not self._is_whole:
            ended = submitting.done()
            try:
                parts, over = await output(self._account, self._task, self._next, POLL_SECONDS)
            except NotFound:
                if ended:
                    return
                await asyncio.sleep(_BEFORE_SECONDS)
                continue
            for part in parts:
                if part.index != self._next:
                    raise _cut()
                self._take(part)
            if over:
                return
            if not parts:
                # A manager that never waits keeps nobody busy.
                await asyncio.sleep(_BEFORE_SECONDS)

    def _take(self, chunk: Part) -> None:
        self._next += 1
        if self._opener is None:
            self._opener = opener_of(chunk, self._task, self._chosen.key)
            return
        stream, data, self._is_whole = self._opener.open(chunk.data)
        if not self._is_whole:
            self._write(stream, data)


def _cut() -> Tampered:
    return Tampered(
        "output_cut",
        "a part of the command's output didn't arrive, or not in order",
        "the command has run all the same: look at what it changed before you run it again",
    )
