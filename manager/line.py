"""A line in which many owners' things wait to be served, so that none of them keeps another's waiting. Pure.

The higher priority first; within one, owners in turn, and an owner's things as they came. Who comes anew is the last of
the owners, however many things each has. Each eighth place goes to what came first of all, whatever its priority, so
that nothing waits for ever behind what calls itself urgent.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from shared.task import PRIORITIES, Priority

T = TypeVar("T", bound=Hashable)

OLDEST_EVERY = 8


class Line(Generic[T]):
    """Hashable things, each once."""

    def __init__(self) -> None:
        self._places: dict[T, tuple[Priority, str]] = {}
        # Dictionaries keep the order of what came; the first owner is the next whose turn it is.
        self._owners: dict[Priority, dict[str, dict[T, None]]] = {priority: {} for priority in PRIORITIES}
        self._served = 0

    def add(self, thing: T, owner: str, priority: Priority) -> None:
        """It waits from now on."""
        self._places[thing] = priority, owner
        self._owners[priority].setdefault(owner, {})[thing] = None

    def take(self, thing: T) -> None:
        """It is served, and its owner's next turn comes after everybody else's."""
        priority, owner = self._places[thing]
        self.remove(thing)
        self._served += 1
        theirs = self._owners[priority].pop(owner, None)
        if theirs:
            self._owners[priority][owner] = theirs

    def remove(self, thing: T) -> None:
        """It waits no more; nothing where it didn't."""
        if thing not in self._places:
            return
        priority, owner = self._places.pop(thing)
        theirs = self._owners[priority][owner]
        del theirs[thing]
        if not theirs:
            del self._owners[priority][owner]

    def __iter__(self) -> Iterator[T]:
        """In the order in which they are to be served from now on; what can't be served now is passed over by who asks.

        To be begun anew after each change.
        """
        if self._served % OLDEST_EVERY == OLDEST_EVERY - 1:
            yield from self._places
            return
        for owners in self._owners.values():
            rounds = [iter(theirs) for theirs in owners.values()]
            while rounds:
                left = []
                for theirs in rounds:
                    for thing in theirs:
                        yield thing
                        left.append(theirs)
                        break
                rounds = left

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, thing: object) -> bool:
        return thing in self._places
