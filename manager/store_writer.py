"""Group commit: one thread that takes every write waiting, commits them together and then answers all of them.

A write is answered only when it is durable together with its audit entries, or not at all: no audit row, no answer.
Each write runs in its own savepoint, so one that fails doesn't hurt the others; a commit that fails fails all of its
batch with Unavailable and leaves nothing of it behind; where a server was lost in the middle of a commit, it says that nobody knows.
The next batch simply tries again, so the store recovers by itself. Nothing here knows what a write does.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from manager.audit import Chains
from manager.statements import Statements
from manager.transaction import Effect, Transaction
from shared.errors import Overloaded, PrivySealError, Unavailable

T = TypeVar("T")

_log = structlog.get_logger()

_BATCH_WRITES = 512


class Write(msgspec.Struct, frozen=True, eq=False):
    """A write in the queue; `audit` holds (seconds, canonical JSON)."""

    run: Callable[[Transaction], Any] | None
    account: str
    audit: Sequence[tuple[int, bytes]]
    size: int
    answer: asyncio.Future[Any]


Outcome = tuple[Write, Any, Exception | None]


class GroupCommit:
    """The writer's thread and its queue. `connect` gives a connection that holds the store's lock.

    `apply` is told of what a batch did, `forget` when a commit may have done what nobody was told of.
    """

    def __init__(
        self,
        connection: Connection,
        connect: Callable[[], Connection],
        apply: Callable[[list[Effect]], None],
        forget: Callable[[], None],
        *,
        limit_writes: int,
        limit_bytes: int,
    ) -> None:
        self._connection: Connection | None = connection
        self._connect = connect
        self._apply = apply
        self._forget = forget
        self._dialect = connection.dialect
        self._statements = Statements(connection.dialect)
        driver: Any = connection.dialect.loaded_dbapi
        self._driver_error: type[Exception] = driver.Error
        # These are the fault of one statement; any other error of the driver means that the database doesn't serve.
        self._own_fault = (
            driver.DataError,
            driver.IntegrityError,
            driver.NotSupportedError,
            driver.ProgrammingError,
        )
        self._limit_writes = limit_writes
        self._limit_bytes = limit_bytes
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._chains = Chains(self._statements)
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.waiting_writes = 0
        self.waiting_bytes = 0
        self.batches = 0
        self.writes = 0
        self.failures = 0
        self.failing = False
        self._in_doubt = False
        """Whether a commit was lost whose end nobody knows: until another session has the lock, when the one that was lost is over."""
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        run: Callable[[Transaction], T] | None,
        account: str,
        audit: Sequence[tuple[int, bytes]],
        size: int,
    ) -> asyncio.Future[T]:
        """Queues a write that holds `size` bytes; call it on the loop. Raises Overloaded, and Unavailable once closed."""
        if self._closed:
            raise Unavailable("store_closed", "the manager is stopping", "try again in a few seconds")
        size += sum(len(entry) for _, entry in audit)
        if self.waiting_writes >= self._limit_writes or self.waiting_bytes + size > self._limit_bytes:
            raise Overloaded("store_busy", "too many writes are waiting for the manager's database", "try again later")
        self.waiting_writes += 1
        self.waiting_bytes += size
        answer: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Write(run, account, audit, size, answer))
        return answer

    async def close(self) -> None:
        """Takes no more writes, finishes those that wait, and closes the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # On the loop.

    def _answer(self, outcomes: list[Outcome], effects: list[Effect], failed: bool, forgetting: bool = False) -> None:
        # The cache is brought up to date before anybody hears of the write.
        if forgetting:
            self._forget()
        self._apply(effects)
        self.batches += 1
        self.writes += sum(write.run is not None or bool(write.audit) for write, _, _ in outcomes)
        self.failing = failed
        self.failures += failed
        for write, value, error in outcomes:
            self.waiting_writes -= 1
            self.waiting_bytes -= write.size
            if write.answer.done():
                continue  # its caller has gone
            if error is None:
                write.answer.set_result(value)
            else:
                write.answer.set_exception(error)

    # On the writer's thread.

    def _serve(self) -> None:
        running = True
        while running:
            batch: list[Write] = []
            item = self._queue.get()
            while item is not None:
                batch.append(item)
                # Where another connection has to be made, all hear at once whether it can: nobody waits for several tries.
                is_full = len(batch) >= _BATCH_WRITES and self._connection is not None
                if is_full or self._queue.empty():
                    break
                item = self._queue.get_nowait()
            running = item is not None
            if batch:
                self._report(*self._commit(batch))
        if self._connection is not None and self._dialect.name != "sqlite":
            # A server ends a session some time after it was closed, and the next manager may ask for the lock at once.
            with contextlib.suppress(Exception):
                self._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        self._drop_connection()

    def _report(self, outcomes: list[Outcome], effects: list[Effect], failed: bool) -> None:
        forgetting = self._in_doubt and not failed
        self._in_doubt &= failed
        # A closed loop has nobody left to be answered.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer, outcomes, effects, failed, forgetting)

    def _commit(self, batch: list[Write]) -> tuple[list[Outcome], list[Effect], bool]:
        is_committing = False
        try:
            connection = self._connected()
            with connection.begin() as transaction:
                outcomes, effects = self._run_all(connection, batch)
                if all(error is not None for _, _, error in outcomes):
                    transaction.rollback()
                is_committing = self._dialect.name != "sqlite"
            return outcomes, effects, False
        except Exception as error:  # noqa: BLE001 (each caller must be answered, and the next batch served)
            self._chains.forget()
            if self._connection is not None and self._is_broken(self._connection):
                self._drop_connection()
            _tell(error, len(batch))
            self._in_doubt |= is_committing
            return [(write, None, self._failure(error, is_committing)) for write in batch], [], True

    def _run_all(self, connection: Connection, batch: list[Write]) -> tuple[list[Outcome], list[Effect]]:
        outcomes: list[Outcome] = []
        effects: list[Effect] = []
        alone = len(batch) == 1  # rolled back as a whole, it needs no savepoint
        cursor = connection.connection.cursor()
        for write in batch:
            transaction = Transaction(connection, cursor, self._statements)
            # What changes nothing but the audit has nothing that it could leave half done.
            is_guarded = not alone and write.run is not None
            if is_guarded:
                cursor.execute("SAVEPOINT one")
            try:
                value = None if write.run is None else write.run(transaction)
            except Exception as error:
                if self._is_database(error):
                    raise
                if is_guarded:
                    cursor.execute("ROLLBACK TO SAVEPOINT one")
                    cursor.execute("RELEASE SAVEPOINT one")
                # The driver's own words could repeat a value.
                outcomes.append((write, None, _broken_rule(error) if self._is_driver(error) else error))
                continue
            if write.run is None and not write.audit:
                # For who asks whether the database is there: a server isn't asked anything by beginning and ending.
                cursor.execute("SELECT 1")
            if write.audit:
                self._chains.append(cursor, write.account, write.audit)
            if is_guarded:
                cursor.execute("RELEASE SAVEPOINT one")
            effects += transaction.effects
            outcomes.append((write, value, None))
        cursor.close()
        return outcomes, effects

    def _is_database(self, error: Exception) -> bool:
        """Whether the database itself doesn't serve, rather than one statement being at fault."""
        return self._is_driver(error) and not isinstance(getattr(error, "orig", None) or error, self._own_fault)

    def _is_driver(self, error: Exception) -> bool:
        return isinstance(error, DBAPIError | self._driver_error)

    def _failure(self, error: Exception, is_in_doubt: bool) -> Exception:
        if is_in_doubt:
            return Unavailable(
                "store_unavailable",
                "the manager's database was lost while it wrote; whether the request was kept isn't known",
                "bring the database back, look at whether it was, and repeat the request if not",
            )
        if isinstance(error, PrivySealError) or self._is_driver(error):
            return Unavailable(
                "store_unavailable",
                "the manager's database can't be written; nothing of the request was kept",
                "free space on the manager's disk or bring its database back, then repeat the request",
            )
        return _broken_rule(error)

    def _is_broken(self, connection: Connection) -> bool:
        # A server's connection may be gone without having said so; making another is cheap beside a failed commit.
        return self._dialect.name != "sqlite" or connection.closed or connection.in_transaction()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # It is given up, whatever it says to that.
            with contextlib.suppress(Exception):
                connection.close()


def _tell(error: Exception, count: int) -> None:
    # The disk that is full may hold the log as well; the writer's thread must outlive that.
    with contextlib.suppress(Exception):
        _log.error("store.commit_failed", error=_name(error), count=count)


def _name(error: Exception) -> str:
    """What went wrong, without the text of the error: that could repeat a value."""
    origin = getattr(error, "orig", None) or error
    if state := getattr(origin, "sqlstate", None):
        return f"SQLSTATE_{state}"
    return str(getattr(origin, "sqlite_errorname", "") or type(origin).__name__)


def _broken_rule(error: Exception) -> RuntimeError:
    return RuntimeError(f"a write broke the store's rules: {_name(error)}")
