"""Tasks that may wait for a delegate are kept, and how they ended, sealed, for a while after."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates one table."""
    text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "queue",
        sa.Column("account", text, primary_key=True),
        sa.Column("task", text, primary_key=True),
        sa.Column("principal", text, nullable=False),
        sa.Column("priority", text, nullable=False),
        sa.Column("op", text, nullable=False),
        sa.Column("keyring", text, nullable=False),
        sa.Column("submitted_at", sa.BigInteger, nullable=False),
        sa.Column("exp", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("code", text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("submission", sa.LargeBinary),
        sa.Column("outcome", sa.LargeBinary),
    )
    op.create_index("queue_by_end", "queue", ["ended_at"])
