"""Servers that run as processes on loopback, for as long as a test needs them.

    with Process("moto", argv, answers) as server:     # argv(port) -> the command; answers(port) -> whether it serves
        server.port

Promises: inside it the server answers, and outside it is gone, whatever happened: it gets TERM, and KILL when it doesn't end
in time. What it wrote is told when it doesn't start. Must not touch a process that it didn't start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
TRIES = 3
"""Between looking for a free port and listening on it, somebody else may take it."""


class Process:
    """One server in a folder of its own, which is its working directory, its home and its place for temporary files."""

    def __init__(
        self,
        name: str,
        argv: Callable[[int], Sequence[str]],
        answers: Callable[[int], bool],
        environ: Callable[[int], Mapping[str, str]] = lambda _: {},
        start_seconds: float = START_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._name = name
        self._argv, self._answers, self._environ = argv, answers, environ
        self._start_seconds, self._stop_seconds = start_seconds, stop_seconds
        self._folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def folder(self) -> Path:
        """Where it runs; it is removed at the end."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        """The process's id while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has written so far."""
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def __enter__(self) -> Self:
        try:
            for last in (False,) * (TRIES - 1) + (True,):
                self.port = free_port()
                self._start()
                if self._is_up():
                    return self
                ended = self._process is not None and self._process.poll() is not None
                if last or not ended:
                    raise RuntimeError(f"{self._name} doesn't start:\n{self.output[-4000:]}")
                self._stop()
            raise AssertionError
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._stop()
        finally:
            self._folder.cleanup()

    def _start(self) -> None:
        folder = str(self.folder)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                list(self._argv(self.port)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={"HOME": folder, "TMPDIR": folder, "PATH": "/usr/bin:/bin", **self._environ(self.port)},
                start_new_session=True,  # what it starts ends with it
            )

    def _is_up(self) -> bool:
        assert self._process is not None
        ends = time.monotonic() + self._start_seconds
        while self._process.poll() is None and time.monotonic() < ends:
            if self._answers(self.port):
                # Somebody else may be the one that answers, while ours found its port taken.
                return self._process.poll() is None
            time.sleep(POLL_SECONDS)
        return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self._stop_seconds)
        # The group outlives its leader where that left somebody behind.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
