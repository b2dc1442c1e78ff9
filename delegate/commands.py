"""Commands: one program run with secrets in its environment, its output handed on as it comes, nothing of it left over.

Promises: it gets a minimal environment, none of the delegate's own variables, files or input; its whole process group ends
with it, at its time limit, and when it is told to stop (SIGTERM, five seconds, SIGKILL); an unread output makes it wait; a
process that it leaves behind doesn't hold it up. No core file holds its environment (`delegate.shelter`, inherited). Must
not be taken for a sandbox: it runs as the delegate's user, and what starts a session of its own escapes its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog

from delegate.leftovers import remove
from delegate.masking import Mask, Patterns
from delegate.processes import Pipe, Process, not_executable
from shared.command import Command
from shared.crypto.plaintext import Plaintext
from shared.crypto.stream import STDERR, STDOUT
from shared.errors import Denied, Malformed, NotFound, Unavailable

TERM_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""

LINGER_SECONDS = 1.0
"""What a process in the group may still write after the command itself has ended."""

MOST_BYTES = 8 * 1024 * 1024
"""What is handed on of both outputs together, masked. The command goes on: half a deployment is worse than half a log."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SMALL_BYTES = 1024
_HASTY = 64
"""Small pieces that are handed on at once; more of them are gathered for a moment, as each costs a message."""

_PAUSE_SECONDS = 0.01
_LEFT_BYTES = 1024 * 1024
"""What a pipe holds at most."""

_SILENT_SECONDS = 0.1

Write = Callable[[int, bytes], Awaitable[None]]
"""Takes a piece of output: stream (1 or 2) and bytes. It may wait; what it raises ends the command."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit status, or the signal that ended it."""

    exit: int | None
    signal: int | None
    truncated: bool
    reason: Literal["exited", "timed_out", "cancelled"]


class Commands:
    """Runs commands; `environ` is the delegate's own, of which they get PATH and LANG."""

    def __init__(self, environ: Mapping[str, str], term_seconds: float = TERM_SECONDS) -> None:
        self._path = environ.get("PATH") or DEFAULT_PATH
        self._language = environ.get("LANG") or "C.UTF-8"
        self._term_seconds = term_seconds

    async def run(
        self,
        command: Command,
        values: Sequence[Plaintext],
        patterns: Patterns,
        seconds: float,
        write: Write,
        stop: asyncio.Event,
    ) -> Ended:
        """Run it to its end, for at most `seconds`; `values` come in the variables `command.names`.

        Raises Malformed for what can't be run so, NotFound and Denied for a program or directory that can't be used,
        Overloaded, Unavailable, and what `write` raises.
        """
        try:
            home = tempfile.mkdtemp(prefix="privyseal-exec-")
        except OSError:
            raise Unavailable(
                "directory_unwritable",
                "the delegate has no writable place for a command's private directory",
                "give it one: mount a tmpfs at /tmp, or set TMPDIR",
            ) from None
        try:
            directory = command.directory or home
            process = Process.start(
                self._program(command, directory), command.argv, directory, self._environment(command, values, home)
            )
            return await _Run(process, patterns, write, stop, self._term_seconds).until_end(seconds)
        finally:
            await asyncio.to_thread(_remove, home)

    def _environment(self, command: Command, values: Sequence[Plaintext], home: str) -> dict[bytes, bytes]:
        texts = {"PATH": self._path, "LANG": self._language, "HOME": home, "TMPDIR": home, **command.env}
        environment = {name.encode(): text.encode("utf-8", "surrogateescape") for name, text in texts.items()}
        for name, value in zip(command.names, values, strict=True):
            raw = value.reveal()
            if b"\0" in raw:
                raise Malformed(
                    "value_unfit",
                    f"the value for {name} has a null byte, which no variable can hold",
                    "store it as base64 and have the command decode it",
                )
            environment[name.encode()] = raw
        return environment

    def _program(self, command: Command, directory: str) -> str:
        """The file to run."""
        if not _is_there(Path(directory).is_dir):
            raise NotFound("directory_missing", "the command's directory isn't there on the delegate", "choose another")
        if not os.access(directory, os.X_OK):
            raise Denied("directory_denied", "the delegate may not enter the command's directory", "choose another")
        name = command.argv[0]
        if "/" in name:
            candidates = [Path(directory, name)]
        else:
            candidates = [Path(one, name) for one in self._path.split(":") if one.startswith("/")]
        files = [one for one in candidates if _is_there(one.is_file)]
        for file in files:
            if os.access(file, os.X_OK):
                return str(file)
        if files:
            raise not_executable()
        raise NotFound(
            "program_missing", "the command's program isn't there on the delegate", "install it there, or give its path"
        )


class _Run:
    """One process from its start to its end."""

    def __init__(
        self, process: Process, patterns: Patterns, write: Write, stop: asyncio.Event, term_seconds: float
    ) -> None:
        self._process = process
        self._patterns = patterns
        self._write = write
        self._stop = stop
        self._term_seconds = term_seconds
        self._left = MOST_BYTES
        self._truncated = False
        self._swept = asyncio.Event()

    async def until_end(self, seconds: float) -> Ended:
        """(1) Until it exits, its time is over or it has to stop; (2) what belongs to it ends; (3) the rest of its output."""
        exited = self._process.watch()
        pumps: set[asyncio.Future[Any]] = set()
        try:
            for number, pipe in zip((STDOUT, STDERR), self._process.outputs, strict=True):
                pumps.add(asyncio.create_task(self._pump(number, pipe)))
            reason = await self._wait(exited, pumps, seconds)
            if reason == "exited":
                await asyncio.wait(pumps, timeout=LINGER_SECONDS)
            if reason != "exited" or not all(pump.done() for pump in pumps):
                self._process.signal(signal.SIGTERM)
                await asyncio.wait({exited, *pumps}, timeout=self._term_seconds)
            self._process.signal(signal.SIGKILL)
            await asyncio.wait({exited}, timeout=self._term_seconds)
            if not exited.done():
                raise Unavailable(
                    "command_stuck", "the command doesn't end although it was killed", "look for what it waits for"
                )
            self._swept.set()
            await self._hand_over(pumps)
        finally:
            self._process.signal(signal.SIGKILL)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await asyncio.wait({exited}, timeout=self._term_seconds)
            self._process.close(exited.done())
        status = exited.result()
        return Ended(status if status >= 0 else None, -status if status < 0 else None, self._truncated, reason)

    async def _wait(
        self, exited: asyncio.Future[int], pumps: set[asyncio.Future[Any]], seconds: float
    ) -> Literal["exited", "timed_out", "cancelled"]:
        """Why it ends. Where nobody takes its output any more, that is as if it were told to stop."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        stopped = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Future[Any]] = {exited, stopped, *pumps}
        try:
            while True:
                done, waiting = await asyncio.wait(
                    waiting, timeout=until - clock(), return_when=asyncio.FIRST_COMPLETED
                )
                if exited in done:
                    return "exited"
                if stopped in done or any(one.exception() is not None for one in done):
                    return "cancelled"
                if not done:
                    return "timed_out"
        finally:
            stopped.cancel()

    async def _hand_over(self, pumps: set[asyncio.Future[Any]]) -> None:
        """The rest of its output, for as long as it takes unless it was told to stop."""
        rest = asyncio.ensure_future(asyncio.wait(pumps))
        stopped = asyncio.create_task(self._stop.wait())
        either: set[asyncio.Future[Any]] = {rest, stopped}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not rest.done():
                await asyncio.wait({rest}, timeout=self._term_seconds)
            if not rest.done():
                raise Unavailable(
                    "output_stuck", "nobody takes the rest of the command's output", "look at the manager"
                )
        finally:
            rest.cancel()
            stopped.cancel()
        for pump in pumps:
            pump.result()

    async def _pump(self, number: int, pipe: Pipe) -> None:
        mask, small = Mask(self._patterns), 0
        after = 0
        while after < _LEFT_BYTES and (data := await self._read(pipe)):
            if self._swept.is_set():
                # Only what left the group can still be writing.
                after += len(data)
            if self._left:
                await self._pass(number, mask.feed(data))
            else:
                self._truncated = True
            small = small + 1 if len(data) < _SMALL_BYTES else 0
            if small > _HASTY or self._truncated:
                await asyncio.sleep(_PAUSE_SECONDS / 10 if self._truncated else _PAUSE_SECONDS)
        await self._pass(number, mask.flush())

    async def _read(self, pipe: Pipe) -> bytes:
        """What has come; nothing at the end, and when all that could write is gone and has left nothing."""
        reading = asyncio.create_task(pipe.read())
        swept = asyncio.create_task(self._swept.wait())
        try:
            await asyncio.wait({reading, swept}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_SILENT_SECONDS)
            return reading.result() if reading.done() else b""
        finally:
            reading.cancel()
            swept.cancel()
            # It must have let go of the pipe before that is closed.
            await asyncio.gather(reading, swept, return_exceptions=True)

    async def _pass(self, number: int, data: bytes) -> None:
        data, rest = data[: self._left], len(data) > self._left
        self._truncated = self._truncated or rest
        self._left -= len(data)
        if data:
            await self._write(number, data)


def _is_there(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:
        return False


def _remove(home: str) -> None:
    try:
        remove(home)
    except OSError:
        _log.warning("command.remains", path=home, hint="remove it by hand")
