"""A connection to a PostgreSQL that may fall silent: a machine that hangs keeps its connections open and says nothing on them.

Promises: whoever waits for an answer of the server's gets it, or an error and a closed connection, `SILENT_SECONDS` after he began
to wait. Whether the server still does what it was told isn't known then. Needs the extra `postgresql`; knows no table.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg.abc import PQGen

SILENT_SECONDS = 10.0
"""How long an answer is waited for; longer than a lock is (`manager.database`), of which the server tells by itself."""

CONNECT_SECONDS = 5
"""The same for a new connection."""


class Bounded(psycopg.Connection[Any]):
    """The driver's own, that waits for so long; `silent_seconds` None for as long as it takes."""

    silent_seconds: float | None = SILENT_SECONDS

    def wait(self, gen: PQGen[Any], *arguments: Any, **options: Any) -> Any:
        """Raises OperationalError for a server that is silent."""
        if self.silent_seconds is not None:
            gen = self._bounded(gen, self.silent_seconds)
        return super().wait(gen, *arguments, **options)

    def _bounded(self, gen: PQGen[Any], seconds: float) -> PQGen[Any]:
        until = time.monotonic() + seconds
        try:
            state = next(gen)
            while True:
                # The driver comes back with nothing, too, ten times a second.
                ready = yield state
                if not ready and time.monotonic() >= until:
                    # What it may still say belongs to nobody; and who were to ask it again would wait again.
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server is silent")
                state = gen.send(ready)
        except StopIteration as done:
            return done.value
