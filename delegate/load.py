"""Load control: whether this delegate uses more CPU or memory than its owner wants, and takes no new tasks for as long.

Promises: looks every two seconds and judges the mean of three looks, so that one spike is nothing; over at the limit, below again
under nine tenths of it, so that it doesn't flutter; what can't be measured never stands against a task. Tasks that run go on. Must
not read the system itself: `delegate.cgroups` does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Protocol

import structlog

from delegate.cgroups import Container, Memory, Processor, read_text
from delegate.clock import Clock
from delegate.metrics import DelegateMetrics
from shared.errors import Overloaded
from shared.messages import Heartbeat, Use

SAMPLE_SECONDS = 2.0
SAMPLES = 3
RELIEF = 0.9
"""Of the limit: what the use has to fall under before tasks are taken again."""

LEAST_SECONDS = 6
MOST_SECONDS = 60
"""Bounds of the advice when to ask again."""

MOST_PERCENT = 100_000
NOTHING = Heartbeat()

_log = structlog.get_logger()


class Meter(Protocol):
    """What is measured; None for what can't be."""

    def memory(self) -> Memory | None: ...

    def processor(self) -> Processor | None: ...


def percent_of_memory(memory: Memory | None) -> float | None:
    """How much of it is used."""
    return None if memory is None or memory.limit <= 0 else 100.0 * memory.used / memory.limit


def percent_of_processor(before: Processor | None, after: Processor | None, seconds: float) -> float | None:
    """How much of the CPU that there was in these seconds was used; None where it was counted elsewhere before."""
    if before is None or after is None or before.source != after.source or seconds <= 0 or after.cores <= 0:
        return None
    return max(0.0, 100.0 * (after.used - before.used) / (after.cores * seconds))


class Watch:
    """One resource: its mean of the last looks, and whether that is over the limit (percent, 0 for none)."""

    def __init__(self, limit_percent: int) -> None:
        self._limit = limit_percent
        self._looks: deque[float] = deque(maxlen=SAMPLES)
        self.over = False

    def take(self, percent: float | None) -> None:
        """One more look; None is one that saw nothing, after which nothing is known any more."""
        if percent is None:
            self._looks.clear()
            self.over = False
            return
        self._looks.append(min(percent, float(MOST_PERCENT)))
        mean = sum(self._looks) / len(self._looks)
        if self.over:
            self.over = mean >= self._limit * RELIEF
        else:
            self.over = 0 < self._limit <= mean and len(self._looks) == SAMPLES

    @property
    def use(self) -> Use | None:
        """As it is told; None before the first look."""
        if not self._looks:
            return None
        return Use(round(sum(self._looks) / len(self._looks)), self._limit, self.over)


class Load:
    """Watches CPU and memory; `meter` is None where nothing can be measured. `changed` is called when `is_over` has changed."""

    def __init__(
        self,
        cpu_limit_percent: int,
        memory_limit_percent: int,
        meter: Meter | None,
        clock: Clock,
        metrics: DelegateMetrics,
    ) -> None:
        self._meter = meter
        self._clock = clock
        self._metrics = metrics
        self._cpu = Watch(cpu_limit_percent)
        self._memory = Watch(memory_limit_percent)
        self._before: tuple[Processor | None, float] = (None, 0.0)
        self._since = 0.0
        self.changed: Callable[[], None] = lambda: None

    @property
    def is_over(self) -> bool:
        """Whether no new task is taken."""
        return self._cpu.over or self._memory.over

    @property
    def is_measured(self) -> bool:
        """Whether anything was seen at the last look."""
        return self._cpu.use is not None or self._memory.use is not None

    def heartbeat(self, executing: int) -> Heartbeat:
        """What the manager is told."""
        return Heartbeat(executing, self._cpu.use, self._memory.use)

    def refusal(self) -> Overloaded | None:
        """What a task is answered that has come all the same, None while tasks are taken.

        Who has been over for long is likely to stay so for as long again: that is the advice.
        """
        if not self.is_over:
            return None
        seconds = min(MOST_SECONDS, max(LEAST_SECONDS, ceil(self._clock.monotonic() - self._since)))
        named = " and ".join(name for name, watch in self._watches() if watch.over)
        return Overloaded(
            "delegate_overloaded",
            f"the delegate uses more {named} than its limit allows and takes no new tasks until it uses less",
            "ask again later; add delegates, give this one more, or raise cpu_limit_percent or memory_limit_percent",
            retry_after=seconds,
        )

    def facts(self) -> dict[str, str | int | bool]:
        """For the health endpoint: percent of each, and `over_limit` where tasks are refused."""
        found: dict[str, str | int | bool] = {}
        for name, watch in self._watches():
            use = watch.use
            found[f"{name.lower()}_percent"] = "not measured" if use is None else use.percent
        if self.is_over:
            found["over_limit"] = ", ".join(name.lower() for name, watch in self._watches() if watch.over)
        return found

    async def run(self) -> None:
        """Looks until it is cancelled."""
        if self._meter is None:
            _log.info("load.unmeasured", reason=f"on {sys.platform} neither CPU nor memory is measured: no limits")
            return
        self.look()
        if not self.is_measured:
            _log.warning("load.unmeasured", reason="neither /proc nor a control group can be read: no limits")
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            try:
                self.look()
            except Exception as bug:  # noqa: BLE001 (a look that fails mustn't keep tasks away for ever)
                _log.error("load.crashed", exc_info=bug)
                self._cpu.take(None)
                self._memory.take(None)

    def look(self) -> None:
        """One look at both."""
        if self._meter is None:
            return
        now, before = self._clock.monotonic(), self.is_over
        processor, (last, then) = self._meter.processor(), self._before
        self._before = (processor, now)
        percent = percent_of_processor(last, processor, now - then)
        # The first look has nothing to compare with, which is no failure to look.
        if percent is not None or processor is None or (last is not None and last.source != processor.source):
            self._cpu.take(percent)
        self._memory.take(percent_of_memory(self._meter.memory()))
        for name, watch in self._watches():
            use = watch.use
            self._metrics.load.labels(name.lower()).set(float("nan") if use is None else use.percent)
            self._metrics.over_limit.labels(name.lower()).set(watch.over)
        if self.is_over != before:
            self._tell(now)
            self.changed()

    def _tell(self, now: float) -> None:
        if self.is_over:
            self._since = now
            why = self.refusal()
            assert why is not None
            _log.warning("load.over_limit", reason=why.detail, hint=why.hint)
        else:
            _log.info("load.below_limit", seconds=round(now - self._since))

    def _watches(self) -> tuple[tuple[str, Watch], ...]:
        return ("CPU", self._cpu), ("memory", self._memory)


def meter() -> Meter | None:
    """This process's container, or None elsewhere than on Linux."""
    if sys.platform != "linux":
        return None
    return Container(read_text, frozenset(os.sched_getaffinity(0)))
