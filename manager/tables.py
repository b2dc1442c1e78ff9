"""The tables of the manager's database, as SQLAlchemy Core describes them.

Every table but `tokens`, `accounts` and `probe` is keyed by account first. They hold signed documents (compact JWS), wrapped records
(opaque bytes) and metadata, nothing that could be opened here. `manager/migrations` creates them; a test keeps the two
alike. No query lives here.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)
from sqlalchemy.dialects import postgresql

# Pages and scope prefixes compare text byte by byte, as SQLite does; a locale's order would differ.
TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("name", TEXT, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", TEXT, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

documents = Table(
    "documents",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("kind", TEXT, primary_key=True),
    Column("id", TEXT, primary_key=True),
    Column("rev", Integer, primary_key=True, autoincrement=False),
    Column("digest", TEXT, nullable=False),
    Column("prev", TEXT, nullable=False),
    Column("scope", TEXT, nullable=False),
    Column("identifier", TEXT, nullable=False),
    Column("signer", TEXT, nullable=False),
    Column("parent", TEXT, nullable=False),
    Column("iat", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("compact", TEXT, nullable=False),
    Index("documents_by_digest", "account", "digest", unique=True),
)

# The newest revision of each document: its own table, so that moving a head doesn't rewrite the signed text.
heads = Table(
    "heads",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("kind", TEXT, primary_key=True),
    Column("id", TEXT, primary_key=True),
    Column("rev", Integer, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("scope", TEXT, nullable=False),
    Column("identifier", TEXT, nullable=False),
    Column("deleted", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
_named = (heads.c.deleted == false()) & (heads.c.identifier != "")
Index("heads_by_place", heads.c.account, heads.c.kind, heads.c.scope, heads.c.identifier, heads.c.id)
Index(
    "heads_one_by_name",
    heads.c.account,
    heads.c.kind,
    heads.c.scope,
    heads.c.identifier,
    unique=True,
    sqlite_where=_named,
    postgresql_where=_named,
)

versions = Table(
    "versions",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("secret", TEXT, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("digest", TEXT, nullable=False),
    Column("prev", TEXT, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("keyring", TEXT, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("connector", TEXT, nullable=False),
    Column("signer", TEXT, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("delegate", TEXT, nullable=False),
    Column("deleted_at", BigInteger),
    Column("compact", TEXT, nullable=False),
    Column("record", LargeBinary),
)

tasks = Table(
    "tasks",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("task", TEXT, primary_key=True),
    Column("op", TEXT, nullable=False),
    Column("principal", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("code", TEXT, nullable=False),
    Column("delegate", TEXT, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("submitted_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("jti", TEXT, nullable=False),
    Column("keyring", TEXT, nullable=False),
    Column("scope", TEXT, nullable=False),
    Column("summary", TEXT, nullable=False),
    Index("tasks_by_time", "account", "submitted_at", "task"),
    Index("tasks_by_end", "finished_at"),
    # A person's own tasks must not cost the reading of everybody's.
    Index("tasks_by_principal", "account", "principal", "submitted_at", "task"),
)
# Only what may not run twice is ever queued here, and for seconds.
_queued = tasks.c.state == "queued"
Index("tasks_queued", tasks.c.account, sqlite_where=_queued, postgresql_where=_queued)

audit = Table(
    "audit",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("prev", TEXT, nullable=False),
    Column("hash", TEXT, nullable=False),
    Column("entry", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The newest test of each connector by each delegate, signed by that delegate; gone when nobody could believe it any more.
checks = Table(
    "checks",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("connector", TEXT, primary_key=True),
    Column("delegate", TEXT, primary_key=True),
    Column("revision", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("compact", TEXT, nullable=False),
    Column("certificate", TEXT, nullable=False),
    Index("checks_by_end", "expires"),
)

# Tasks that may wait for a delegate: as they were submitted until they end, then how they ended, both sealed.
queue = Table(
    "queue",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("task", TEXT, primary_key=True),
    Column("principal", TEXT, nullable=False),
    Column("priority", TEXT, nullable=False),
    Column("op", TEXT, nullable=False),
    Column("keyring", TEXT, nullable=False),
    Column("submitted_at", BigInteger, nullable=False),
    Column("exp", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("code", TEXT, nullable=False),
    Column("ended_at", BigInteger),
    Column("submission", LargeBinary),
    Column("outcome", LargeBinary),
    Index("queue_by_end", "ended_at"),
)

# The newest revision of each order, with the sealed input that its runs take; kept for a while after its end.
orders = Table(
    "orders",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("order", TEXT, primary_key=True),
    Column("owner", TEXT, nullable=False),
    Column("rev", Integer, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("exp", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("compact", TEXT, nullable=False),
    Column("input", LargeBinary),
    Index("orders_by_end", "exp"),
)

# Runs of orders, the last ones of each; what came of them is sealed to the order's owner.
runs = Table(
    "runs",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("order", TEXT, primary_key=True),
    Column("rev", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("run", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("code", TEXT, nullable=False),
    Column("delegate", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("skipped", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("outcome", LargeBinary),
    Column("output", LargeBinary),
)

# One row that `Store.check` rewrites to learn whether writing works again.
probe = Table(
    "probe",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
)
