"""Scripts on the delegate itself: a program of `delegate.scripts`, run with limits in a private or a given directory.

Promises: its group ends with it, at its time limit and with the task that awaits it; it is bounded in processor time, memory,
processes and the size of files, and writes no core file; its value has at most 10 MB. What it printed goes to the delegate's log
when it failed, masked, and nowhere else. Must not be taken for a sandbox: it runs as the delegate's user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil

from delegate.commands import Commands
from delegate.mask_patterns import MaskPatterns
from delegate.scripts import LARGEST_OUTPUT_BYTES, POWERSHELL, Absence, Program, check_end, handed_over, harvest
from delegate.tails import Tail
from shared.command import Command
from shared.crypto.plaintext import Plaintext
from shared.crypto.stream import STDOUT
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed, NotFound, PrivySealError

FILE_BYTES = 256 * 1024 * 1024
ADDRESS_BYTES = 16 * 1024 * 1024 * 1024
"""Generous: runtimes reserve more than they use. Not for PowerShell, whose runtime reserves hundreds of gigabytes."""

PROCESSES = 4_096
"""Of the delegate's user together, since the system counts so (setrlimit(2), RLIMIT_NPROC)."""

LINGER_SECONDS = 0.1

_LAUNCH = 'for one in $1; do ulimit "-${one%=*}" "${one#*=}"; done 2>/dev/null; shift; exec "$@"'
"""What a shell doesn't know or may not set stays as it is: the letter for processes is u or p."""


class LocalScripts:
    """Runs scripts by means of the delegate's commands."""

    def __init__(self, commands: Commands, mask_patterns: MaskPatterns | None = None) -> None:
        self._commands = commands
        self._mask_patterns = mask_patterns

    async def run(
        self,
        program: Program,
        known: Sequence[Plaintext],
        seconds: float,
        directory: str = "",
        *,
        is_read: bool = True,
        about: Mapping[str, str] | None = None,
    ) -> Plaintext | Absence:
        """What the script left in `secret`; `known` are the values that it was given.

        `is_read`: it is for its value, so that the absence of one is told in the log as a failure is. `about` goes there too:
        keys of `shared.logs`. Raises NotFound for a shell or directory that isn't there, Denied for one that may not be used,
        Malformed for a value that is too long, Expired at the time limit, Unavailable for a script that failed, Overloaded.
        """
        shell = self.shell(program.argv[0])
        launched = ("/bin/sh", "-c", _LAUNCH, "sh", _limits(program, seconds), shell, *program.argv[1:])
        output = _Output(self._mask_patterns)
        command = Command(argv=launched, directory=directory)
        end = await self._commands.launch(
            command,
            {},
            output.take,
            asyncio.Event(),
            seconds,
            stdin=program.stdin,
            linger_seconds=LINGER_SECONDS,
        )
        try:
            check_end(end.exit, end.signal, end.reason)
            found = harvest(output.written())
        except PrivySealError as error:
            await output.tail.tell(error.detail, known, handed_over(output.written()), about)
            raise
        if is_read and isinstance(found, Absence):
            await output.tail.tell(found.value, known, (), about)
        return found

    def shell(self, name: str) -> str:
        """The file of a shell. Raises NotFound, Denied."""
        try:
            return self._commands.program(name, "/")
        except NotFound:
            raise NotFound(
                "shell_missing", f"the delegate has no {name}, which the script is for", f"install {name} beside it"
            ) from None


class _Output:
    """What a script writes: its value, and the end of all else."""

    def __init__(self, mask_patterns: MaskPatterns | None) -> None:
        self._stdout = bytearray()
        self.tail = Tail(mask_patterns)

    async def take(self, stream: int, data: bytes) -> None:
        if stream != STDOUT:
            self.tail.feed(data)
            return
        self._stdout += data
        if len(self._stdout) > LARGEST_OUTPUT_BYTES:
            raise Malformed(
                "value_too_long",
                f"the script's value is longer than {LARGEST_VALUE_BYTES} bytes",
                "have it print the value alone into the variable secret",
            )

    def written(self) -> Plaintext:
        return Plaintext(bytes(self._stdout))


def _limits(program: Program, seconds: float) -> str:
    limits = {"c": 0, "t": ceil(seconds) + 1, "f": FILE_BYTES // 512, "u": PROCESSES, "p": PROCESSES}
    if program.argv[0] != POWERSHELL[0]:
        limits["v"] = ADDRESS_BYTES // 1024
    return " ".join(f"{letter}={limit}" for letter, limit in limits.items())
