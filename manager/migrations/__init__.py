"""Brings a database to this code's schema, in the caller's transaction, without an alembic.ini.

A database that a newer manager has upgraded is refused and left as it is. Revisions never change once released: they
spell their tables out instead of importing `manager.tables`, and a test compares the outcome with it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from shared.errors import Conflict


def upgrade(connection: Connection) -> None:
    """Runs what is missing. All or nothing, as far as the caller commits or rolls back its transaction.

    Raises Conflict `store_newer` where the database knows a revision that this code doesn't.
    """
    if not current(connection):
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current(connection: Connection) -> bool:
    """Whether nothing is missing. Raises Conflict `store_newer` as `upgrade` does."""
    script = ScriptDirectory.from_config(_config())
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found <= {revision.revision for revision in script.walk_revisions()}:
        raise Conflict(
            "store_newer",
            "the database was upgraded by a newer manager",
            "start that version or a later one, or restore the backup that was made before the upgrade",
        )
    return found == set(script.get_heads())


def _config() -> Config:
    config = Config()
    # The option passes through configparser, where a percent sign begins an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
