"""The manager's store: signed documents, wrapped records and metadata, durable before anybody is answered.

Writes go through one thread that commits them in groups, each together with its audit entries or not at all. Reads of
heads, names, digests and versions come from a cache without leaving the event loop; the rest go to reader threads.
It must never import a cipher, read into what it keeps, or decide who may see it: every call names its account, and
deciding is the caller's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from manager.database import Database
from manager.lookup import Lookup
from manager.rows import AccountRow, AuditRow, CheckRow, Page, StoredDocument, StoredVersion, TaskRow
from manager.statements import Statements
from manager.store_cache import Cache
from manager.store_reads import Reads
from manager.store_writer import GroupCommit
from manager.tables import accounts
from manager.transaction import Transaction
from shared.audit import encode_entry
from shared.errors import PrivySealError, Unavailable

__all__ = [
    "AccountRow",
    "AuditRow",
    "Page",
    "Store",
    "StoredDocument",
    "StoredVersion",
    "TaskRow",
    "Transaction",
    "add_token",
    "list_accounts",
]

T = TypeVar("T")

AuditEntry = Mapping[str, str | int]


class Store(Lookup):
    """Opened by `async with` or `open`/`close`, on one event loop; all of its methods are called on that loop.

    `url`: see `Database`. `cache_bytes` bounds the cache; `waiting_writes` and `waiting_bytes` bound the writer's queue.
    Every method raises Unavailable `store_unavailable` where the database doesn't serve, and lists of more than 1,000
    names are Malformed `too_many`.
    """

    def __init__(
        self,
        url: str,
        *,
        readers: int = 2,
        cache_bytes: int = 64 * 2**20,
        waiting_writes: int = 4096,
        waiting_bytes: int = 256 * 2**20,
    ) -> None:
        """Opens nothing yet. Raises Malformed `store_url_malformed`."""
        self._database = Database(url, readers)
        super().__init__(Reads(self._database), Cache(cache_bytes))
        self._readers = readers
        self._limits = {"limit_writes": waiting_writes, "limit_bytes": waiting_bytes}
        self._writer: GroupCommit | None = None

    async def open(self) -> None:
        """Takes the lock, upgrades the schema and starts the threads.

        Raises Conflict `store_locked` (another manager has it) or `store_newer` (a newer one upgraded it).
        """
        connection = await asyncio.to_thread(self._database.open)
        self._pool = ThreadPoolExecutor(self._readers, "store-reader")
        self._writer = GroupCommit(
            connection, self._database.connect_writer, self._cache.apply, self._cache.clear, **self._limits
        )

    async def close(self) -> None:
        """Finishes the writes that wait, then gives everything back; may be called twice."""
        if self._writer is not None:
            await self._writer.close()
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        self._database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Writes.

    def write(
        self,
        run: Callable[[Transaction], T] | None,
        *,
        account: str,
        audit: Sequence[AuditEntry] = (),
        size: int = 0,
    ) -> Awaitable[T]:
        """Runs `run` on the writer's thread and gives its result once it and `audit` are durable.

        `run` must only use its Transaction: it may neither wait nor touch what belongs to the loop. What it raises is
        raised here, and then neither its changes nor `audit` are kept. `run` None writes the audit alone. `size` is the
        number of bytes that the write holds while it waits. Cancelling doesn't take it back.
        Raises Malformed for an entry that `shared.audit` refuses, Overloaded `store_busy` when too much is waiting, and
        Unavailable when the commit failed: nothing of it was kept.
        """
        entries = [(int(entry.get("at", 0)), encode_entry(entry)) for entry in audit]
        return self._writing().submit(run, account, entries, size)

    def audit(self, account: str, entries: Sequence[AuditEntry]) -> Awaitable[None]:
        """Appends to the account's audit chain; done when durable."""
        return self.write(None, account=account, audit=entries)

    def create_account(
        self,
        token_hash: str,
        row: AccountRow,
        documents: Sequence[StoredDocument],
        audit: Sequence[AuditEntry] = (),
    ) -> Awaitable[None]:
        """Redeems the token, makes the account and publishes its first documents, all or none; see Transaction."""

        def run(transaction: Transaction) -> None:
            transaction.redeem_token(token_hash, row.created)
            transaction.add_account(row.account, row.created, row.name)
            transaction.publish(row.account, documents)

        return self.write(run, account=row.account, audit=audit, size=_size(documents))

    def publish(
        self, account: str, documents: Sequence[StoredDocument], audit: Sequence[AuditEntry] = ()
    ) -> Awaitable[None]:
        """Publishes all of them or none; see `Transaction.publish` for its Conflicts."""
        return self.write(
            lambda transaction: transaction.publish(account, documents),
            account=account,
            audit=audit,
            size=_size(documents),
        )

    def add_version(
        self,
        account: str,
        version: StoredVersion,
        audit: Sequence[AuditEntry] = (),
        task: TaskRow | None = None,
    ) -> Awaitable[StoredVersion]:
        """Stores a version, and what became of its task; see `Transaction.add_version`."""

        def run(transaction: Transaction) -> StoredVersion:
            stored = transaction.add_version(account, version)
            if task is not None:
                transaction.put_task(account, task)
            return stored

        size = len(version.compact) + len(version.record or b"")
        return self.write(run, account=account, audit=audit, size=size)

    def delete_versions(
        self,
        account: str,
        secret: str,
        now: int,
        numbers: Sequence[int] | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Awaitable[list[int]]:
        """Removes records and leaves tombstones; see `Transaction.delete_versions`."""
        return self.write(
            lambda transaction: transaction.delete_versions(account, secret, now, numbers),
            account=account,
            audit=audit,
        )

    def put_task(
        self,
        account: str,
        task: TaskRow,
        audit: Sequence[AuditEntry] = (),
        beside: Callable[[Transaction], None] | None = None,
    ) -> Awaitable[None]:
        """Writes what became of a task, over what was known of it before, and `beside` with it or neither."""

        def run(transaction: Transaction) -> None:
            transaction.put_task(account, task)
            if beside is not None:
                beside(transaction)

        return self.write(run, account=account, audit=audit)

    def prune_tasks(self, before: int, limit: int = 1000) -> Awaitable[int]:
        """Removes up to `limit` tasks of any account that finished before that second; how many."""
        return self.write(lambda transaction: transaction.prune_tasks(before, limit), account="")

    def put_check(self, account: str, check: CheckRow) -> Awaitable[None]:
        """Keeps a connector's newest test by a delegate; see `Transaction.put_check`."""
        size = len(check.compact) + len(check.certificate)
        return self.write(lambda transaction: transaction.put_check(account, check), account=account, size=size)

    def prune_checks(self, now: int, limit: int = 1000) -> Awaitable[int]:
        """Removes up to `limit` tests of any account that nobody could believe any more; how many."""
        return self.write(lambda transaction: transaction.prune_checks(now, limit), account="")

    async def settled(self, account: str) -> None:
        """Waits until everything that was handed over before is durable, or has failed."""
        if self._writing().waiting_writes:
            await self.write(None, account=account)

    async def check(self) -> None:
        """For readiness: whether the writer gets an answer of its database; after a commit that failed it tries a real one.

        Raises Unavailable; a server that is silent is waited for.
        """
        if self._writing().failing:
            await self.write(lambda transaction: transaction.probe(int(time.time())), account="")
        else:
            await self.write(None, account="")

    def figures(self) -> dict[str, int]:
        """Counters and gauges for /metrics."""
        writer, cache = self._writing(), self._cache
        return {
            "batches": writer.batches,
            "writes": writer.writes,
            "failed_batches": writer.failures,
            "waiting_writes": writer.waiting_writes,
            "waiting_bytes": writer.waiting_bytes,
            "cache_bytes": cache.used_bytes,
            "cache_entries": len(cache),
            "cache_hits": cache.hits,
            "cache_misses": cache.misses,
        }

    def _writing(self) -> GroupCommit:
        if self._writer is None:
            raise RuntimeError("the store is not open")
        return self._writer


def add_token(url: str, token_hash: str, created: int, expires: int) -> None:
    """Adds a one-time token for making an account; for the operator's command, beside a running manager or without one.

    Blocks. Raises as `Store.open`, and Unavailable.
    """
    database = Database(url)
    try:
        with database.connect_beside() as connection, connection.begin():
            cursor = connection.connection.cursor()
            Transaction(connection, cursor, Statements(connection.dialect)).add_token(token_hash, created, expires)
    except PrivySealError:
        raise
    except Exception:  # noqa: BLE001 (each driver has errors of its own)
        raise Unavailable(
            "store_unavailable",
            "the manager's database can't be written",
            "free space on its disk, then try again",
        ) from None
    finally:
        database.close()


def list_accounts(url: str) -> list[AccountRow]:
    """Every account, by id; for the operator's command, beside a running manager or without one.

    Blocks. Raises as `Store.open`, and Unavailable.
    """
    database = Database(url)
    try:
        with database.connect_beside() as connection, connection.begin():
            rows = connection.execute(select(accounts).order_by(accounts.c.account)).all()
            return [AccountRow(*row) for row in rows]
    except SQLAlchemyError:
        raise Unavailable(
            "store_unavailable", "the manager's database can't be read", "bring it back, then try again"
        ) from None
    finally:
        database.close()


def _size(documents: Sequence[StoredDocument]) -> int:
    return sum(len(document.compact) for document in documents)
