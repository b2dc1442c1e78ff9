"""How long whoever asks waits for a delegate that isn't there, and how urgent it is to him.

What may wait is kept by the manager, as it was signed and sealed, until a delegate can take it or its time is over; so it
outlives the manager's restart, and, where it is handed over, whoever asked. How urgent it is only the manager serves by.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import Malformed
from shared.task import Priority

LONGEST_SECONDS = 86_400
"""The time for which a task that may happen twice can be signed."""

LASTING_SECONDS = 900
"""How long a task may wait for its start when nobody says otherwise: its submitter is waiting for it, and gives up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """For `seconds`, 0 for not at all; `is_detached` doesn't wait here for what the manager keeps."""

    seconds: int = 0
    priority: Priority = "normal"
    is_detached: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= LONGEST_SECONDS or (self.is_detached and not self.seconds):
            raise Malformed(
                "patience_malformed", "a task waits for a delegate for 1 second to a day", "write 90s, 15m, 6h or 1d"
            )

    @property
    def lasting_seconds(self) -> int:
        """How long a task is signed for."""
        return self.seconds or LASTING_SECONDS


class Detached(Exception):
    """The manager keeps the task (its digest); nobody waits here for its outcome. Not an error: it was asked for."""

    def __init__(self, task: str, state: str) -> None:
        super().__init__(task)
        self.task = task
        self.state = state
