"""One call for all who want its result at the same moment; who leaves doesn't end it for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

R = TypeVar("R")


class Flight(Generic[R]):
    """Calls `call` when somebody asks and no call is under way. A result isn't kept."""

    def __init__(self, call: Callable[[], Awaitable[R]]) -> None:
        self._call = call
        self._task: asyncio.Task[R] | None = None

    async def result(self) -> R:
        """Of the call that is under way, or of a new one. Raises what it raises."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._made())
            self._task.add_done_callback(_looked_at)
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        """End the call that is under way, for all who wait."""
        if self._task is not None:
            self._task.cancel()

    async def _made(self) -> R:
        return await self._call()


def _looked_at(task: asyncio.Task[R]) -> None:
    # Everybody may have left; that it failed is then nobody's concern, nor a line in the log.
    if not task.cancelled():
        task.exception()
