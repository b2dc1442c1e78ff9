"""The documents that a task pins, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from shared.documents.fields import Revisioned
from shared.documents.grant import GrantDocument
from shared.documents.jws import Verified
from shared.documents.task import Pin
from shared.errors import Conflict, Malformed, NotReady
from shared.trust.book import Book

D = TypeVar("D", bound=Revisioned)


class Pinned:
    """Raises NotReady (with the digests) for what isn't known, Conflict for a stale pin, Malformed for one that lies."""

    def __init__(self, book: Book, pins: Sequence[Pin]) -> None:
        found = [(pin, book.find(pin.digest)) for pin in pins]
        missing = [pin.digest for pin, one in found if one is None]
        if missing:
            raise NotReady(
                "documents_missing", "documents that the task acts on have not arrived here", missing=missing
            )
        self._things: dict[tuple[type[Revisioned], str], Verified[Revisioned]] = {}
        self.grants: list[Verified[GrantDocument]] = []
        account, stale = False, []
        for pin, one in found:
            assert one is not None
            document = one.document
            if (pin.kind, pin.id, pin.rev) != (one.kind, getattr(document, "id", ""), document.rev):
                raise Malformed("pin_malformed", "a pin of the task names another document than its digest")
            newest = book.newest(document)
            if newest is not None and newest[1] != one.digest:
                stale.append([pin.kind, pin.id])
            account = account or one.kind == "account"
            if isinstance(document, GrantDocument):
                self.grants.append(one)  # type: ignore[arg-type]
            self._things[type(document), pin.id] = one
        if stale:
            raise Conflict(
                "pin_stale",
                "the task pins documents of which there are newer revisions",
                "sync and sign again",
                stale=stale,
            )
        if not account:
            raise Malformed("pin_missing", "the task doesn't pin the account document")

    def one(self, cls: type[D], id: str) -> Verified[D]:
        """Raises Malformed for what isn't pinned."""
        found = self._things.get((cls, id))
        if found is None:
            raise Malformed("pin_missing", "the task doesn't pin a document that it acts on")
        return found  # type: ignore[return-value]
