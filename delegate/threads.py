"""Where computing happens: at once while it is short, in a thread where it would hold up heartbeats.

Handing work to a thread costs more than sealing a password does, so only what is long goes there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

LARGE_BYTES = 64 * 1024

P = ParamSpec("P")
R = TypeVar("R")


async def compute(size: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`function(*args)`, which works through `size` bytes."""
    if size <= LARGE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
