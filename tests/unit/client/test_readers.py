"""Reader keys: one a task, made while the client waits."""

from __future__ import annotations

import asyncio

from client.readers import Readers


async def test_no_key_is_handed_out_twice_and_more_are_made_meanwhile() -> None:
    readers = Readers(ready=3)
    taken = [readers.take()]
    async with asyncio.timeout(30):
        while len(readers) < 3:
            await asyncio.sleep(0)
    taken += [readers.take() for _ in range(5)]
    assert len({key.public.raw for key in taken}) == 6
