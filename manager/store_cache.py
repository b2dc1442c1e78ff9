"""Documents and versions kept in memory, the least recently used given up first, bounded by bytes.

Belongs to the event loop: nothing here waits or locks. A value that was read while its row was being rewritten must not
come back afterwards, hence `expect` before a read and `fill` after it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

# What an entry costs beside its text: key tuple, struct, dictionary slot.
_OVERHEAD_BYTES = 700


class Cache:
    """Values by key; `limit_bytes` bounds the sum of their costs, and one value may take an eighth of it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._expected: dict[Hashable, object] = {}
        self.used_bytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Hashable) -> Any:
        """The value, or None where it must be read."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def expect(self, keys: Iterable[Hashable]) -> object:
        """Announces a read of `keys`; give the mark to `fill`, and to `forget` in the end."""
        mark = object()
        for key in keys:
            self._expected[key] = mark
        return mark

    def fill(self, mark: object, key: Hashable, value: Any, size: int) -> None:
        """Keeps what was read, unless `key` was written since its `expect`."""
        if self._expected.get(key) is mark:
            self._keep(key, value, size)

    def forget(self, mark: object, keys: Iterable[Hashable]) -> None:
        """Ends a read, whatever became of it."""
        for key in keys:
            if self._expected.get(key) is mark:
                del self._expected[key]

    def apply(self, effects: Iterable[tuple[Hashable, Any, int]]) -> None:
        """What a committed batch did: (key, new value or None, bytes), in order."""
        for key, value, size in effects:
            self._expected.pop(key, None)
            self._drop(key)
            if value is not None:
                self._keep(key, value, size)

    def clear(self) -> None:
        """Nothing in here is sure any more, nor is what is being read."""
        self._expected.clear()
        self._entries.clear()
        self.used_bytes = 0

    def _keep(self, key: Hashable, value: Any, size: int) -> None:
        cost = size + _OVERHEAD_BYTES
        self._drop(key)
        if cost > self._limit // 8:
            return
        self._entries[key] = (value, cost)
        self.used_bytes += cost
        while self.used_bytes > self._limit:
            _, (_, freed) = self._entries.popitem(last=False)
            self.used_bytes -= freed

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used_bytes -= entry[1]
