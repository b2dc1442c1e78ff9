"""An event loop whose time is steered: nothing sleeps, and a test says when what happens.

    loop = SteeredLoop()
    with loop.process("manager 1"):
        loop.create_task(serve())          # it, and all that it starts, belongs to that process
    loop.settle()                          # whatever can happen at this moment has happened
    loop.advance(5.0)                      # five seconds later, with every timer in between
    loop.kill("manager 1")                 # its tasks and timers are gone, as after SIGKILL

Threads' work is done where it is asked for, so that a run is the same each time. `crashes` is what nobody caught.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, TypeVar

from delegate.clock import Clock as DelegateClock
from manager.clock import Clock

MOST_ROUNDS = 100_000
"""Rounds of the loop in one moment; with more, something goes round for ever."""

T = TypeVar("T")

_PROCESS: ContextVar[str] = ContextVar("process", default="test")


class _Selector(selectors.SelectSelector):
    """Never waits: where nothing is ready, the loop stops."""

    idle: Callable[[], None] = staticmethod(lambda: None)
    rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.rounds += 1
        assert self.rounds < MOST_ROUNDS, "something goes round for ever"
        events = super().select(0)
        if not events and timeout != 0:
            self.idle()
        return events


class SteeredLoop(asyncio.SelectorEventLoop):
    """`moment` is its time, in seconds."""

    def __init__(self) -> None:
        self.moment = 1_000.0
        self.crashes: list[str] = []
        self._selecting = _Selector()
        self._timers: list[tuple[float, int, asyncio.TimerHandle, str]] = []
        self._number = 0
        self._tasks: defaultdict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        super().__init__(self._selecting)
        self._selecting.idle = self.stop
        self.set_exception_handler(self._crashed)

    def time(self) -> float:
        """The steered time."""
        return self.moment

    @contextmanager
    def process(self, name: str) -> Iterator[None]:
        """What is started here belongs to that process."""
        before = _PROCESS.set(name)
        try:
            yield
        finally:
            _PROCESS.reset(before)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **rest: Any
    ) -> asyncio.Task[Any]:
        """A task of the process in whose name it is started."""
        task: asyncio.Task[Any] = super().create_task(coro, name=name, context=context, **rest)
        owner = self._tasks[_owner(context)]
        owner.add(task)
        task.add_done_callback(owner.discard)
        return task

    def call_at(  # type: ignore[override]  # asyncio's takes the same, described more closely
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A timer of the process in whose name it is set."""
        handle = super().call_at(when, callback, *args, context=context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, handle, _owner(context)))
        return handle

    def run_in_executor(  # type: ignore[override]  # the same
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Done at once."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as why:  # noqa: BLE001 (raised where it is awaited)
            future.set_exception(why)
        return future

    def settle(self) -> None:
        """Runs until nothing can happen at this moment."""
        self._selecting.rounds = 0
        self.run_forever()

    def advance(self, seconds: float) -> None:
        """Lets so much time pass."""
        until = self.moment + seconds
        self.settle()
        while (due := self._next()) is not None and due <= until:
            self.moment = max(self.moment, due)
            self.settle()
        self.moment = until
        self.settle()

    def complete(self, work: Awaitable[T], process: str = "test") -> T:
        """What comes of it at this moment. Raises AssertionError where it waits for something later."""

        async def awaited() -> T:
            return await work

        with self.process(process):
            task = self.create_task(awaited())
        self.settle()
        assert task.done(), "that takes time"
        result: T = task.result()
        return result

    def complete_later(self, work: Awaitable[object], process: str) -> None:
        """Begins it, in the name of a process; it may take its time."""

        async def awaited() -> None:
            await work

        with self.process(process):
            self.create_task(awaited())
        self.settle()

    def timers(self, process: str) -> list[str]:
        """What a process's timers will call, by name."""
        return [
            getattr(handle._callback, "__qualname__", "partial")  # type: ignore[attr-defined]
            for when, _, handle, owner in self._timers
            if owner == process and not handle.cancelled() and when > self.moment
        ]

    def tasks(self, process: str) -> set[asyncio.Task[Any]]:
        """Those of a process that go on."""
        return set(self._tasks[process])

    def kill(self, process: str) -> None:
        """Ends all that belongs to a process; cut off from everything before, it can't say anything while it ends."""
        for _ in range(100):
            for _, _, handle, owner in self._timers:
                if owner == process:
                    handle.cancel()
            tasks = self.tasks(process)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.settle()
        raise AssertionError(f"{process} doesn't end")

    def _next(self) -> float | None:
        while self._timers and (self._timers[0][2].cancelled() or self._timers[0][0] <= self.moment):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _crashed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.crashes.append(f"{context.get('message')}: {context.get('exception')!r}")


class SteeredClock(Clock, DelegateClock):
    """One process's clock: the loop's time, and wall time that may be set otherwise by `ahead` seconds. For both programs."""

    def __init__(self, loop: SteeredLoop, began: int) -> None:
        self._loop = loop
        self._began = began - int(loop.moment)
        self.ahead = 0

    def now(self) -> int:
        """Seconds since 1970, as this process has them."""
        return self._began + int(self._loop.moment) + self.ahead

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._loop.moment


def current_process() -> str:
    """Whose code runs now."""
    return _PROCESS.get()


def _owner(context: Context | None) -> str:
    return _PROCESS.get() if context is None else context.get(_PROCESS, "test")
