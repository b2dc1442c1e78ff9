"""One program on a host over SSH: started, given its input, listened to within bounds, and seen to its end.

Promises: its input goes out once the host has told that this very program is started; what it writes beyond its bounds is dropped
and ends it; at its time limit and when this is cancelled its process group is told to end (SIGTERM, five seconds, SIGKILL). Must not
keep what the login itself printed.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from signal import Signals
from typing import Literal

import asyncssh

from delegate.ssh import MOST_ERRORS, Ran
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, NotFound, PrivySealError, Unavailable

TERM_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""

KILL_SECONDS = 2.0
LINGER_SECONDS = 1.0
"""How long a process that it left behind may hold its output open after it has ended."""

MOST_NOISE = 64 * 1024
"""What a login may print before the program starts."""

MOST_TALK = 64 * 1024 * 1024
"""What a program may write to its standard error, of which the end is kept."""

_STARTED = re.compile(rb"\nprivyseal-started (?P<pid>[1-9][0-9]{0,9}) (?P<state>ready|directory|program)\n")


_NUMBERS = {one.name.removeprefix("SIG"): one.value for one in Signals}
"""Of signals, by the names that SSH gives them (RFC 4254, 6.10)."""


class Session(asyncssh.SSHClientSession[bytes]):
    """What comes from one program. `changed` is set whenever there is something new to look at."""

    def __init__(self, most: int) -> None:
        self.changed = asyncio.Event()
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.state, self.pid = "", 0
        self.exit: int | None = None
        self.signal: int | None = None
        self.ended = self.closed = self.flooded = self.truncated = False
        self.stdout, self.stderr = bytearray(), bytearray()
        self._most = most
        self._talk = 0

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            self._talk += len(data)
            self.stderr += data
            if len(self.stderr) > 2 * MOST_ERRORS:
                del self.stderr[:-MOST_ERRORS]
            self._flood(self._talk > MOST_TALK)
            return
        self.stdout += data
        if not self.state:
            self._look_for_start()
        if self.state:
            self.truncated = self.truncated or len(self.stdout) > self._most
            self._flood(self.truncated)
            del self.stdout[self._most :]
        else:
            self._flood(len(self.stdout) > MOST_NOISE)

    def exit_status_received(self, status: int) -> None:
        self.exit, self.ended = status, True
        self.changed.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.signal, self.ended = _NUMBERS.get(signal), True
        self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for that, or until nothing more can come."""
        while not (reached() or self.closed):
            self.changed.clear()
            await self.changed.wait()

    def _look_for_start(self) -> None:
        if (found := _STARTED.search(self.stdout)) is not None:
            self.pid, self.state = int(found["pid"]), found["state"].decode()
            del self.stdout[: found.end()]
            # What shells print at a login isn't the program's.
            self.stderr.clear()
            self.changed.set()

    def _flood(self, too_much: bool) -> None:
        if too_much and not self.flooded:
            self.flooded = True
            self.changed.set()


async def run(
    connection: asyncssh.SSHClientConnection, line: str, stdin: bytes, seconds: float, most: int, host: str
) -> Ran:
    """Run that command line with that input. Raises as `SshTarget.run` says."""
    session = Session(most)
    reason: Literal["exited", "timed_out", "cancelled"] = "exited"
    try:
        try:
            async with asyncio.timeout(seconds):
                await _converse(connection, session, line, stdin, host)
        except TimeoutError:
            if session.state != "ready":
                raise _not_started(host, seconds) from None
            reason = "timed_out"
        if session.flooded and reason == "exited":
            reason = "cancelled"
        if not session.ended:
            await _end(connection, session, TERM_SECONDS)
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_SECONDS):
                await _end(connection, session, KILL_SECONDS / 2)
        raise
    if reason == "exited" and not session.ended:
        raise _lost(host)
    stdout, stderr = Plaintext(bytes(session.stdout)), Plaintext(bytes(session.stderr[-MOST_ERRORS:]))
    return Ran(stdout, stderr, session.exit, session.signal, session.truncated, reason)


async def _converse(
    connection: asyncssh.SSHClientConnection, session: Session, line: str, stdin: bytes, host: str
) -> None:
    """(1) The program starts; (2) it gets its input; (3) it ends, or floods; (4) the rest of its output."""
    try:
        channel, _ = await connection.create_session(
            lambda: session, line, encoding=None, request_pty=False, env=None, send_env=None, x11_forwarding=False
        )
    except asyncssh.ChannelOpenError:
        raise _forbidden(host) from None
    except (asyncssh.Error, OSError):
        raise _lost(host) from None
    await session.until(lambda: bool(session.state) or session.flooded)
    if session.state != "ready":
        raise _NOT_THERE[session.state]() if session.state else _forbidden(host)
    with suppress(OSError):  # it has closed its input, which is its own affair
        channel.write(stdin)
        channel.write_eof()
    await session.until(lambda: session.ended or session.flooded)
    if session.ended:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await session.until(lambda: session.flooded)


async def _end(connection: asyncssh.SSHClientConnection, session: Session, term_seconds: float) -> None:
    """End the program's process group by a second command, since many servers take no signals for root, and old ones none at all."""
    for sign, seconds in (("TERM", term_seconds), ("KILL", KILL_SECONDS)):
        if session.pid < 2 or session.ended or session.closed:
            return
        line = f"exec /bin/sh -c {shlex.quote(f'kill -s {sign} -- -{session.pid}')}"
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                try:
                    await connection.create_session(
                        lambda: Session(0), line, encoding=None, request_pty=False, env=None, send_env=None
                    )
                except (asyncssh.Error, OSError):
                    # A host that lets no second command in.
                    with suppress(OSError):
                        if session.channel is not None:
                            session.channel.send_signal(sign)
                await session.until(lambda: session.ended)


def _forbidden(host: str) -> PrivySealError:
    return Denied(
        "ssh_command_refused",
        f"the host {host} doesn't run the program: that user may run no commands, or another one is forced upon it",
        "look at ForceCommand, the user's shell (a POSIX shell at /bin/sh is needed) and command= in authorized_keys there",
    )


def _lost(host: str) -> PrivySealError:
    return Unavailable(
        "ssh_lost",
        f"the connection to the host {host} ended while the program ran, which may go on there",
        "look at the host before trying again",
    )


def _not_started(host: str, seconds: float) -> PrivySealError:
    return Unavailable(
        "ssh_not_started",
        f"the host {host} took the login and didn't start the program within {seconds:g} seconds",
        "look at the host's load, and at what the user's shell does when it starts",
    )


_NOT_THERE: dict[str, Callable[[], PrivySealError]] = {
    "directory": lambda: NotFound(
        "ssh_directory_missing",
        "the working directory isn't there on the host, or that user may not enter it",
        "make it, or choose another in workingDirectory",
    ),
    "program": lambda: NotFound(
        "ssh_program_missing", "the program isn't there on the host", "install it there, within the PATH of sshd"
    ),
}
