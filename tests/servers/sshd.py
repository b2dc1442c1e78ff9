"""OpenSSH's own server on loopback, run by whoever runs the tests, with keys and settings of its own.

    with Sshd("ForceCommand true") as sshd:
        sshd.port, sshd.user, sshd.authorize(line), sshd.known_hosts

Promises: it listens on 127.0.0.1 alone, reads no settings of this machine, lets in only by keys that a test authorizes, and is gone
at the end with all that runs in its sessions' group. It logs in as the user that runs it, since nobody else's rights are there to be
given. Must not make users, touch a home, or ask PAM: passwords of this machine aren't a test's to know, so a password that is taken
is tested with `PasswordServer`, asyncssh's own server, and a refused one with this.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh

from tests.servers.process import Process

PROGRAM = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
USER = pwd.getpwuid(os.geteuid()).pw_name
EMPTY = "/run/sshd"
"""Where sshd shuts away its unprivileged half; it insists on it when it is root's."""


class Sshd:
    """One server. `settings` are further lines of sshd_config; `host_key` is its key, by default a fresh ed25519 one."""

    def __init__(self, *settings: str, host_key: Path | None = None, certificate: Path | None = None) -> None:
        self._process = Process("sshd", self._argv, answers_as_ssh)
        self.folder = self._process.folder
        self.user = USER
        self._host_key = host_key or keygen(self.folder / "host_key")
        self._settings = [*settings, *([f"HostCertificate {certificate}"] if certificate else [])]
        (self.folder / "authorized_keys").touch()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._process.port

    @property
    def pid(self) -> int:
        """Of the listening process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has told so far, at LogLevel VERBOSE."""
        return self._process.output

    @property
    def known_hosts(self) -> str:
        """The line that makes it known."""
        return f"[127.0.0.1]:{self.port} {public(self._host_key)}"

    def authorize(self, key: Path, options: str = "") -> None:
        """Let that key in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{options} {public(key)}\n".lstrip())

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            Path(EMPTY).mkdir(mode=0o755, exist_ok=True)
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, traceback)

    def _argv(self, port: int) -> list[str]:
        if PROGRAM is None:
            raise RuntimeError("there is no sshd on this machine: install openssh-server")
        lines = [
            f"HostKey {self._host_key}",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "ListenAddress 127.0.0.1",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "KbdInteractiveAuthentication no",
            "PermitUserRC no",
            "LogLevel VERBOSE",
        ]
        config = self.folder / "sshd_config"
        # The first line that says a thing counts.
        config.write_text(
            "\n".join([*self._settings, *lines, "PasswordAuthentication no", "MaxStartups 100:30:200", ""])
        )
        return [PROGRAM, "-D", "-e", "-f", str(config), "-p", str(port)]


class PasswordServer(asyncssh.SSHServer):
    """asyncssh's server, which takes one password, by the method `password` or by keyboard-interactive. `tried` is what it was shown."""

    def __init__(self, password: str, *, method: str = "password") -> None:
        self.tried: list[str] = []
        self._password, self._method = password, method

    async def listen(
        self, handle: Callable[[asyncssh.SSHServerProcess[bytes]], object], key: Path
    ) -> asyncssh.SSHAcceptor:
        """Serve on a free port of 127.0.0.1; `handle` has each command."""
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: self,
            server_host_keys=[str(key)],
            process_factory=handle,
            encoding=None,
            config=None,
            gss_host=None,
        )

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._method == "password"

    def validate_password(self, username: str, password: str) -> bool:
        self.tried.append(password)
        return password == self._password

    def kbdint_auth_supported(self) -> bool:
        return self._method != "password"

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        self.tried += responses
        return list(responses) == [self._password]


async def run_by_shell(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """As sshd runs a command: by a shell, its input and outputs those of the channel."""
    shell = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", process.command or ""),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert shell.stdin is not None and shell.stdout is not None and shell.stderr is not None

    async def feed(writer: asyncio.StreamWriter) -> None:
        writer.write(await process.stdin.read())
        writer.close()

    async def hand(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    feeding = asyncio.create_task(feed(shell.stdin))
    await asyncio.gather(hand(shell.stdout, process.stdout), hand(shell.stderr, process.stderr))
    feeding.cancel()
    process.exit(await shell.wait())


def answers_as_ssh(port: int) -> bool:
    """Whether a server greets there as RFC 4253, 4.2 says."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as one:
            return one.recv(4) == b"SSH-"
    except OSError:
        return False


def keygen(path: Path, *options: str, passphrase: str = "", kind: str = "ed25519") -> Path:
    """A fresh key pair of ssh-keygen at that path (`.pub` beside it)."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path), *options]
    subprocess.run(argv, check=True, capture_output=True)
    return path


def sign_host(authority: Path, key: Path, *names: str, validity: str = "-1h:+1h") -> Path:
    """A certificate of the host's key for those names."""
    argv = ["ssh-keygen", "-q", "-s", str(authority), "-I", "host", "-h", "-V", validity, "-n", ",".join(names)]
    subprocess.run([*argv, f"{key}.pub"], check=True, capture_output=True)
    return key.with_name(f"{key.name}-cert.pub")


def public(key: Path) -> str:
    """Type and key of a pair, without its remark."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])
