"""A host over SSH: one login with the credential of an SSHKey, one program on it, its output bounded, its end seen to.

Promises: who logs in is the SSHKey's user by its credential alone, never the delegate's own user, keys, settings or forwarded
rights; the host shows a key that was made known beforehand, or nothing of the credential leaves; values go to the program's input
after it has started, never into the command line, which other users of that host can read. Must not write a file there, nor be
taken for a sandbox: what starts a session of its own on that host outlives its time limit.

    target = SshTarget(host, bundle, policy, seconds)
    await target.check()
    ran = await target.run(program, directory="/tmp", seconds=20)
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from delegate.policy import LocalPolicy
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed
from shared.ssh import ByKeyPath, ByKeyReference, check_host, pack, unpack

MOST_OUTPUT = 1024 * 1024
"""What a program may write to its standard output; it is ended when it writes more."""

MOST_ERRORS = 260 * 1024
"""What is kept of what it wrote to its standard error: the end. More than `delegate.tails` takes as it is, which thereby knows that
the beginning may be the rest of a value."""

_MARK = "privyseal-started"
_START = (
    'ulimit -c 0 2>/dev/null; s=ready; if [ -n "$2" ]; then cd -- "$2" 2>/dev/null || s=directory; fi; '
    'if [ "$s" = ready ]; then command -v "$3" >/dev/null 2>&1 || s=program; fi; '
    'printf "\\n%s %s %s\\n" "$1" "$$" "$s"; [ "$s" = ready ] || exit 1; shift 2; exec "$@"'
)
"""Without a single quote, so that every shell takes it as one word. It tells its process id, and whether all is there, first; what it
starts leaves no core file with values in it."""


class Program(Protocol):
    """What runs: words that hold no value, and its input, which may."""

    @property
    def argv(self) -> tuple[str, ...]: ...

    @property
    def stdin(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: its exit status, or the number of the signal that ended it, and why; as `delegate.commands.Ended`.

    `stdout` is at most what was allowed, `stderr` the last 260 KiB; both may hold values. `truncated`: it wrote more than it may
    to its standard output. Who floods either is ended for it (`cancelled`).
    """

    stdout: Plaintext
    stderr: Plaintext
    exit: int | None
    signal: int | None
    truncated: bool
    reason: Literal["exited", "timed_out", "cancelled"]


@dataclass(frozen=True, slots=True)
class Key:
    """A private key, and its passphrase where it has one."""

    text: Plaintext
    passphrase: Plaintext | None


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The same in a file on the delegate."""

    path: str
    passphrase: Plaintext | None


@dataclass(frozen=True, slots=True)
class Password:
    """A password."""

    text: Plaintext


@dataclass(frozen=True, slots=True)
class Login:
    """Where, who and by what. `known_hosts` are lines of the SSHKey, `known_hosts_file` the delegate's own file or empty."""

    host: str
    port: int
    user: str
    credential: Key | KeyFile | Password
    known_hosts: tuple[str, ...]
    known_hosts_file: str
    policy: LocalPolicy
    seconds: float


class SshTarget:
    """One host, logged in at by one SSHKey. Nothing is done before it is asked for; each use is a connection of its own."""

    def __init__(
        self, host: str, bundle: Plaintext, policy: LocalPolicy, seconds: float = 15.0, known_hosts_file: str = ""
    ) -> None:
        """`bundle` is a packed SSHKey with its values; `seconds` bounds connecting and logging in.

        Raises Malformed for a bundle or host that is none, Denied for a host or key file that the local policy forbids.
        """
        opened, host = unpack(bundle.reveal()), check_host(host)
        policy.check_host(host)
        values = {reference: Plaintext(value) for reference, value in opened.values.items()}
        self._login = Login(
            host=host,
            port=opened.spec.port,
            user=opened.spec.credential.user_name,
            credential=_credential(opened.spec.credential, values, policy),
            known_hosts=opened.spec.known_hosts,
            known_hosts_file=known_hosts_file,
            policy=policy,
            seconds=seconds,
        )

    async def check(self) -> None:
        """Log in and out; nothing runs there.

        Raises Denied (unknown or changed host key, refused login, wrong passphrase), Malformed (a key that is none), NotFound,
        Unavailable.
        """
        from delegate.ssh_login import connected

        async with connected(self._login):
            pass

    async def run(
        self, program: Program, *, directory: str = "", seconds: float = 60.0, most: int = MOST_OUTPUT
    ) -> Ran:
        """Log in and run the program in that directory (empty: the user's own), for at most `seconds`.

        At its time limit, after `most` bytes of output and when this is cancelled it is ended: SIGTERM to its process group, five
        seconds, SIGKILL. Raises what `check` raises; NotFound for a program or directory that isn't there, Denied where the host
        runs something else instead, Unavailable where the connection is lost, after which it may still run.
        """
        from delegate.ssh_login import connected
        from delegate.ssh_session import run

        line = command_line(program.argv, directory)
        async with connected(self._login) as connection:
            return await run(connection, line, program.stdin, seconds, most, self._login.host)


def bundle_of(spec: Mapping[str, Any], values: Mapping[str, Plaintext]) -> Plaintext:
    """The bundle of an SSHKey: its spec and the value of each secret that it names. Raises Malformed."""
    return Plaintext(pack(spec, {reference: value.reveal() for reference, value in values.items()}))


def command_line(argv: Sequence[str], directory: str) -> str:
    """What the user's login shell on the host is given: each word quoted, so that none is parsed. Raises Malformed."""
    if not argv or not argv[0] or argv[0].startswith("-") or any("\0" in one or "\n" in one for one in argv):
        raise Malformed(
            "ssh_program_malformed",
            "the program to run over SSH is malformed: it has no name, or a line end in an argument",
            "give a name or a path, and put text of several lines into its input",
        )
    if directory and (not directory.startswith("/") or len(directory) > 4096 or not directory.isprintable()):
        raise Malformed(
            "ssh_directory_malformed", "the working directory on the host isn't an absolute path", "begin it with /"
        )
    return "exec " + shlex.join(["/bin/sh", "-c", _START, "privyseal", _MARK, directory, *argv])


def _credential(one: object, values: Mapping[str, Plaintext], policy: LocalPolicy) -> Key | KeyFile | Password:
    if isinstance(one, ByKeyReference):
        return Key(values[one.key], values.get(one.encrypted_passphrase or ""))
    if isinstance(one, ByKeyPath):
        policy.check_file(one.key_path, "an SSHKey")
        return KeyFile(one.key_path, values.get(one.encrypted_passphrase or ""))
    return Password(next(iter(values.values())))
