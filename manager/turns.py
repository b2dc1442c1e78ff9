"""Turns in what every task costs the manager before it reaches a delegate: few at once, and accounts one after the other.

Promises: who comes while turns are left has one at once, without waiting. Of the others each account has one in turn, and within
an account they go as `manager.line` says, so that the flood of one keeps the next task of another waiting for no more than the
turns that are taken and one of each other account. A turn is free again only when the loop has been round once, for
tasks that never wait would otherwise follow one another for as long as there are any. Must not know what is done in a turn.
"""

from __future__ import annotations

import asyncio

from manager.line import Line
from shared.task import Priority

MOST_AT_ONCE = 32
"""Each is a fraction of a millisecond of work, so that others wait for some ten milliseconds."""


class Turns:
    """One manager's. Whoever has a turn gives it back with `end`, once."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._free = most
        self._ended = 0
        # The account whose turn is next comes first.
        self._lines: dict[str, Line[asyncio.Future[None]]] = {}

    def begin(self) -> bool:
        """Takes a turn if one is left; else it is for `wait` to get one."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def wait(self, account: str, principal: str, priority: Priority) -> None:
        """Takes a turn when it is his."""
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(account, Line()).add(turn, principal, priority)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given in the same moment
                self.end()
            elif (line := self._lines.get(account)) is not None:
                line.remove(turn)
                if not line:
                    del self._lines[account]
            raise

    def end(self) -> None:
        """Gives a turn back."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._release)
        self._ended += 1

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return sum(map(len, self._lines.values()))

    def _release(self) -> None:
        self._free += self._ended
        self._ended = 0
        while self._free > 0 and self._lines:
            account, line = next(iter(self._lines.items()))
            turn = next(iter(line))
            line.take(turn)
            del self._lines[account]
            if line:
                self._lines[account] = line
            if not turn.done():
                turn.set_result(None)
                self._free -= 1
