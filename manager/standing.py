"""An order as the manager has it in mind: which of its runs was the last, and the one that is under way.

Promises nothing by itself: `manager.orders` moves it. Memory only; all of it follows from the store after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from manager.assignment import Assignment
from manager.routing import Wanted
from manager.rows import RunRow
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument


@dataclass(slots=True)
class Course:
    """A run that is under way, whatever revisions of its order come meanwhile; `assignment` is None until it is sent."""

    task: asyncio.Task[None] | None = None
    assignment: Assignment | None = None
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()


@dataclass(slots=True)
class Standing:
    """An order that may be due. `last` is the last run of this revision that was begun, refused, or due before it was published."""

    account: str
    order: Verified[OrderDocument]
    last: int
    refusal: RunRow | None = None
    """The last run, where the manager itself refused it: the next that is refused alike takes its place."""
    again: float = 0.0
    """Not to be begun before this second."""

    is_set_back: bool = False
    """Whether the last run was found to be in the future."""

    unserved: tuple[int, Wanted] | None = None
    """The run that was looked at while nobody was there for it, and what it wants: its time goes by, and the row of the next tells."""

    course: Course | None = None

    @property
    def is_running(self) -> bool:
        """Whether a run of it is under way."""
        return self.course is not None and not self.course.is_over

    def is_unserved(self, n: int, could_wait: Callable[[str, Wanted], bool]) -> bool:
        """Whether still nobody is there for run `n`, which needn't be verified again to know that."""
        return self.unserved is not None and self.unserved[0] == n and not could_wait(self.account, self.unserved[1])
