"""A person at a terminal: a program on a pseudo-terminal, whose questions are waited for and answered by typing.

with Terminal([...], environ) as person:
    person.answers("Name", "kms1")      # waits until the question stands at the end of the screen
    status = person.leaves()
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 60.0

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`screen` is all that was shown. Standard input, output and error are the same terminal."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self.screen = ""
        self._seen = 0
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            list(argv),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(environ),
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 (as a shell hands its terminal over; it calls into no lock)
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)

    def answers(self, question: str, *typed: str) -> None:
        """Types a line when `question` stands unanswered at the screen's end; more lines for being asked again."""
        for text in typed:
            self.waits_for(question)
            self._seen = len(self.screen)
            os.write(self._ours, text.encode() + b"\r")

    def waits_for(self, question: str) -> None:
        """Until the question is asked."""
        self._read(lambda: question in self.screen[self._seen :] and self.screen.rstrip("\r\n").endswith((": ", "]: ")))

    def interrupts(self, question: str) -> None:
        """Ctrl-C at a question."""
        self.waits_for(question)
        # Before the program really reads, the signal would be noticed at the next key only: faster than people are.
        state = Path(f"/proc/{self._process.pid}/stat")
        until = time.monotonic() + PATIENCE_SECONDS
        # It may end meanwhile, on its own.
        with contextlib.suppress(OSError):
            while state.read_text().rpartition(") ")[2][0] != "S" and time.monotonic() < until:
                time.sleep(0.01)
        os.write(self._ours, b"\x03")

    def leaves(self) -> int:
        """The program's exit status."""
        self._read(lambda: False)
        return self._process.wait(PATIENCE_SECONDS)

    def _read(self, enough: object) -> None:
        """Takes in what is shown until it is enough, or the program has ended."""
        assert callable(enough)
        until = time.monotonic() + PATIENCE_SECONDS
        while not enough():
            left = until - time.monotonic()
            assert left > 0, f"nothing more is shown:\n{self.screen}"
            ready, _, _ = select.select([self._ours], [], [], min(left, 0.5))
            if not ready:
                continue
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # Linux says EIO when the other side is closed
                data = b""
            if not data:
                return
            self.screen += _ESCAPES.sub("", data.decode("utf-8", "replace"))


def _take_terminal() -> None:
    """In the program, before it begins: the terminal is its own, and Ctrl-C ends it as it would at a shell."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
