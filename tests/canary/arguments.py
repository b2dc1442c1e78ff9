"""The command lines of all processes of this machine, looked at again and again while something runs.

    arguments = Arguments()
    with arguments.watched(): ...
    watch.surface("command lines", arguments.pieces)

`Arguments("environ")` has their environments. Anybody on a machine can read the former (proc(5), cmdline), whoever runs as the same
user the latter. A process that lives for less than a moment may be missed. Linux only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

PAUSE_SECONDS = 0.01


class Arguments:
    """Each command line that was seen, once; or each environment."""

    def __init__(self, file: Literal["cmdline", "environ"] = "cmdline") -> None:
        self._file = file
        self._seen: set[bytes] = set()

    def pieces(self) -> Iterator[bytes]:
        """All of them, as a surface."""
        yield b"\n".join(sorted(self._seen))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Looks until it is left."""
        over = threading.Event()
        looking = threading.Thread(target=self._look, args=(over,), daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()

    def _look(self, over: threading.Event) -> None:
        while not over.wait(PAUSE_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._seen.add((process / self._file).read_bytes())
