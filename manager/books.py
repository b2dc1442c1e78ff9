"""The manager's books: for each account the trust documents that it stores, verified by the same rules as everywhere.

A document is tried in a draft first and reaches the book when it is durable. The manager could skip all of this without
anybody being deceived; it does it so that nobody wastes a delegate's time or the database's room.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import cast

import structlog

from manager.clock import Clock
from manager.metrics import ManagerMetrics
from manager.rows import StoredDocument
from manager.store import Store
from shared.documents.fields import Revisioned
from shared.documents.grant import GrantDocument
from shared.documents.jws import Verified, parse
from shared.documents.status import StatusDocument
from shared.errors import Malformed, NotFound, PrivySealError
from shared.names import check_account
from shared.trust.book import Book

MOST_BOOKS = 1_000
MOST_AT_ONCE = 1_000

_log = structlog.get_logger()


class Books:
    """Books by account, loaded when first asked for."""

    def __init__(self, store: Store, clock: Clock, metrics: ManagerMetrics) -> None:
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._books: OrderedDict[str, Book] = OrderedDict()

    async def book(self, account: str) -> Book:
        """The account's book. Raises NotFound."""
        known = self._books.get(account)
        if known is not None:
            self._books.move_to_end(account)
            return known
        check_account(account)
        if not await self._store.account_exists(account):
            raise NotFound("account_not_found", "there is no such account here", "check the context's URL")
        loaded = Book(account)
        refused = loaded.admit_all(await self.trust_documents(account), self._clock.now())
        for why in refused.values():
            _log.warning("document.refused", account=account, code=why.code)
        # Two requests may have loaded it at once; the first to finish is the one that later documents go to.
        book = self._books.setdefault(account, loaded)
        self._observe(book)
        if len(self._books) > MOST_BOOKS:
            self._books.popitem(last=False)
        return book

    def _observe(self, book: Book) -> None:
        if book.status is not None:
            self._metrics.status_expiry.labels(book.id).set(book.status.document.exp)

    async def trust_documents(self, account: str) -> list[str]:
        """Account documents, status with its base, keyrings and grants, in an order in which they can be taken in."""
        accounts = await self._all_revisions(account, "account", "account")
        status = await self._store.head(account, "status", "status")
        statuses: list[str] = []
        if status is not None:
            document = parse(status.compact).document
            if isinstance(document, StatusDocument) and document.base is not None:
                found = await self._store.by_digest(account, [document.base])
                statuses = [base.compact for base in found.values()]
            statuses.append(status.compact)
        keyrings = await self._heads(account, "keyring")
        grants = await self._heads(account, "grant")
        # A status that a service renewed is believed through that service's grant: grants come first.
        return [*accounts, *grants, *statuses, *keyrings]

    async def complete(self, book: Book, digests: Iterable[str]) -> None:
        """Loads stored secrets and connectors with these digests into the book, if it has forgotten them."""
        missing = [digest for digest in digests if book.find(digest) is None]
        for at in range(0, len(missing), MOST_AT_ONCE):
            rows = await self._store.by_digest(book.id, missing[at : at + MOST_AT_ONCE])
            for row in rows.values():
                with contextlib.suppress(PrivySealError):
                    self.recall(book, row)

    @staticmethod
    def recall(book: Book, row: StoredDocument) -> Verified[Revisioned]:
        """A secret, connector or scope from the store: it was verified when it was published. Raises Conflict."""
        return book.find(row.digest) or book.recall(row.compact)

    def try_documents(self, book: Book, compacts: Sequence[str]) -> tuple[Book, list[Verified[Revisioned]]]:
        """A draft of the book with these documents in it. Raises what is wrong with the first that isn't right."""
        if not 0 < len(compacts) <= MOST_AT_ONCE:
            raise Malformed("documents_too_many", f"a request carries 1 to {MOST_AT_ONCE} documents")
        draft = book.draft()
        return draft, [draft.admit(compact, self._clock.now()) for compact in compacts]

    def take(self, book: Book, documents: Iterable[Verified[Revisioned]]) -> None:
        """Into the book, now that they are durable."""
        for document in documents:
            try:
                book.admit(document.compact, self._clock.now())
            except PrivySealError as why:
                # Another request was durable first with something that goes before; load the book anew.
                _log.warning("document.refused", account=book.id, code=why.code)
                self._books.pop(book.id, None)
                return
        self._observe(book)

    async def _all_revisions(self, account: str, kind: str, id: str) -> list[str]:
        compacts: list[str] = []
        after = 0
        while page := await self._store.history(account, kind, id, after):
            compacts += [row.compact for row in page]
            after = page[-1].rev
        return compacts

    async def _heads(self, account: str, kind: str) -> list[str]:
        compacts: list[str] = []
        after = ""
        while True:
            page = await self._store.documents(account, kind, after=after, limit=500)
            compacts += [row.compact for row in page.items]
            if not page.next:
                return compacts
            after = page.next


def row_of(document: Verified[Revisioned]) -> StoredDocument:
    """The row that stores a document."""
    payload = document.document
    return StoredDocument(
        kind=document.kind,
        id=cast(str, getattr(payload, "id", "account")),
        rev=payload.rev,
        digest=document.digest,
        prev=payload.prev or "",
        scope=str(getattr(payload, "scope", "")),
        identifier=str(getattr(payload, "identifier", "")),
        signer=document.kid,
        parent=(payload.parent or "") if isinstance(payload, GrantDocument) else "",
        iat=payload.iat,
        deleted=bool(getattr(payload, "deleted", False)),
        compact=document.compact,
    )
