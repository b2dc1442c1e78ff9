"""A running installation for tests of the command line: `privyseal dev` as a process, and commands run against it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.cli import main

START_SECONDS = 60.0
SCRIPT = Path(sys.executable).with_name("privyseal")


@dataclass(frozen=True, slots=True)
class Result:
    """What a command came to."""

    status: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """Its output, with --output json."""
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        """Its error, with --output json."""
        return json.loads(self.err)


@contextmanager
def standard_input(given: bytes) -> Iterator[None]:
    """`given` instead of this process's standard input."""
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(given))
    try:
        yield
    finally:
        sys.stdin = before


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Variables of privyseal's: these and no others."""
    before = {name: text for name, text in os.environ.items() if name.startswith("PRIVYSEAL_")}
    for name in before:
        del os.environ[name]
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
        os.environ.update(before)


class Desk:
    """One person's command line, with a home of his own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str, given: bytes = b"", **variables: str) -> Result:
        """One command, in this process: quicker than starting Python each time."""
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        with environment({"PRIVYSEAL_HOME": str(self.home), **variables}), standard_input(given):
            with redirect_stdout(out), redirect_stderr(err):
                status = main(arguments)
            out.flush()
        return Result(status, out.buffer.getvalue(), err.getvalue())

    def ok(self, *arguments: str, given: bytes = b"", **variables: str) -> Result:
        """One command that must succeed."""
        result = self.run(*arguments, given=given, **variables)
        assert result.status == 0, result.err
        return result

    def data(self, *arguments: str, given: bytes = b"") -> Any:
        """The JSON of a command that must succeed."""
        return self.ok(*arguments, "--output", "json", given=given).json

    def process(self, *arguments: str, given: bytes = b"") -> Result:
        """One command, as the process that people start."""
        done = subprocess.run(
            [str(SCRIPT), *arguments],
            input=given,
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, "PRIVYSEAL_HOME": str(self.home)},
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())


class Installation(Desk):
    """The administrator's desk at a running `privyseal dev --dir FOLDER`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.folder = folder / "dev"
        self._log = folder / "dev.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Waits until it says that it is ready."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(SCRIPT), "dev", "--dir", str(self.folder), "--output", "json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PRIVYSEAL_HOME": str(self.home)},
            )
        until = time.monotonic() + START_SECONDS
        while b'"root_key"' not in self._log.read_bytes():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        """As Ctrl-C does; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    @property
    def root_key(self) -> str:
        """The path of the account's root key."""
        return str(self.folder / "root.pem")

    def join(self, name: str, folder: Path, *permissions: str, scope: str = "account") -> Desk:
        """Another person with a home and an identity of his own, and a grant of `permissions` over `scope`."""
        desk = Desk(folder / name)
        key = desk.data("identity", "new", "--no-passphrase")["key"]
        address = self.data("account", "show")["address"]
        desk.ok("context", "add", address, "--name", "here")
        if permissions:
            flags = [part for one in permissions for part in ("--permission", one)]
            self.ok("grant", "add", "--principal", name, "--key", key, "--scope", scope, *flags)
        return desk
