"""An account's delegates get the tags that their groups give them now, a few at a time, so that nothing else waits for all of them.

Promises: each delegate has all of its old tags or all of its new ones, and is chosen by those; who asked is answered when all have the
new ones; and where the groups change again meanwhile, the newest win. Must not run before what a delegate is told of its
group is on its way (`manager.stream` sees to that).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.fleet import Delegate, Fleet
from shared.trust.group import Groups

AT_ONCE = 4
"""Delegates that get other tags before others have their turn; each takes a third of a millisecond where many tags change."""

LOOKED_AT_ONCE = 256
"""The same for those that may stay as they are."""


class Regrouping:
    """All accounts'."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._newest: dict[str, asyncio.Event] = {}
        """What is under way, by account; set when it is over."""

    async def run(
        self, account: str, groups: Groups, offer: Callable[[Delegate], None], narrowed: Callable[[str], None]
    ) -> None:
        """`groups` are the account's now. They count from here on, for one delegate after the other.

        `offer` gives what waits to a delegate that may have it now, `narrowed` is told that fewer may.
        """
        over, changed = asyncio.Event(), 0
        groups = dict(groups)
        self._newest[account] = over
        try:
            for at, delegate in enumerate(self._fleet.online(account), 1):
                if (newer := self._newest.get(account)) is not over:
                    if newer is not None:
                        await newer.wait()
                    return
                if delegate.online and self._fleet.regroup_one(delegate, groups):
                    changed += 1
                    offer(delegate)
                    if changed % AT_ONCE == 0:
                        await asyncio.sleep(0)
                elif at % LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            over.set()
            if self._newest.get(account) is over:
                del self._newest[account]
            if changed:
                narrowed(account)
