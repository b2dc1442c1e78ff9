"""The first schema: accounts, tokens, documents with their heads, versions, tasks, audit.

Spelt out and never changed again: a database that ran it must be what a fresh one becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates every table and index."""
    text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "accounts",
        sa.Column("account", text, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("name", text, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", text, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_table(
        "documents",
        sa.Column("account", text, primary_key=True),
        sa.Column("kind", text, primary_key=True),
        sa.Column("id", text, primary_key=True),
        sa.Column("rev", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", text, nullable=False),
        sa.Column("prev", text, nullable=False),
        sa.Column("scope", text, nullable=False),
        sa.Column("identifier", text, nullable=False),
        sa.Column("signer", text, nullable=False),
        sa.Column("parent", text, nullable=False),
        sa.Column("iat", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("compact", text, nullable=False),
    )
    op.create_index("documents_by_digest", "documents", ["account", "digest"], unique=True)
    op.create_table(
        "heads",
        sa.Column("account", text, primary_key=True),
        sa.Column("kind", text, primary_key=True),
        sa.Column("id", text, primary_key=True),
        sa.Column("rev", sa.Integer, nullable=False),
        sa.Column("digest", text, nullable=False),
        sa.Column("scope", text, nullable=False),
        sa.Column("identifier", text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("heads_by_place", "heads", ["account", "kind", "scope", "identifier", "id"])
    named = (sa.column("deleted", sa.Boolean) == sa.false()) & (sa.column("identifier", text) != "")
    op.create_index(
        "heads_one_by_name",
        "heads",
        ["account", "kind", "scope", "identifier"],
        unique=True,
        sqlite_where=named,
        postgresql_where=named,
    )
    op.create_table(
        "versions",
        sa.Column("account", text, primary_key=True),
        sa.Column("secret", text, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", text, nullable=False),
        sa.Column("prev", text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("keyring", text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("connector", text, nullable=False),
        sa.Column("signer", text, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("delegate", text, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("compact", text, nullable=False),
        sa.Column("record", sa.LargeBinary),
    )
    op.create_table(
        "tasks",
        sa.Column("account", text, primary_key=True),
        sa.Column("task", text, primary_key=True),
        sa.Column("op", text, nullable=False),
        sa.Column("principal", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("code", text, nullable=False),
        sa.Column("delegate", text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("submitted_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("jti", text, nullable=False),
        sa.Column("keyring", text, nullable=False),
        sa.Column("scope", text, nullable=False),
        sa.Column("summary", text, nullable=False),
    )
    op.create_index("tasks_by_time", "tasks", ["account", "submitted_at", "task"])
    op.create_index("tasks_by_end", "tasks", ["finished_at"])
    op.create_table(
        "audit",
        sa.Column("account", text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("prev", text, nullable=False),
        sa.Column("hash", text, nullable=False),
        sa.Column("entry", text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "probe",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
