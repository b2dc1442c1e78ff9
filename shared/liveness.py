"""When the other end of a stream counts as gone, and when it is told that this end is there.

Promises: with the settings `heartbeat` and `silence`, one that went silent is noticed within `silence` of its last word, by both sides
and by the same sums; time in which this end itself was held up is nobody's silence. No I/O, no clock: moments and durations are seconds
on a monotonic clock, given by whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass

_LOOKS_IN_A_SILENCE = 20
_LOOKS_IN_A_HEARTBEAT = 4
_PATIENCE = 0.9
"""Of the silence; the rest is for the look that comes just too early, and for one that comes late."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """The intervals of one stream, in seconds; `silence_seconds` is at least twice `heartbeat_seconds`."""

    heartbeat_seconds: float
    silence_seconds: float

    @property
    def look_seconds(self) -> float:
        """From one look to the next: 250 ms of the usual 5 s."""
        return min(self.silence_seconds / _LOOKS_IN_A_SILENCE, self.heartbeat_seconds / _LOOKS_IN_A_HEARTBEAT)

    @property
    def limit_seconds(self) -> float:
        """How long nothing may be heard: two heartbeats lost and a quarter of one late, of the usual 2 s and 5 s."""
        return self.silence_seconds * _PATIENCE

    def is_silent(self, quiet_seconds: float) -> bool:
        """Whether one of whom nothing was heard for so long is gone."""
        return quiet_seconds > self.limit_seconds

    def is_due(self, quiet_seconds: float) -> bool:
        """Whether one to whom nothing was said for so long is told now: at the next look it would be late."""
        return quiet_seconds > self.heartbeat_seconds - self.look_seconds

    def held_up(self, since_seconds: float) -> float:
        """How much of the time since the last look this end slept, hung or was too busy to listen, and has to be forgiven others.

        A look that comes late by less than an interval is as usual, so that a busy end doesn't forget to look at all.
        """
        late = since_seconds - self.look_seconds
        return late if late > self.look_seconds else 0.0
