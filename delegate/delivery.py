"""A task as it was handed over: what whoever performs it can say while it runs, and how it hears that it is to end.

`delegate.runner` makes them. Must not say anything about a task to anybody but the stream that it came by.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

END_SECONDS = 30.0
"""What a task that ends by itself gets for that, once it is told to."""


class Delivery(Protocol):
    """One task's."""

    @property
    def stop(self) -> asyncio.Event:
        """Set when a task that ends by itself has to."""

    def progressed(self, done: int, total: int) -> None:
        """So many of its targets are done."""

    async def emit(self, index: int, data: bytes, opening: str = "") -> None:
        """Send a part of its output; waits while the manager doesn't read. Raises Unavailable: stream_lost."""

    def lasts(self, seconds: float) -> None:
        """From now on it takes up to `seconds`, and ends by itself when `stop` is set."""
