"""Commands: one program run with secrets in its environment, its output handed on as it comes, nothing of it left over.

Promises: it gets a minimal environment, none of the delegate's own variables, files or input; its whole process group ends
with it, at its time limit, and when it is told to stop (SIGTERM, five seconds, SIGKILL); an unread output makes it wait; a
process that it leaves behind doesn't hold it up. No core file holds its environment (`delegate.shelter`, inherited). Must
not be taken for a sandbox: it runs as the delegate's user, and what starts a session of its own escapes its end.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from delegate.leftovers import remove
from delegate.masking import Mask, Patterns
from delegate.processes import Process, not_executable
from delegate.runs import LINGER_SECONDS, TERM_SECONDS, End, Run, Take
from shared.command import Command
from shared.crypto.plaintext import Plaintext
from shared.crypto.stream import STDERR, STDOUT
from shared.errors import Denied, Malformed, NotFound, Unavailable

MOST_BYTES = 8 * 1024 * 1024
"""What is handed on of both outputs together, masked. The command goes on: half a deployment is worse than half a log."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SMALL_BYTES = 1024
_HASTY = 64
"""Small pieces that are handed on at once; more of them are gathered for a moment, as each costs a message."""

_PAUSE_SECONDS = 0.01

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
        masked = _Masked(patterns, write)
        end = await self.launch(command, _texts(command, values), masked.take, stop, seconds)
        return Ended(end.exit, end.signal, masked.truncated, end.reason)

    async def launch(
        self,
        command: Command,
        variables: Mapping[str, bytes],
        take: Take,
        stop: asyncio.Event,
        seconds: float,
        *,
        stdin: bytes | None = None,
        linger_seconds: float = LINGER_SECONDS,
    ) -> End:
        """Run it so, its output taken as it is; `stdin` is its input, none where it has none.

        Raises what `run` does, but nothing about values.
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
            program = self.program(command.argv[0], directory)
            process = Process.start(
                program, command.argv, directory, self._environment(variables, home), stdin is not None
            )
            run = Run(
                process, take, stop, stdin=stdin or b"", term_seconds=self._term_seconds, linger_seconds=linger_seconds
            )
            return await run.until_end(seconds)
        finally:
            await asyncio.to_thread(_remove, home)

    def _environment(self, variables: Mapping[str, bytes], home: str) -> dict[bytes, bytes]:
        texts = {"PATH": self._path, "LANG": self._language, "HOME": home, "TMPDIR": home}
        ours = {name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()}
        return {name.encode(): raw for name, raw in (ours | dict(variables)).items()}

    def program(self, name: str, directory: str) -> str:
        """The file that a program's name means in `directory`. Raises NotFound, Denied."""
        if not _is_there(Path(directory).is_dir):
            raise NotFound("directory_missing", "the command's directory isn't there on the delegate", "choose another")
        if not os.access(directory, os.X_OK):
            raise Denied("directory_denied", "the delegate may not enter the command's directory", "choose another")
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


class _Masked:
    """The output of a command on its way out."""

    def __init__(self, patterns: Patterns, write: Write) -> None:
        self._write = write
        self._masks = {number: Mask(patterns) for number in (STDOUT, STDERR)}
        self._small = dict.fromkeys(self._masks, 0)
        self._left = MOST_BYTES
        self.truncated = False

    async def take(self, number: int, data: bytes) -> None:
        mask = self._masks[number]
        if not data:
            await self._pass(number, mask.flush())
            return
        if self._left:
            await self._pass(number, mask.feed(data))
        else:
            self.truncated = True
        self._small[number] = self._small[number] + 1 if len(data) < _SMALL_BYTES else 0
        if self._small[number] > _HASTY or self.truncated:
            await asyncio.sleep(_PAUSE_SECONDS / 10 if self.truncated else _PAUSE_SECONDS)

    async def _pass(self, number: int, data: bytes) -> None:
        data, rest = data[: self._left], len(data) > self._left
        self.truncated = self.truncated or rest
        self._left -= len(data)
        if data:
            await self._write(number, data)


def _texts(command: Command, values: Sequence[Plaintext]) -> dict[str, bytes]:
    """All variables of a command."""
    variables = {name: text.encode("utf-8", "surrogateescape") for name, text in command.env.items()}
    for name, value in zip(command.names, values, strict=True):
        raw = value.reveal()
        if b"\0" in raw:
            raise Malformed(
                "value_unfit",
                f"the value for {name} has a null byte, which no variable can hold",
                "store it as base64 and have the command decode it",
            )
        variables[name] = raw
    return variables


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
