"""What this delegate believes of its account, and the alarms when somebody shows it something else.

The manager hands documents over and is believed in nothing: each is taken into the book by the book's own rules, and what
it refuses is remembered with the reason, so that a task that pins it can be told why. Memory only, as the identity is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog

from delegate.clock import Clock
from delegate.zone import Zone
from shared.canonical import digest
from shared.errors import Conflict, Malformed, NotReady, PrivySealError, Tampered, from_problem
from shared.trust.book import Book
from shared.trust.group import check_group, owned
from shared.trust.status import live

MOST_AT_ONCE = 10_000
"""Documents of one message; a task pins at most 4,000."""

MOST_REFUSALS = 1_000
"""Refused documents whose reason is kept."""

TURN = 64
"""Documents taken in before heartbeats get their turn; a signature takes some 60 microseconds."""

_ROLLBACKS = frozenset({"revision_stale", "status_rolled_back"})

_log = structlog.get_logger()


class Trust:
    """The account's book and this delegate's zone in it; `group` is the one that it is of."""

    def __init__(self, book: Book, zone: Zone, clock: Clock, group: str | None = None) -> None:
        self.book = book
        self.group = group
        self.zone = zone
        self._clock = clock
        self._refused: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    async def take(self, compacts: Sequence[str]) -> None:
        """Take in what the manager sent; what is refused is logged, and alarming if it is a forgery or a step back.

        Raises Malformed for more documents than any task can need.
        """
        if len(compacts) > MOST_AT_ONCE:
            raise Malformed("documents_too_many", f"one message carries more than {MOST_AT_ONCE} documents")
        refused: dict[str, PrivySealError] = {}
        for at in range(0, len(compacts), TURN):
            refused |= self.book.admit_all(compacts[at : at + TURN], self._clock.now())
            if at + TURN < len(compacts):
                await asyncio.sleep(0)
        if refused and len(compacts) > TURN:
            # A document and what it stands on may have come in different turns.
            again = [compact for compact in compacts if compact.isascii() and digest(compact) in refused]
            refused = self.book.admit_all(again, self._clock.now())
        for sha256, why in refused.items():
            self._refuse(sha256, why)

    def admit(self, compact: str) -> None:
        """One document that counts for nothing unless it is taken in. Raises why it isn't, after the alarm."""
        try:
            self.book.admit(compact, self._clock.now())
        except PrivySealError as why:
            self._refuse(digest(compact), why)
            raise

    def refusal(self, sha256: str) -> PrivySealError | None:
        """Why the document with that digest was refused when it last came; None for one that has not come."""
        problem = self._refused.get(sha256)
        return None if problem is None else from_problem(problem)

    def problem(self) -> PrivySealError | None:
        """Why no task could be taken now, if so: no live status, no keyring document or another than ours, a group that isn't known."""
        try:
            live(self.book.status, self._clock.now())
            document = self.book.keyrings.get(self.zone.name)
            if document is None:
                raise NotReady(
                    "keyring_unknown",
                    f"the account has no document of the keyring {self.zone.name}",
                    "publish it first: privyseal keyring new",
                )
            self.zone.check(document)
            self.owned(())
        except PrivySealError as why:
            return why
        return None

    def owned(self, tags: Collection[str]) -> frozenset[str]:
        """`tags` and those of this delegate's group. Raises NotReady where the status knows of a newer document of it."""
        status = self.book.status
        check_group(self.group, self.book.groups, status.document if status is not None else None)
        return owned(tags, self.group, self.book.groups)

    def _refuse(self, sha256: str, why: PrivySealError) -> None:
        # As a problem: an exception would keep the frames that it came through.
        self._refused[sha256] = why.problem()
        self._refused.move_to_end(sha256)
        if len(self._refused) > MOST_REFUSALS:
            self._refused.popitem(last=False)
        if isinstance(why, Tampered) or (isinstance(why, Conflict) and why.code in _ROLLBACKS):
            _log.error("trust.alarmed", code=why.code, reason=why.detail, digest=sha256)
        else:
            _log.warning("document.refused", code=why.code, reason=why.detail, digest=sha256)
