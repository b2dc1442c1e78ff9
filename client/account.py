"""One account as this client knows it: its book, what was seen before, and the way to the manager.

Promises: a document that comes from the manager is believed only once it is admitted to the book, and never when it is
older than one that was seen. Must not send a value anywhere; sealing and opening are elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from client.clock import Clock
from client.patience import Patience
from client.state import State
from client.transport import Reply, Transport, whole_number
from shared.canonical import digest
from shared.crypto.identity import Identity
from shared.documents.account import AccountDocument
from shared.documents.fields import Revisioned
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified, parse
from shared.documents.status import StatusDocument
from shared.errors import Conflict, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unavailable
from shared.tracing import Tracer, Untraced
from shared.trust.authority import SKEW_SECONDS
from shared.trust.book import Book
from shared.trust.status import live

TRUST_SECONDS = 60
"""How old the trust documents may be before a long-lived client asks for newer ones."""


_NONE = Patience()

MOST_PAGES = 10_000
LONGEST_CURSOR = 1_024


class Pages:
    """One listing, page by page: ends one that its manager would never end."""

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def go_on(self, after: str | None) -> str | None:
        """`after`, where the next page begins. Raises Malformed for one that was there already, or for too many."""
        if after is not None:
            if after in self._begun or len(self._begun) >= MOST_PAGES:
                raise Malformed("manager_faulty", "the manager shows a list that doesn't end", "check the URL")
            self._begun.add(after)
        return after


class Account:
    """`identity` signs; `book` is what is believed; `skew_seconds` is the manager's clock minus this one."""

    def __init__(self, transport: Transport, identity: Identity, state: State, clock: Clock) -> None:
        self.id = transport.account
        self.transport = transport
        self.identity = identity
        self.state = state
        self.clock = clock
        self.book = Book(self.id)
        self.skew_seconds = 0
        self.refused: list[PrivySealError] = []
        """Grants and groups that the manager showed and that nobody founded."""
        self.unfounded: dict[str, tuple[int, str]] = {}
        """Groups among them by name, as (revision, digest): whoever takes one over goes on from there."""
        self.tracer: Tracer = Untraced()
        self.traceparent = ""
        """The span that everything done here belongs to, if there is one."""
        self._patience: ContextVar[Patience] = ContextVar("patience")
        self._synced_at: float | None = None
        self._syncing = asyncio.Lock()
        self._chain: dict[int, str] = {}
        self._status_base = ""
        self._remember()

    @property
    def patience(self) -> Patience:
        """How long what is asked for here waits for a delegate."""
        return self._patience.get(_NONE)

    @contextmanager
    def waiting(self, patience: Patience) -> Iterator[None]:
        """What is asked for meanwhile, by this asyncio task and those that it starts, waits for a delegate."""
        token = self._patience.set(patience)
        try:
            yield
        finally:
            self._patience.reset(token)

    def path(self, rest: str) -> str:
        """The path of one of the account's resources."""
        return f"/v1/accounts/{self.id}/{rest}"

    async def ask(self, method: str, rest: str, **arguments: Any) -> Reply:
        """Asks the manager for one of the account's resources; arguments are `Transport.request`'s."""
        return await self.transport.request(method, self.path(rest), **arguments)

    # ---- believing

    def believe(self, compact: str) -> Verified[Revisioned]:
        """Takes in one document. Raises what is wrong with it: Tampered, Denied, Unauthenticated, Malformed, Conflict."""
        known = self.book.find(digest(compact)) if compact.isascii() else None
        if known is not None:
            return known
        unverified = parse(compact)
        self.state.check(unverified)
        new = self.book.admit_parsed(unverified, self.clock())
        self.state.take(new)
        if isinstance(new.document, AccountDocument):
            self._chain[new.document.rev] = new.compact
        elif isinstance(new.document, StatusDocument) and new.document.base is None:
            self._status_base = new.compact
        return new

    def believe_all(self, told: object) -> dict[str, PrivySealError]:
        """Takes in documents in whatever order makes sense; the refusals by compact form.

        What was superseded while its response was on the way counts as neither. Raises Unavailable where `told`, as the
        manager gave it, is no list of texts.
        """
        if not isinstance(told, list | tuple) or not all(isinstance(one, str) for one in told):
            raise Unavailable(
                "manager_faulty", "the manager answered with something that is no list of documents", "check the URL"
            )
        waiting: list[str] = list(dict.fromkeys(told))
        refused: dict[str, PrivySealError] = {}
        while True:
            before = len(waiting)
            refused = {}
            for compact in waiting:
                try:
                    self.believe(compact)
                except Conflict as why:
                    # Only what is older than the book's own is left out; what is older than was seen is Tampered.
                    if why.code not in {"revision_stale", "status_rolled_back"}:
                        refused[compact] = why
                except PrivySealError as why:
                    refused[compact] = why
            waiting = list(refused)
            if not waiting or len(waiting) == before:
                return refused

    # ---- syncing

    async def sync(self, *, force: bool = False) -> None:
        """Asks for newer trust documents, at most every `TRUST_SECONDS` unless forced.

        Raises Tampered for a roll-back or a fork, NotReady for an account without a believable head.
        """
        if not force and self.is_fresh():
            return
        async with self._syncing:
            if not force and self.is_fresh():
                return
            known = self.state.seen.etag if self.book.status is not None else ""
            reply = await self.ask("GET", "trust", headers={"If-None-Match": known} if known else {})
            told = whole_number(reply.headers.get("Privyseal-Time", ""))
            if told is not None:
                self.skew_seconds = told - self.clock()
            if reply.status != 304:
                self._take_trust(reply)
            self._synced_at = asyncio.get_running_loop().time()

    def is_fresh(self) -> bool:
        """Whether the trust documents are young enough not to be asked for."""
        return self._synced_at is not None and asyncio.get_running_loop().time() - self._synced_at < TRUST_SECONDS

    def _take_trust(self, reply: Reply) -> None:
        refused = self.believe_all(reply.json().get("documents") or ())
        self.refused = []
        for compact, why in refused.items():
            # A grant or group that stands on nobody any more is no attack: it is left out. Anything else is, or is a fault.
            if isinstance(why, Tampered | Malformed) or parse(compact).kind not in {"grant", "group"}:
                raise why
            self.refused.append(why)
            if why.code == "group_unfounded" and isinstance(left := parse(compact).document, GroupDocument):
                self.unfounded[left.id] = (left.rev, digest(compact))
        if self.book.account is None:
            raise NotFound(
                "account_unknown", "the manager shows no such account", "check the account id and the manager's URL"
            )
        for head in (self.book.account, self.book.status):
            if head is not None:
                self.state.check_head(head)
        self.state.take_trust(self.trust_documents(), reply.headers.get("ETag", ""))

    def trust_documents(self) -> list[str]:
        """Account chain, status, keyrings, groups and grants, as they are believed now."""
        book = self.book
        status = [book.status.compact] if book.status else []
        ordered = [
            *(self._chain[rev] for rev in sorted(self._chain)),
            *([self._status_base] if self._status_base else []),
            *status,
            *(keyring.compact for keyring in book.keyrings.values()),
            *(group.compact for group in book.groups.values()),
            *(grant.compact for grant in book.grants.values()),
        ]
        return list(dict.fromkeys(ordered))

    def _remember(self) -> None:
        """Takes in what earlier runs believed, by the same rules."""
        for why in self.believe_all(self.state.seen.documents).values():
            # Two processes may have written in the other order: then the older one's documents are asked for anew.
            if isinstance(why, Tampered | Malformed) and why.code != "revision_rolled_back":
                raise Tampered(
                    "seen_tampered",
                    "what this client kept of the account doesn't verify: its file was changed",
                    "find out by whom, then remove the account's file in the folder seen of PRIVYSEAL_HOME",
                )

    @property
    def is_skewed(self) -> bool:
        """Whether the manager's clock is further away than two honest clocks may be."""
        return abs(self.skew_seconds) > SKEW_SECONDS

    # ---- answers from the book

    @property
    def document(self) -> Verified[AccountDocument]:
        """The newest account document. Raises NotReady before the first sync."""
        if self.book.account is None:
            raise NotReady("account_documents_missing", "no account document is known yet", "sync first")
        return self.book.account

    def live_status(self) -> Verified[StatusDocument]:
        """Raises NotReady when it has expired."""
        return live(self.book.status, self.clock())

    @property
    def is_administrator(self) -> bool:
        """Whether the identity is one of the account's administrators."""
        return self.book.account is not None and self.book.authority.is_administrator(self.identity.kid)

    # ---- publishing

    async def post(self, compacts: list[str]) -> None:
        """Publishes signed documents in one transaction, then believes them. Raises Conflict when one was overtaken."""
        draft = self.book.draft()
        for compact in compacts:
            # First by our own rules: what we wouldn't believe ourselves is not sent.
            draft.admit(compact, self.clock())
        await self.ask("POST", "documents", json={"documents": compacts}, repeatable=True)
        for compact in compacts:
            self.believe(compact)
        self.state.take_trust(self.trust_documents(), "")
        self.state.save()


def page_of(reply: Reply, field: str) -> tuple[list[dict[str, Any]], str | None]:
    """The objects of one page and where the next one begins. Raises Malformed when it isn't one."""
    body = reply.json()
    try:
        return msgspec.convert(body.get(field), list[dict[str, Any]]), following(body)
    except msgspec.ValidationError:
        raise Malformed(
            "manager_faulty", "the manager answered with something that is no list", "check the URL"
        ) from None


def following(body: Mapping[str, Any]) -> str | None:
    """Where the next page begins, by the manager's word. Raises Malformed."""
    after = body.get("next") or None
    if after is not None and not (isinstance(after, str) and len(after) <= LONGEST_CURSOR):
        raise Malformed("manager_faulty", "the manager names a next page in a form that is none", "check the URL")
    return after
