"""Whether a task may be done, as the manager's book says it: to spare delegates the work, never in their place.

A refusal for what has moved on carries what is newest, as far as the task's signer may see it.
"""

from __future__ import annotations

from collections.abc import Sequence

from manager.clock import Clock
from manager.policy import may_see_row, must_stand
from manager.store import Store
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, NotReady
from shared.tracing import Span
from shared.trust.book import Book
from shared.trust.warrant import Warrant, warrant

MOST_NEWER = 1_000
"""Newer documents of a kind that a refusal carries."""


class Warrants:
    """One manager's."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def check(self, book: Book, task: Verified[TaskDocument], stale: list[list[str]], span: Span) -> Warrant:
        """As `shared.trust.warrant` does. `stale` are the pins of which the book knows newer revisions.

        Raises what that raises, and Conflict `pin_stale` or `pin_unknown`.
        """
        try:
            if stale:
                detail = "the task pins documents of which there are newer revisions"
                raise Conflict("pin_stale", detail, "sync and sign again", stale=stale)
            with span.child("manager.warrant"):
                return warrant(book, task, self._clock.now())
        except Conflict as why:
            if why.code == "pin_stale":
                why.facts["documents"] = await self._newer(book, task.kid, why.facts["stale"])
            raise
        except NotReady as why:
            if why.code == "documents_missing":
                raise Conflict(
                    "pin_unknown",
                    "the task pins documents that the manager doesn't have",
                    "sync and sign again",
                ) from None
            raise

    async def _newer(self, book: Book, kid: str, stale: Sequence[Sequence[str]]) -> list[str]:
        """What is newest of it, as far as `kid` may see it now: to have seen a revision once isn't enough."""
        found, now = [], self._clock.now()
        try:
            must_stand(book.authority, kid, now)
        except Denied:
            return []
        for kind in {kind for kind, _ in stale}:
            ids = [id for other, id in stale if other == kind][:MOST_NEWER]
            rows = (await self._store.heads(book.id, kind, ids)).values()
            found += [row.compact for row in rows if may_see_row(book.authority, kid, row, now)]
        return found
