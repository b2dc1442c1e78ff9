"""The statements of the write path, compiled once for one dialect.

SQLAlchemy builds them from the tables; running the finished text is several times cheaper than running the construct.
Parameters go by name, as a dictionary. Results come as the driver gives them (SQLite: booleans as 0 and 1).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Integer,
    Table,
    bindparam,
    delete,
    desc,
    false,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from manager.tables import accounts, audit, checks, documents, heads, probe, queue, tasks, tokens, versions


class Statements:
    """SQL text by purpose; parameters are the columns' names, `b_NAME` where one column is both compared and set."""

    def __init__(self, dialect: Dialect) -> None:
        def sql(statement: ClauseElement) -> str:
            return str(statement.compile(dialect=dialect))

        def adding(table: Table) -> str:
            return sql(insert(table).inline())

        def putting(table: Table) -> str:
            dialects: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
            statement = dialects[dialect.name](table)
            keys = [column.name for column in table.primary_key]
            rest = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
            return sql(statement.on_conflict_do_update(index_elements=keys, set_=rest).inline())

        # A literal limit still makes SQLite's compiler bind an offset, hence both.
        one, zero = literal_column("1", Integer), literal_column("0", Integer)
        self.account = sql(select(accounts.c.account).where(same(accounts, "account")))
        self.add_account = adding(accounts)
        self.add_token = adding(tokens)
        self.redeem_token = sql(
            update(tokens)
            .where(tokens.c.hash == bindparam("b_hash"))
            .where(tokens.c.used_at.is_(None))
            .where(tokens.c.expires > bindparam("now"))
            .values(used_at=bindparam("now"))
        )
        self.head = sql(
            select(heads.c.rev, heads.c.digest, heads.c.scope, heads.c.identifier, heads.c.deleted).where(
                same(heads, "account", "kind", "id")
            )
        )
        self.named = sql(
            select(heads.c.id, heads.c.digest)
            .where(same(heads, "account", "kind", "scope", "identifier"))
            .where(heads.c.deleted == false())
            .where(heads.c.id != bindparam("id"))
        )
        self.add_document = adding(documents)
        self.put_head = putting(heads)
        self.last_version = sql(
            select(versions.c.n, versions.c.digest)
            .where(same(versions, "account", "secret"))
            .order_by(desc(versions.c.n))
            .limit(one)
            .offset(zero)
        )
        self.version = sql(
            select(*[c for c in versions.c if c.name != "account"]).where(same(versions, "account", "secret", "n"))
        )
        self.add_version = adding(versions)
        self.live_versions = sql(
            select(versions.c.n).where(same(versions, "account", "secret")).where(versions.c.deleted_at.is_(None))
        )
        self.delete_version = sql(
            update(versions)
            .where(versions.c.account == bindparam("b_account"))
            .where(versions.c.secret == bindparam("b_secret"))
            .where(versions.c.n == bindparam("b_n"))
            .values(record=literal_column("NULL"), deleted_at=bindparam("now"))
        )
        self.put_task = putting(tasks)
        doomed = (
            select(tasks.c.account, tasks.c.task)
            .where(tasks.c.finished_at < bindparam("before"))
            .limit(bindparam("limit"))
            .offset(zero)
        )
        self.prune_tasks = sql(delete(tasks).where(tuple_(tasks.c.account, tasks.c.task).in_(doomed)))
        self.put_check = putting(checks)
        newest = (
            select(checks.c.delegate)
            .where(same(checks, "account", "connector"))
            .order_by(desc(checks.c.at), checks.c.delegate)
            .limit(bindparam("limit"))
            .offset(zero)
        )
        self.thin_checks = sql(
            delete(checks)
            .where(same(checks, "account", "connector"))
            .where((checks.c.revision != bindparam("revision")) | checks.c.delegate.not_in(newest))
        )
        ended = (
            select(checks.c.account, checks.c.connector, checks.c.delegate)
            .where(checks.c.expires <= bindparam("now"))
            .limit(bindparam("limit"))
            .offset(zero)
        )
        ids = tuple_(checks.c.account, checks.c.connector, checks.c.delegate)
        self.prune_checks = sql(delete(checks).where(ids.in_(ended)))
        self.put_queued = putting(queue)
        self.end_queued = sql(
            update(queue)
            .where(queue.c.account == bindparam("b_account"))
            .where(queue.c.task == bindparam("b_task"))
            .where(queue.c.ended_at.is_(None))
            .values(
                **{name: bindparam(name) for name in ("state", "code", "ended_at", "size", "outcome")},
                submission=literal_column("NULL"),
            )
        )
        self.drop_queued = sql(delete(queue).where(same(queue, "account", "task")))
        self.audit_head = sql(
            select(audit.c.seq, audit.c.hash)
            .where(same(audit, "account"))
            .order_by(desc(audit.c.seq))
            .limit(one)
            .offset(zero)
        )
        self.add_audit = adding(audit)
        self.put_probe = putting(probe)


def same(table: Table, *names: str) -> ColumnElement[bool]:
    """That each of the columns equals the parameter of its name."""
    first, *others = [table.c[name] == bindparam(name) for name in names]
    for other in others:
        first = first & other
    return first
