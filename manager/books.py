"""The manager's books: for each account the trust documents that it stores, verified by the same rules as everywhere.

A document is tried in a draft first and reaches the book when it is durable. The manager could skip all of this without
anybody being deceived; it does it so that nobody wastes a delegate's time or the database's room.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from manager.clock import Clock
from manager.rows import StoredDocument
from manager.store import Store
from shared.canonical import b64u, sha256
from shared.documents.fields import Revisioned
from shared.documents.grant import GrantDocument
from shared.documents.jws import Verified, parse, peek_kind
from shared.documents.order import OrderDocument
from shared.documents.status import StatusDocument
from shared.documents.task import Pin
from shared.documents.template import TemplateDocument
from shared.errors import Malformed, NotFound, PrivySealError
from shared.names import check_account
from shared.trust.book import Book
from shared.trust.expiry import soonest_grant

MOST_BOOKS = 1_000
MOST_AT_ONCE = 1_000
MOST_INLINE = 100
"""Documents that are verified on the event loop; more go to a thread, so that heartbeats pass."""

LARGEST_CHARACTERS = 64 * 1024
"""A secret, connector, scope or grant; lists of 500 of them must fit into memory many times."""

_TRUST = frozenset({"account", "grant", "group", "keyring", "status"})
_LARGE = _TRUST - {"grant", "group"}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trust:
    """What an account stands on: compact documents in an order in which they can be taken in, and a tag of them all."""

    documents: tuple[str, ...]
    tag: str


class Books:
    """Books by account, loaded when first asked for, once for all who ask meanwhile."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._books: OrderedDict[str, Book] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Book]] = {}
        self._trust: dict[str, Trust] = {}
        self._changes: dict[str, int] = {}
        self._grants: dict[str, int | None] = {}
        """When the first grant of an account ends, as far as that was asked for since one changed."""
        self.hits = self.misses = 0

    async def book(self, account: str) -> Book:
        """The account's book. Raises NotFound."""
        known = self._books.get(account)
        if known is not None:
            self.hits += 1
            self._books.move_to_end(account)
            return known
        self.misses += 1
        check_account(account)
        loading = self._loading.get(account)
        if loading is None:
            # For a large account it takes seconds: a thousand delegates that come back at once share them.
            loading = self._loading[account] = asyncio.create_task(self._load(account))
            loading.add_done_callback(lambda done: self._loaded(account, done))
        return await asyncio.shield(loading)

    def _loaded(self, account: str, loading: asyncio.Task[Book]) -> None:
        del self._loading[account]
        # Whoever asked may have gone.
        if not loading.cancelled():
            loading.exception()

    async def _load(self, account: str) -> Book:
        if not await self._store.account_exists(account):
            raise NotFound("account_not_found", "there is no such account here", "check the context's URL")
        while True:
            changes, now = self._changes.get(account, 0), self._clock.now()
            compacts = (await self.trust(account)).documents
            book = Book(account)
            if len(compacts) <= MOST_INLINE:
                refused = book.admit_all(compacts, now)
            else:
                refused = await asyncio.to_thread(book.admit_all, compacts, now)
            if self._changes.get(account, 0) == changes:
                break
        for why in refused.values():
            _log.warning("document.refused", account=account, code=why.code)
        self._books[account] = book
        self._grants.pop(account, None)
        if len(self._books) > MOST_BOOKS:
            gone, _ = self._books.popitem(last=False)
            self._trust.pop(gone, None)
            self._grants.pop(gone, None)
        return book

    def expiries(self, now: int) -> tuple[int | None, int | None, int]:
        """When the first live status and the first live grant end, of the accounts in memory; how many statuses have ended."""
        statuses = [one.status.document.exp for one in self._books.values() if one.status is not None]
        for book in self._books.values():
            known = self._grants.get(book.id, 0)
            if known is not None and known <= now:
                self._grants[book.id] = soonest_grant(book, now)
        live = [end for end in statuses if end > now]
        grants = [end for end in self._grants.values() if end is not None]
        return min(live, default=None), min(grants, default=None), len(statuses) - len(live)

    async def trust(self, account: str) -> Trust:
        """Account documents, grants, status with its base, keyrings and groups, kept until one of them changes."""
        known = self._trust.get(account)
        if known is not None:
            return known
        changes = self._changes.get(account, 0)
        documents = await self._trust_documents(account)
        found = Trust(tuple(documents), b64u(sha256("".join(documents).encode())))
        # What was read while something was published may be without it.
        if self._changes.get(account, 0) == changes:
            self._trust[account] = found
        return found

    async def _trust_documents(self, account: str) -> list[str]:
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
        groups = await self._heads(account, "group")
        grants = await self._heads(account, "grant")
        # A status that a service renewed is believed through that service's grant: grants come first.
        return [*accounts, *grants, *statuses, *keyrings, *groups]

    async def complete(self, book: Book, pins: Iterable[Pin]) -> list[list[str]]:
        """Loads what is pinned into the book, if that has forgotten it; gives [kind, id] of what has a newer revision.

        A book that doesn't know the newest revision would take an old one for it.
        """
        missing = [pin.digest for pin in pins if book.find(pin.digest) is None]
        stale = []
        for at in range(0, len(missing), MOST_AT_ONCE):
            rows = (await self._store.by_digest(book.id, missing[at : at + MOST_AT_ONCE])).values()
            for kind in {row.kind for row in rows}:
                heads = await self._store.heads(book.id, kind, [row.id for row in rows if row.kind == kind])
                for row in rows:
                    if row.kind == kind and row.digest == heads[row.id].digest:
                        with contextlib.suppress(PrivySealError):
                            self.recall(book, row)
                    elif row.kind == kind:
                        stale.append([kind, row.id])
        return stale

    @staticmethod
    def recall(book: Book, row: StoredDocument) -> Verified[Revisioned]:
        """A secret, connector or scope from the store: it was verified when it was published. Raises Conflict."""
        return book.find(row.digest) or book.recall(row.compact)

    async def examine(self, book: Book, compacts: Sequence[str]) -> tuple[Book, list[Verified[Revisioned]]]:
        """`try_documents`, after the book was told what they revise: what can't change is compared with that."""
        befores = [
            document.prev for one in compacts[:MOST_AT_ONCE] if isinstance(document := parse(one).document, Revisioned)
        ]
        missing = [prev for prev in befores if prev is not None and book.find(prev) is None]
        if missing:
            for row in (await self._store.by_digest(book.id, missing)).values():
                with contextlib.suppress(PrivySealError):
                    self.recall(book, row)
        return self.try_documents(book, compacts)

    def try_documents(self, book: Book, compacts: Sequence[str]) -> tuple[Book, list[Verified[Revisioned]]]:
        """A draft of the book with these documents in it. Raises what is wrong with the first that isn't right."""
        if not 0 < len(compacts) <= MOST_AT_ONCE:
            raise Malformed("documents_too_many", f"a request carries 1 to {MOST_AT_ONCE} documents")
        for compact in compacts:
            if len(compact) > LARGEST_CHARACTERS and peek_kind(compact) not in _LARGE:
                raise Malformed("document_too_large", f"a document has more than {LARGEST_CHARACTERS} characters")
        draft = book.draft()
        return draft, [draft.admit(compact, self._clock.now()) for compact in compacts]

    def take(self, account: str, documents: Sequence[Verified[Revisioned]]) -> None:
        """Into the account's book, now that they are durable. Which book that is may have changed meanwhile."""
        if any(document.kind in _TRUST for document in documents):
            self._changes[account] = self._changes.get(account, 0) + 1
            self._trust.pop(account, None)
            self._grants.pop(account, None)
        book = self._books.get(account)
        if book is None:
            return
        for document in documents:
            try:
                book.admit(document.compact, self._clock.now())
            except PrivySealError as why:
                # Another request was durable first with something that goes before; load the book anew.
                _log.warning("document.refused", account=book.id, code=why.code)
                self._books.pop(book.id, None)
                return

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
        # An order's id is its owner's for good, as a secret's is its scope's.
        scope=payload.owner if isinstance(payload, OrderDocument) else str(getattr(payload, "scope", "")),
        identifier=payload.place_name
        if isinstance(payload, TemplateDocument)
        else str(getattr(payload, "identifier", "")),
        signer=document.kid,
        parent=(payload.parent or "") if isinstance(payload, GrantDocument) else "",
        iat=payload.iat,
        deleted=bool(getattr(payload, "deleted", False)),
        compact=document.compact,
    )
