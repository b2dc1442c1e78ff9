"""A task on its way through the manager: what it is, where it stands, and how long each part took.

Promises nothing by itself: `manager.dispatch` moves it, by the decisions of `shared.task`. Memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from manager.fleet import Delegate
from manager.routing import Wanted
from manager.trail import Trail
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified
from shared.messages import Need, Result, Task
from shared.task import Life, Priority
from shared.tracing import UNRECORDED, Span


@dataclass(slots=True)
class Times:
    """When a task arrived and was first handed over (monotonic, 0 for never); how long it waited for places and was executed."""

    arrived: float = 0.0
    handed: float = 0.0
    queued: float = 0.0
    executed: float = 0.0


@dataclass(slots=True, eq=False)
class Assignment:
    """One task on its way. `documents` are those that it pins, in an order in which they can be taken in.

    `seconds` is how long its command may run, 0 for what isn't one; `span` is the manager's part of its trace.
    """

    account: str
    id: str
    compact: str
    op: str
    wanted: Wanted
    exp: int
    inputs: tuple[bytes, ...]
    stored: tuple[bytes, ...]
    documents: Sequence[Verified[Revisioned]]
    life: Life
    credentials: tuple[bytes, ...] = ()
    seconds: int = 0
    principal: str = ""
    priority: Priority = "normal"
    submitted_at: int = 0
    delegate: Delegate | None = None
    name: str = ""
    certificate: str = ""
    done: int = 0
    total: int = 0
    reply: asyncio.Future[Result | Need] | None = None
    seat: asyncio.Future[Delegate] | None = None
    tried: set[str] = field(default_factory=set)
    is_given_up: bool = False
    times: Times = field(default_factory=Times)
    span: Span = UNRECORDED
    traceparent: str = ""
    trail: Trail = field(default_factory=Trail)
    is_told: bool = False
    """Whether its end was counted and stands in the log."""

    @property
    def size(self) -> int:
        """Bytes that it holds while it runs."""
        return sum(map(len, (*self.inputs, *self.stored, *self.credentials)))

    def task(self) -> Task:
        """The message that gives it to a delegate."""
        return Task(
            self.id, self.life.attempt, self.compact, self.inputs, self.stored, self.credentials, self.traceparent
        )
