"""A task on its way through the manager: what it is, where it stands, and how long each part took.

Promises nothing by itself: `manager.dispatch` moves it, by the decisions of `shared.task`. Memory only. Whoever has something
done makes one with `assigned`, has `Dispatcher.run` run it, and writes down what came of it.
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
from shared.documents.task import EXEC
from shared.messages import Need, Result, Task
from shared.task import Life, Priority
from shared.tracing import UNRECORDED, Span
from shared.trust.book import Book
from shared.trust.warrant import Warrant


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
    gone: set[str] = field(default_factory=set)
    """Those of them whose stream ended."""
    is_given_up: bool = False
    is_forgiving: bool = False
    """Whether failed tests of its connectors keep no delegate from it any more."""
    is_kept: bool = False
    """Whether it can wait elsewhere (`manager.queue`): where nobody can take it, that is no end of it."""

    is_patient: bool = True
    """Whether one that is kept may stand in the line for a place."""

    times: Times = field(default_factory=Times)
    span: Span = UNRECORDED
    traceparent: str = ""
    trail: Trail = field(default_factory=Trail)
    run: int = 0
    """Where it is a run of an order: its number, counted from 1; `compact` is the order then."""

    is_told: bool = False
    """Whether its end was counted and stands in the log."""

    @property
    def size(self) -> int:
        """Bytes that it holds while it runs."""
        return sum(map(len, (*self.inputs, *self.stored, *self.credentials)))

    def task(self) -> Task:
        """The message that gives it to a delegate."""
        return Task(
            self.id,
            self.life.attempt,
            self.compact,
            self.inputs,
            self.stored,
            self.credentials,
            self.traceparent,
            self.run,
        )


def assigned(
    allowed: Warrant,
    book: Book,
    now: int,
    *,
    inputs: tuple[bytes, ...] = (),
    stored: tuple[bytes, ...] = (),
    credentials: tuple[bytes, ...] = (),
    priority: Priority = "normal",
    span: Span = UNRECORDED,
    arrived: float = 0.0,
) -> Assignment:
    """What `allowed` allows, to be dispatched: all else that it needs stands in the verified task. `arrived` is monotonic.

    `stored` and `credentials` are the records of what it acts on, in the order of its targets and credentials.
    """
    task, document = allowed.task, allowed.task.document
    pinned = [book.find(pin.digest) for pin in document.pins]
    rank = {"account": 0, "grant": 1, "keyring": 2}
    return Assignment(
        account=book.id,
        id=task.digest,
        compact=task.compact,
        op=document.op,
        wanted=Wanted(
            document.keyring,
            document.gen,
            allowed.kinds | ({EXEC} if document.op == EXEC else set()),
            allowed.selectors,
            document.to,
            conditions=allowed.conditions,
            scopes=allowed.scopes,
            connectors=frozenset(one.digest for one in allowed.connectors),
        ),
        exp=document.exp,
        inputs=inputs,
        stored=stored,
        credentials=credentials,
        seconds=document.seconds or 0,
        documents=sorted((one for one in pinned if one is not None), key=lambda one: rank.get(one.kind, 3)),
        life=Life(document.repeat),
        principal=task.kid,
        priority=priority,
        submitted_at=now,
        times=Times(arrived),
        span=span,
    )
