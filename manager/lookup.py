"""How the manager finds what it stores: from memory without leaving the event loop, else on reader threads.

Every call names its account; who may see the answer is the caller's to decide. Methods raise Unavailable
`store_unavailable` where the database doesn't serve. It must never write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError

from manager.rows import AccountRow, AuditRow, CheckRow, Page, QueuedRow, Sight, StoredDocument, StoredVersion, TaskRow
from manager.store_cache import Cache
from manager.store_reads import Reads
from shared.errors import Unavailable

T = TypeVar("T")
K = TypeVar("K")


READ_SECONDS = 15.0
"""How long a read may take, and wait for its thread: others may be waiting for a server that is silent."""


class Lookup:
    """The reading half of `Store`. Lists of more than 1,000 names are Malformed `too_many`."""

    def __init__(self, reads: Reads, cache: Cache) -> None:
        self._reads = reads
        self._cache = cache
        self._pool: ThreadPoolExecutor | None = None

    # Reads that never wait: None means "not in memory", not "doesn't exist".

    def cached_head(self, account: str, kind: str, id: str) -> StoredDocument | None:
        """As `head`, from memory alone."""
        return self._document(("head", account, kind, id))

    def cached_by_name(self, account: str, kind: str, scope: str, identifier: str) -> StoredDocument | None:
        """As `by_name`, from memory alone."""
        return self._document(("name", account, kind, scope, identifier))

    def cached_by_digest(self, account: str, digest: str) -> StoredDocument | None:
        """As `by_digest` of one, from memory alone."""
        return self._document(("digest", account, digest))

    def cached_version(self, account: str, secret: str, n: int) -> StoredVersion | None:
        """As `version`, from memory alone."""
        found: StoredVersion | None = self._cache.find(("version", account, secret, n))
        return found

    def cached_latest(self, account: str, secret: str) -> StoredVersion | None:
        """As `latest`, from memory alone."""
        found: StoredVersion | None = self._cache.find(("latest", account, secret))
        return found

    # Reads that wait only where the cache has nothing.

    async def head(self, account: str, kind: str, id: str) -> StoredDocument | None:
        """The newest revision, which may be a deleted one."""
        return (await self.heads(account, kind, [id])).get(id)

    async def heads(self, account: str, kind: str, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """The newest revisions by id; what doesn't exist is left out."""
        return await self._through(
            ids,
            lambda id: ("head", account, kind, id),
            lambda missing: self._reads.heads(account, kind, missing),
            lambda row: ("digest", account, row.digest),
        )

    async def by_name(self, account: str, kind: str, scope: str, identifier: str) -> StoredDocument | None:
        """The head that has this name and is not deleted."""
        return (await self.by_names(account, kind, [(scope, identifier)])).get((scope, identifier))

    async def by_names(
        self, account: str, kind: str, names: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], StoredDocument]:
        """The heads that are not deleted by (scope, identifier); what doesn't exist is left out."""
        return await self._through(
            names,
            lambda name: ("name", account, kind, *name),
            lambda missing: self._reads.by_names(account, kind, missing),
            lambda row: ("digest", account, row.digest),
        )

    async def by_digest(self, account: str, digests: Sequence[str]) -> dict[str, StoredDocument]:
        """Documents of any revision by digest; what doesn't exist is left out."""
        return await self._through(
            digests,
            lambda digest: ("digest", account, digest),
            lambda missing: self._reads.by_digests(account, missing),
        )

    async def version(self, account: str, secret: str, n: int) -> StoredVersion | None:
        """A version with its record; a deleted one has `deleted_at` and no record."""
        return (await self.version_many(account, [(secret, n)])).get((secret, n))

    async def version_many(
        self, account: str, places: Sequence[tuple[str, int]], largest: int | None = None
    ) -> dict[tuple[str, int], StoredVersion]:
        """Versions with their records by (secret, n); what doesn't exist is left out.

        Records of more than `largest` bytes may be left out of their rows, so that many can be asked for.
        """
        return await self._through(
            places,
            lambda place: ("version", account, *place),
            lambda missing: self._reads.version_many(account, missing, largest),
        )

    async def latest(self, account: str, secret: str) -> StoredVersion | None:
        """The newest version with its record; a deleted one has `deleted_at` and no record."""
        return (await self.latest_many(account, [secret])).get(secret)

    async def latest_many(
        self, account: str, secrets: Sequence[str], largest: int | None = None
    ) -> dict[str, StoredVersion]:
        """The newest versions with their records by secret; what doesn't exist is left out. `largest` as above."""
        return await self._through(
            secrets,
            lambda secret: ("latest", account, secret),
            lambda missing: self._reads.latest_many(account, missing, largest),
        )

    async def token_is_good(self, token_hash: str, now: int) -> bool:
        """Whether an account could be made with that one-time token."""
        return await self._read(self._reads.token_is_good, token_hash, now)

    async def account_exists(self, account: str) -> bool:
        """Whether a token was redeemed for this account."""
        key = ("account", account)
        if self._cache.find(key) is None:
            if await self.account(account) is None:
                return False
            # An account is never removed, so this can't go stale.
            self._cache.apply([(key, True, 0)])
        return True

    # Reads on the reader threads. `limit` is cut to 500 rows.

    async def account(self, account: str) -> AccountRow | None:
        """The account's row."""
        return await self._read(self._reads.account, account)

    async def accounts(self, after: str = "", limit: int = 100) -> Page[AccountRow]:
        """All accounts by id, for the operator; `after` is the `next` of the page before."""
        return await self._read(self._reads.accounts, after, limit)

    async def documents(
        self,
        account: str,
        kind: str,
        scope: str = "",
        *,
        below: bool = False,
        deleted: bool = False,
        after: str = "",
        limit: int = 100,
        sight: Sight | None = None,
    ) -> Page[StoredDocument]:
        """Heads of a kind by scope, identifier and id: of all scopes (""), of one, or of one and `below` it.

        `deleted` lists those too; only what `sight` shows is listed. `after` is the `next` of the page before; Malformed
        `page_malformed` otherwise.
        """
        return await self._read(self._reads.documents, account, kind, scope, below, deleted, after, limit, sight)

    async def history(
        self, account: str, kind: str, id: str, after_rev: int = 0, limit: int = 100
    ) -> list[StoredDocument]:
        """Revisions above `after_rev`, oldest first."""
        return await self._read(self._reads.history, account, kind, id, after_rev, limit)

    async def versions(self, account: str, secret: str, after_n: int = 0, limit: int = 100) -> list[StoredVersion]:
        """Versions above `after_n` without their records, oldest first."""
        return await self._read(self._reads.versions, account, secret, after_n, limit)

    async def task(self, account: str, task: str) -> TaskRow | None:
        """A task by its digest."""
        return await self._read(self._reads.task, account, task)

    async def tasks(
        self, account: str, *, principal: str = "", state: str = "", before: str = "", limit: int = 100
    ) -> Page[TaskRow]:
        """Tasks, the last submitted first; `before` is the `next` of the page before."""
        return await self._read(self._reads.tasks, account, before, limit, principal, state)

    async def queued(self, account: str, task: str) -> QueuedRow | None:
        """A task that waits for a delegate or did, with what is kept of it."""
        return await self._read(self._reads.queued, account, task)

    async def queue(self, after: str = "", limit: int = 500) -> Page[tuple[str, QueuedRow]]:
        """All of them of all accounts, each with its account, without what is kept of them."""
        return await self._read(self._reads.queue, after, limit)

    async def checks(
        self,
        account: str,
        scope: str,
        *,
        sight: Sight,
        connector: str = "",
        below: bool = False,
        after: str = "",
        limit: int = 100,
    ) -> Page[CheckRow]:
        """The newest tests of the connectors at a scope (and `below` it) that `sight` shows; of one, by its id."""
        return await self._read(self._reads.checks, account, connector, scope, below, after, limit, sight)

    async def rows(self, query: Select[Any]) -> list[Any]:
        """What a query over `manager.tables` finds, for what is asked too seldom to be kept in memory."""
        return await self._read(self._reads.rows, query)

    async def audit_page(self, account: str, after_seq: int = 0, limit: int = 100) -> list[AuditRow]:
        """Audit rows above `after_seq`, in order."""
        return await self._read(self._reads.audit, account, after_seq, limit)

    async def audit_head(self, account: str) -> AuditRow | None:
        """The newest audit row."""
        return await self._read(self._reads.audit_head, account)

    def _document(self, key: tuple[str, ...]) -> StoredDocument | None:
        found: StoredDocument | None = self._cache.find(key)
        return found

    async def _through(
        self,
        names: Sequence[K],
        key: Callable[[K], tuple[Any, ...]],
        read: Callable[[list[K]], dict[K, T]],
        lasting: Callable[[T], tuple[Any, ...]] | None = None,
    ) -> dict[K, T]:
        """`lasting` gives a key under which the same value stays for ever, so that it can't be overtaken by a write."""
        found: dict[K, T] = {}
        missing: list[K] = []
        for name in names:
            value = self._cache.find(key(name))
            if value is None:
                missing.append(name)
            else:
                found[name] = value
        if missing:
            keys = [key(name) for name in missing]
            mark = self._cache.expect(keys)
            try:
                for name, value in (await self._read(read, missing)).items():
                    if _is_whole(value):
                        self._cache.fill(mark, key(name), value, _cost(value))
                    if lasting is not None:
                        self._cache.apply([(lasting(value), value, _cost(value))])
                    found[name] = value
            finally:
                self._cache.forget(mark, keys)
        return found

    async def _read(self, read: Callable[..., T], *arguments: Any) -> T:
        if self._pool is None:
            raise RuntimeError("the store is not open")
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._pool, read, *arguments)
        except (SQLAlchemyError, TimeoutError):
            raise Unavailable(
                "store_unavailable",
                "the manager's database can't be read",
                "bring it back, then repeat the request",
            ) from None


def _is_whole(value: Any) -> bool:
    return not isinstance(value, StoredVersion) or value.record is not None or value.deleted_at is not None


def _cost(value: Any) -> int:
    return len(value.compact) + len(getattr(value, "record", None) or b"")
