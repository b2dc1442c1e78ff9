"""Tasks are found by their principal and by being queued, without reading everybody's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates two indices."""
    op.create_index("tasks_by_principal", "tasks", ["account", "principal", "submitted_at", "task"])
    queued = sa.text("state = 'queued'")
    op.create_index("tasks_queued", "tasks", ["account"], sqlite_where=queued, postgresql_where=queued)
