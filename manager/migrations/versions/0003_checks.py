"""What delegates' own tests of connectors came to is kept, the newest of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates one table."""
    text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "checks",
        sa.Column("account", text, primary_key=True),
        sa.Column("connector", text, primary_key=True),
        sa.Column("delegate", text, primary_key=True),
        sa.Column("revision", text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("compact", text, nullable=False),
        sa.Column("certificate", text, nullable=False),
    )
    op.create_index("checks_by_end", "checks", ["expires"])
