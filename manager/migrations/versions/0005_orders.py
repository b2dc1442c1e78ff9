"""Orders are kept with the sealed input of their runs, and the last runs of each with what came of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates two tables."""
    text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "orders",
        sa.Column("account", text, primary_key=True),
        sa.Column("order", text, primary_key=True),
        sa.Column("owner", text, nullable=False),
        sa.Column("rev", sa.Integer, nullable=False),
        sa.Column("published_at", sa.BigInteger, nullable=False),
        sa.Column("exp", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("compact", text, nullable=False),
        sa.Column("input", sa.LargeBinary),
    )
    op.create_index("orders_by_end", "orders", ["exp"])
    op.create_table(
        "runs",
        sa.Column("account", text, primary_key=True),
        sa.Column("order", text, primary_key=True),
        sa.Column("rev", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("code", text, nullable=False),
        sa.Column("delegate", text, nullable=False),
        sa.Column("name", text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.LargeBinary),
        sa.Column("output", sa.LargeBinary),
    )
