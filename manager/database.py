"""The database itself: where it is, who may open it, its connections and its schema.

SQLite in a file (0600, WAL, every commit synced) or PostgreSQL by URL. One manager at a time: a lock is held on a file
beside the SQLite file, or on the PostgreSQL session that writes, so that a manager which lost its lock can't write. An error never
shows the URL, which may hold a password. No table is known here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from manager.migrations import current, upgrade
from shared.errors import Conflict, Malformed, Unavailable

# The first eight bytes of SHA-256("privyseal/v1/store"), signed: PostgreSQL's advisory locks are plain numbers.
_ADVISORY_LOCK = -6397153096727594853

LOCK_MILLISECONDS = 5_000
"""How long a lock that somebody else holds on the database is waited for; then requests end as unavailable instead of never."""

_SQLITE_COMMON = (f"PRAGMA busy_timeout={LOCK_MILLISECONDS}", "PRAGMA trusted_schema=OFF")
_SQLITE_WRITER = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    # A deleted record must not linger in a free page.
    "PRAGMA secure_delete=ON",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
)
# A network that has gone silent must not hold the writer (libpq's keywords; seconds, the last one milliseconds). A server that has:
# manager.postgresql.
_POSTGRESQL = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "tcp_user_timeout": 30000,
}
_SQLITE_READER = ("PRAGMA query_only=ON",)


class Database:
    """A database by its URL: `sqlite:////var/lib/privyseal/manager.db` or `postgresql://user@host/name`."""

    def __init__(self, url: str, readers: int = 2) -> None:
        """Opens nothing yet. Raises Malformed for a URL that is neither."""
        self._url = _parse(url)
        self.sqlite = self._url.get_backend_name() == "sqlite"
        self._lock: int | None = None
        self._writer = self._engine(_SQLITE_WRITER, "BEGIN IMMEDIATE", poolclass=NullPool)
        self._reader = self._engine(
            _SQLITE_READER, "BEGIN", pool_size=readers, max_overflow=0, pool_pre_ping=not self.sqlite
        )

    def open(self) -> Connection:
        """The writer's connection: files made, lock taken, schema brought up to date.

        Raises Conflict (`store_locked`, `store_newer`) or Unavailable; then nothing stays locked or half upgraded.
        """
        try:
            if self.sqlite:
                self._create_file()
                self._lock_file()
            connection = self.connect_writer()
            try:
                with connection.begin(), self._unbounded(connection):
                    upgrade(connection)
            except BaseException:
                connection.close()
                raise
            return connection
        except BaseException as error:
            self.close()
            if isinstance(error, DBAPIError | OSError):
                raise _unopened() from None
            raise

    def connect_writer(self) -> Connection:
        """A connection that may write, holding the lock. Raises Conflict `store_locked`, or DBAPIError."""
        connection = self._writer.connect()
        if not self.sqlite:
            with connection.begin():
                won = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}).scalar()
            if not won:
                connection.close()
                raise _locked()
        return connection

    def connect_reader(self) -> Connection:
        """A pooled connection that can't write; close it to give it back."""
        return self._reader.connect()

    def connect_beside(self) -> Connection:
        """A connection for a short command while a manager may be running; upgrades only where none is.

        Raises Conflict `store_locked` for a running manager of another version, and as `open` does.
        """
        try:
            if not self.sqlite or self._path().exists():
                connection = self._writer.connect()
                try:
                    with connection.begin():
                        ready = current(connection)
                except BaseException:
                    connection.close()
                    raise
                if ready:
                    return connection
                connection.close()
            return self.open()
        except (DBAPIError, OSError):
            raise _unopened() from None

    def close(self) -> None:
        """Gives the pooled connections and the lock back; may be called twice."""
        self._reader.dispose()
        self._writer.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _path(self) -> Path:
        return Path(str(self._url.database))

    def _create_file(self) -> None:
        path = self._path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of the database file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    def _lock_file(self) -> None:
        path = self._path()
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise _locked() from None
            raise
        self._lock = lock

    @contextmanager
    def _unbounded(self, connection: Connection) -> Iterator[None]:
        """While the schema is upgraded a statement takes as long as the tables are large."""
        if self.sqlite:
            yield
            return
        bounded: Any = connection.connection.dbapi_connection
        seconds, bounded.silent_seconds = bounded.silent_seconds, None
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        try:
            yield
        finally:
            bounded.silent_seconds = seconds

    def _engine(self, pragmas: tuple[str, ...], begin: str, **options: Any) -> Engine:
        # Parameters are kept out of exceptions: an error must never repeat a value.
        if not self.sqlite:
            # Late: the extra that SQLite doesn't need.
            from manager.postgresql import CONNECT_SECONDS, Bounded

            arguments = {**_POSTGRESQL, "connect_timeout": CONNECT_SECONDS}
            engine = create_engine(self._url, hide_parameters=True, connect_args=arguments, **options)
            event.listen(
                engine, "do_connect", lambda _dialect, _record, cargs, cparams: Bounded.connect(*cargs, **cparams)
            )
            event.listen(engine, "connect", _bound_waiting)
            return engine
        engine = create_engine(self._url, hide_parameters=True, paramstyle="named", **options)

        def connected(connection: Any, _record: Any) -> None:
            # Python's sqlite3 would begin transactions by itself, too late and never before DDL.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (*_SQLITE_COMMON, *pragmas):
                cursor.execute(pragma)
            cursor.close()

        def began(connection: Connection) -> None:
            # By the driver itself: to SQLAlchemy it is a statement like any other, which costs as much as several inserts.
            driver: Any = connection.connection.dbapi_connection
            try:
                driver.execute(begin)
            except driver.Error as why:
                raise DBAPIError(begin, None, why) from None

        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", began)
        return engine


def _bound_waiting(connection: Any, _record: Any) -> None:
    # Else for ever. Outside of a transaction, with which it would be rolled back; and libpq's `options` belong to the URL.
    # A statement whose asker has given it up ends soon after, and with it the session's lock.
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = {LOCK_MILLISECONDS}")
    connection.execute(f"SET statement_timeout = {int(connection.silent_seconds * 1000)}")
    connection.autocommit = False


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is not None:
        if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:" and not parsed.query:
            return parsed
        if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
            return parsed.set(drivername="postgresql+psycopg")
    raise Malformed(
        "store_url_malformed",
        "the database URL is not one that the manager understands",
        "write sqlite:////absolute/path/manager.db or postgresql://user@host/name",
    )


def _locked() -> Conflict:
    return Conflict(
        "store_locked",
        "another manager has this database open",
        "stop it first; one database serves one manager",
    )


def _unopened() -> Unavailable:
    return Unavailable(
        "store_unavailable",
        "the manager's database can't be opened",
        "check that its file or server exists, may be read and written by this user, and has space left",
    )
