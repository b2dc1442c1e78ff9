"""The stream's state machine: who may say what, when. It doesn't know which of the two sides keeps it.

    NEW --Challenge--> CHALLENGED --Hello--> GREETED --Welcome--> OPEN --Drain (either)--> DRAINING

Both sides record what they send and what they receive in a Session of their own, by the same table; so a rule can't be
stricter for the other side than for oneself. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from shared.errors import Malformed
from shared.messages import (
    Cancel,
    Challenge,
    Checked,
    Credit,
    Documents,
    Drain,
    Heartbeat,
    Hello,
    Message,
    Need,
    NewCertificate,
    Output,
    Probe,
    Progress,
    Result,
    Task,
    Welcome,
)

MOST_CREDITS = 10_000
SILENT = Heartbeat()


class Side(Enum):
    """Who speaks."""

    MANAGER = "manager"
    DELEGATE = "delegate"


class Phase(Enum):
    """Where the conversation is."""

    NEW = "new"
    CHALLENGED = "challenged"
    GREETED = "greeted"
    OPEN = "open"
    DRAINING = "draining"


_M, _D = Side.MANAGER, Side.DELEGATE

TABLE: Mapping[tuple[Phase, Side, type[Message]], Phase] = {
    (Phase.NEW, _M, Challenge): Phase.CHALLENGED,
    (Phase.CHALLENGED, _D, Hello): Phase.GREETED,
    (Phase.GREETED, _M, Welcome): Phase.OPEN,
    **{
        (phase, side, message): phase
        for phase in (Phase.OPEN, Phase.DRAINING)
        for side, message in (
            (_M, Heartbeat),
            (_M, Documents),
            # In DRAINING too: a task may cross the delegate's drain on its way. The delegate answers it as unavailable.
            (_M, Task),
            (_M, Cancel),
            (_M, Probe),
            (_D, Heartbeat),
            (_D, Credit),
            (_D, Result),
            (_D, Progress),
            (_D, Output),
            (_D, Checked),
            (_D, Need),
            (_D, NewCertificate),
        )
    },
    **{(phase, side, Drain): Phase.DRAINING for phase in (Phase.OPEN, Phase.DRAINING) for side in (_M, _D)},
}
"""(phase, who speaks, what) to the next phase; what isn't here is refused."""


def _nobody() -> None:
    """Watches a session that nobody watches."""


class Session:
    """One stream's conversation so far."""

    def __init__(self) -> None:
        self.phase = Phase.NEW
        self.credits = 0
        self.outstanding: dict[str, int] = {}
        """Tasks that were sent and not answered: id to attempt."""
        self.heartbeat = SILENT
        """The delegate's newest."""
        self.watcher: Callable[[], None] = _nobody
        """Told after each message that changes whether tasks may be sent, or how many are outstanding."""

    def record(self, speaker: Side, message: Message) -> None:
        """Take note that `speaker` says `message`. Raises Malformed where he may not; the session is then as before."""
        before = self._standing()
        phase = TABLE.get((self.phase, speaker, type(message)))
        if phase is None:
            raise Malformed(
                "protocol_violation",
                f"a {type(message).__name__} of the {speaker.value} has no place in the phase {self.phase.value}",
            )
        match message:
            case Task():
                if not self.credits or message.id in self.outstanding:
                    raise Malformed("protocol_violation", "a task is sent without credit, or twice on one stream")
                self.credits -= 1
                self.outstanding[message.id] = message.attempt
            case Credit():
                if not 0 < message.tasks <= MOST_CREDITS - self.credits:
                    raise Malformed("protocol_violation", "a delegate gives more credit than is allowed")
                self.credits += message.tasks
            case Result() | Need():
                self._must_be_outstanding(message.id, message.attempt)
                del self.outstanding[message.id]
            case Progress() | Output():
                self._must_be_outstanding(message.id, message.attempt)
            case Heartbeat() if speaker is Side.DELEGATE:
                self.heartbeat = message
            case _:
                pass
        self.phase = phase
        if self._standing() != before:
            self.watcher()

    @property
    def takes_tasks(self) -> bool:
        """Whether the manager has a reason to send a task now. One that crosses the delegate's word is answered as overloaded."""
        return self.phase is Phase.OPEN and self.credits > 0 and not self.heartbeat.is_over

    def _standing(self) -> tuple[Phase, bool, int]:
        return self.phase, self.takes_tasks, len(self.outstanding)

    def _must_be_outstanding(self, id: str, attempt: int) -> None:
        if self.outstanding.get(id) != attempt:
            raise Malformed("protocol_violation", "a delegate speaks of a task that it doesn't have")
