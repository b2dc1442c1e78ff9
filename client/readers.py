"""Reader keys, made ahead: one for each task, thrown away with its answer.

Making one costs about 160 us, so a few lie ready and are replaced while the client waits for the network. Must not keep or
write one, nor hand one out twice.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque

from shared.crypto.seal import SEED_BYTES, SealingKey

READY = 8
_PAUSE_SECONDS = 0.001


class Readers:
    """A few reader keys that nobody has used."""

    def __init__(self, ready: int = READY) -> None:
        self._keys: deque[SealingKey] = deque()
        self._ready = ready
        self._refilling = False

    def __len__(self) -> int:
        """How many lie ready."""
        return len(self._keys)

    def take(self) -> SealingKey:
        """A key of the caller's own. Called in a running loop, which makes the next one when it waits."""
        key = self._keys.popleft() if self._keys else _new()
        if not self._refilling:
            self._refilling = True
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._refill)
        return key

    def _refill(self) -> None:
        # One at a time, so that nothing else waits longer than one takes.
        self._keys.append(_new())
        self._refilling = len(self._keys) < self._ready
        if self._refilling:
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._refill)


def _new() -> SealingKey:
    return SealingKey(os.urandom(SEED_BYTES))
