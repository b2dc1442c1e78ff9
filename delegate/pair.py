"""Two calls at once, of which neither outlives the other's failure: nobody would close what it still opens."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

F = TypeVar("F")
S = TypeVar("S")


async def both(first: Coroutine[Any, Any, F], second: Coroutine[Any, Any, S]) -> tuple[F, S]:
    """What they give. Raises what the one raises that fails first; the other has ended then."""
    tasks = asyncio.create_task(first), asyncio.create_task(second)
    try:
        return await asyncio.gather(*tasks)
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
