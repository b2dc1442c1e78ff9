"""A container whose use a test turns up and down: it counts as the kernel does, in CPU-seconds and bytes."""

from __future__ import annotations

from delegate.cgroups import Memory, Processor

LIMIT_BYTES = 1_000_000_000


class Dial:
    """A meter; `blind` is one whose files can't be read."""

    def __init__(self, cores: float = 2.0) -> None:
        self.cores = cores
        self.memory_percent = 0.0
        self.source = "/sys/fs/cgroup"
        self.blind = False
        self._used = 0.0

    def passes(self, seconds: float, percent: float) -> None:
        """So many seconds with that much use of the CPU."""
        self._used += self.cores * seconds * percent / 100

    def memory(self) -> Memory | None:
        return None if self.blind else Memory(round(LIMIT_BYTES * self.memory_percent / 100), LIMIT_BYTES)

    def processor(self) -> Processor | None:
        return None if self.blind else Processor(self.source, self._used, self.cores)
