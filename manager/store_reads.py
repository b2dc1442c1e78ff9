"""The queries of the read path: rows by account, in bounded pages, on the reader's connections.

Every function blocks and belongs on a reader's thread. None of them writes, caches or decides who may see a row.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Table, and_, case, false, func, null, or_, select, true, tuple_

from manager.database import Database
from manager.rows import AccountRow, AuditRow, CheckRow, Page, QueuedRow, Sight, StoredDocument, StoredVersion, TaskRow
from manager.tables import accounts, audit, checks, documents, heads, queue, tasks, tokens, versions
from shared.errors import Malformed

PAGE_LIMIT = 500
MANY_LIMIT = 1000
# How many names one statement carries: far below SQLite's limit of parameters.
_CHUNK = 400


def _columns(table: Table) -> list[ColumnElement[Any]]:
    return [column for column in table.c if column.name != "account"]


_document = select(*_columns(documents))
_version = select(*_columns(versions))
_version_without_record = select(*_columns(versions)[:-1], null().label("record"))
_task = select(*_columns(tasks))
_is_head = and_(*(heads.c[name] == documents.c[name] for name in ("account", "kind", "id", "rev")))
_place = (heads.c.scope, heads.c.identifier, heads.c.id)


class Reads:
    """Queries by account; `limit` is cut to 500 rows and lists of names above 1,000 are refused as Malformed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def account(self, account: str) -> AccountRow | None:
        """The account's row."""
        found = self._rows(select(accounts).where(accounts.c.account == account))
        return AccountRow(*found[0]) if found else None

    def token_is_good(self, token_hash: str, now: int) -> bool:
        """Whether that one-time token is known, unused and in time."""
        query = select(tokens.c.hash).where(
            tokens.c.hash == token_hash, tokens.c.used_at.is_(None), tokens.c.expires > now
        )
        return bool(self._rows(query))

    def accounts(self, after: str, limit: int) -> Page[AccountRow]:
        """Accounts by id."""
        limit = _limit(limit)
        query = select(accounts).where(accounts.c.account > after).order_by(accounts.c.account).limit(limit + 1)
        rows = [AccountRow(*row) for row in self._rows(query)]
        return Page(rows[:limit], rows[limit - 1].account if len(rows) > limit else "")

    def heads(self, account: str, kind: str, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """The newest revisions, by id."""
        query = _document.join(heads, _is_head).where(heads.c.account == account, heads.c.kind == kind)
        return {
            row.id: row
            for chunk in _chunks(ids)
            for row in map(_to_document, self._rows(query.where(heads.c.id.in_(chunk))))
        }

    def by_names(
        self, account: str, kind: str, names: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], StoredDocument]:
        """The heads that are not deleted, by (scope, identifier)."""
        query = _document.join(heads, _is_head).where(
            heads.c.account == account, heads.c.kind == kind, heads.c.deleted.is_(False)
        )
        return {
            (row.scope, row.identifier): row
            for chunk in _chunks(names)
            for row in map(_to_document, self._rows(query.where(tuple_(heads.c.scope, heads.c.identifier).in_(chunk))))
        }

    def by_digests(self, account: str, digests: Sequence[str]) -> dict[str, StoredDocument]:
        """Any revisions, by digest."""
        query = _document.where(documents.c.account == account)
        return {
            row.digest: row
            for chunk in _chunks(digests)
            for row in map(_to_document, self._rows(query.where(documents.c.digest.in_(chunk))))
        }

    def documents(
        self,
        account: str,
        kind: str,
        scope: str,
        below: bool,
        deleted: bool,
        after: str,
        limit: int,
        sight: Sight | None,
    ) -> Page[StoredDocument]:
        """Heads of one kind ordered by scope, identifier and id; see `Store.documents`."""
        limit = _limit(limit)
        query = _document.join(heads, _is_head).where(heads.c.account == account, heads.c.kind == kind)
        if scope:
            query = query.where(_below(scope) if below else heads.c.scope == scope)
        if sight is not None:
            query = query.where(_seen(sight))
        if not deleted:
            query = query.where(heads.c.deleted.is_(False))
        if after:
            query = query.where(tuple_(*_place) > tuple_(*_unmark(after, (str, str, str))))
        rows = [_to_document(row) for row in self._rows(query.order_by(*_place).limit(limit + 1))]
        return _page(rows, limit, lambda row: (row.scope, row.identifier, row.id))

    def history(self, account: str, kind: str, id: str, after_rev: int, limit: int) -> list[StoredDocument]:
        """Revisions above `after_rev`, oldest first."""
        query = (
            _document.where(documents.c.account == account, documents.c.kind == kind, documents.c.id == id)
            .where(documents.c.rev > after_rev)
            .order_by(documents.c.rev)
        )
        return [_to_document(row) for row in self._rows(query.limit(_limit(limit)))]

    def versions(self, account: str, secret: str, after_n: int, limit: int) -> list[StoredVersion]:
        """Versions above `after_n` without their records, oldest first."""
        query = (
            _version_without_record.where(versions.c.account == account, versions.c.secret == secret)
            .where(versions.c.n > after_n)
            .order_by(versions.c.n)
        )
        return [StoredVersion(*row) for row in self._rows(query.limit(_limit(limit)))]

    def version_many(
        self, account: str, places: Sequence[tuple[str, int]], largest: int | None
    ) -> dict[tuple[str, int], StoredVersion]:
        """Versions with their records, but for those larger than `largest` bytes, by (secret, n)."""
        query = _up_to(largest).where(versions.c.account == account)
        return {
            (row.secret, row.n): row
            for chunk in _chunks(places)
            for row in (
                StoredVersion(*found)
                for found in self._rows(query.where(tuple_(versions.c.secret, versions.c.n).in_(chunk)))
            )
        }

    def latest_many(self, account: str, secrets: Sequence[str], largest: int | None) -> dict[str, StoredVersion]:
        """The newest versions with their records, but for those larger than `largest` bytes, by secret."""
        other = versions.alias()
        newest = (
            select(func.max(other.c.n))
            .where(other.c.account == versions.c.account, other.c.secret == versions.c.secret)
            .scalar_subquery()
        )
        query = _up_to(largest).where(versions.c.account == account, versions.c.n == newest)
        return {
            row.secret: row
            for chunk in _chunks(secrets)
            for row in (StoredVersion(*found) for found in self._rows(query.where(versions.c.secret.in_(chunk))))
        }

    def task(self, account: str, task: str) -> TaskRow | None:
        """A task by its digest."""
        found = self._rows(_task.where(tasks.c.account == account, tasks.c.task == task))
        return TaskRow(*found[0]) if found else None

    def tasks(self, account: str, before: str, limit: int, principal: str, state: str) -> Page[TaskRow]:
        """Tasks, the last submitted first."""
        limit = _limit(limit)
        query = _task.where(tasks.c.account == account)
        if principal:
            query = query.where(tasks.c.principal == principal)
        if state:
            query = query.where(tasks.c.state == state)
        order = (tasks.c.submitted_at, tasks.c.task)
        if before:
            query = query.where(tuple_(*order) < tuple_(*_unmark(before, (int, str))))
        query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)
        rows = [TaskRow(*row) for row in self._rows(query)]
        return _page(rows, limit, lambda row: (row.submitted_at, row.task))

    def queued(self, account: str, task: str) -> QueuedRow | None:
        """A task that waits or did, with what is kept of it."""
        found = self._rows(select(*_columns(queue)).where(queue.c.account == account, queue.c.task == task))
        return QueuedRow(*found[0]) if found else None

    def queue(self, after: str, limit: int) -> Page[tuple[str, QueuedRow]]:
        """Those of all accounts with their account, without what is kept of them."""
        limit = _limit(limit)
        kept = [column for column in _columns(queue) if column.name not in {"submission", "outcome"}]
        place = (queue.c.account, queue.c.task)
        query = select(queue.c.account, *kept).order_by(*place).limit(limit + 1)
        if after:
            query = query.where(tuple_(*place) > tuple_(*_unmark(after, (str, str))))
        rows = [(str(account), QueuedRow(*row)) for account, *row in self._rows(query)]
        return _page(rows, limit, lambda row: (row[0], row[1].task))

    def checks(
        self, account: str, connector: str, scope: str, below: bool, after: str, limit: int, sight: Sight
    ) -> Page[CheckRow]:
        """Tests of living connectors' newest revisions, by connector and delegate; of one where `connector` names it."""
        limit = _limit(limit)
        living = and_(
            heads.c.account == checks.c.account,
            heads.c.kind == "connector",
            heads.c.id == checks.c.connector,
            heads.c.digest == checks.c.revision,
        )
        query = select(*_columns(checks)).join(heads, living).where(checks.c.account == account, _seen(sight))
        query = query.where(heads.c.deleted.is_(False), _below(scope) if below else heads.c.scope == scope)
        if connector:
            query = query.where(checks.c.connector == connector)
        order = (checks.c.connector, checks.c.delegate)
        if after:
            query = query.where(tuple_(*order) > tuple_(*_unmark(after, (str, str))))
        rows = [CheckRow(*row) for row in self._rows(query.order_by(*order).limit(limit + 1))]
        return _page(rows, limit, lambda row: (row.connector, row.delegate))

    def audit(self, account: str, after_seq: int, limit: int) -> list[AuditRow]:
        """Audit rows above `after_seq`, in order."""
        columns = [audit.c[name] for name in ("seq", "prev", "hash", "entry", "at")]
        query = select(*columns).where(audit.c.account == account, audit.c.seq > after_seq)
        return [AuditRow(*row) for row in self._rows(query.order_by(audit.c.seq).limit(_limit(limit)))]

    def audit_head(self, account: str) -> AuditRow | None:
        """The newest audit row."""
        columns = [audit.c[name] for name in ("seq", "prev", "hash", "entry", "at")]
        query = select(*columns).where(audit.c.account == account).order_by(audit.c.seq.desc()).limit(1)
        found = self._rows(query)
        return AuditRow(*found[0]) if found else None

    def rows(self, query: Select[Any]) -> list[Any]:
        """What a query finds."""
        return self._rows(query)

    def _rows(self, query: Select[Any]) -> list[Any]:
        with self._database.connect_reader() as connection:
            return list(connection.execute(query).all())


def _to_document(row: Any) -> StoredDocument:
    return StoredDocument(*row)


def _up_to(largest: int | None) -> Select[Any]:
    if largest is None:
        return _version
    return select(*_columns(versions)[:-1], case((versions.c.size <= largest, versions.c.record)).label("record"))


def _below(scope: str) -> ColumnElement[bool]:
    if scope == "account":
        return true()
    # "0" is the character after "/", so that this is the index range of what begins with the scope.
    return or_(heads.c.scope == scope, and_(heads.c.scope >= scope + "/", heads.c.scope < scope + "0"))


def _seen(sight: Sight) -> ColumnElement[bool]:
    things: dict[str, list[str]] = {}
    for scope, id in sight.things:
        things.setdefault(scope, []).append(id)
    return or_(
        false(),
        heads.c.scope.in_(sight.at),
        *map(_below, sight.below),
        *(and_(_below(scope), heads.c.id.in_(ids)) for scope, ids in things.items()),
    )


def _limit(limit: int) -> int:
    return max(1, min(limit, PAGE_LIMIT))


def _chunks(names: Sequence[Any]) -> Iterator[Sequence[Any]]:
    if len(names) > MANY_LIMIT:
        raise Malformed("too_many", "the request names too many things at once", f"ask for at most {MANY_LIMIT}")
    names = list(dict.fromkeys(names))
    for at in range(0, len(names), _CHUNK):
        yield names[at : at + _CHUNK]


def _page(rows: list[Any], limit: int, place: Any) -> Page[Any]:
    more = len(rows) > limit
    mark = base64.urlsafe_b64encode(msgspec.json.encode(place(rows[limit - 1]))).decode() if more else ""
    return Page(rows[:limit], mark)


def _unmark(mark: str, types: tuple[type, ...]) -> list[Any]:
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(mark), type=list[str | int])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        place = []
    if [type(part) for part in place] != list(types) or any(type(part) is int and abs(part) >= 2**53 for part in place):
        raise Malformed("page_malformed", "the page mark is not one that this list gave", "begin with the first page")
    return place
