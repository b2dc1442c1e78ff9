"""What one write may do to the database: the rules that hold at every insert, in the words of the domain.

A `Transaction` lives for one write on the writer's thread. It compares and sets: a document or version only follows the
newest one. What it changed is noted in `effects`, which reach the cache once the commit is durable. It never waits for
anything but the database, never reads a clock, and never looks into a document or record.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from manager.rows import CheckRow, QueuedRow, StoredDocument, StoredVersion, TaskRow
from manager.statements import Statements
from shared.errors import Conflict, Unauthenticated

MOST_CHECKERS = 16
"""Delegates whose newest test of a connector is kept."""

_OTHERS = {"connector": "secret", "secret": "connector"}

Effect = tuple[Hashable, Any, int]


class Transaction:
    """The methods raise Conflict or another of shared.errors to undo this write alone; others of its batch go on."""

    def __init__(self, connection: Connection, cursor: Any, statements: Statements) -> None:
        """`cursor` is one of the driver's on the same connection: SQLAlchemy's own calls would cost more than SQLite's."""
        self.connection = connection
        self._cursor = cursor
        self.effects: list[Effect] = []
        self._sql = statements

    def add_token(self, token_hash: str, created: int, expires: int) -> None:
        """A one-time token for making an account, by its hash."""
        self._run(self._sql.add_token, {"hash": token_hash, "created": created, "expires": expires, "used_at": None})

    def redeem_token(self, token_hash: str, now: int) -> None:
        """Uses a token up. Raises Unauthenticated, the same for unknown, used and expired ones."""
        if self._run(self._sql.redeem_token, {"b_hash": token_hash, "now": now}) != 1:
            raise token_refused()

    def add_account(self, account: str, created: int, name: str) -> None:
        """Raises Conflict `account_exists`."""
        if self._first(self._sql.account, {"account": account}) is not None:
            raise Conflict("account_exists", "the account exists already", "use it, or begin with a new root key")
        self._run(self._sql.add_account, {"account": account, "created": created, "name": name})
        self.effects.append((("account", account), True, 0))

    def publish(self, account: str, documents: Iterable[StoredDocument]) -> None:
        """Makes each document the head of its (kind, id), in order; all of them or, by raising, none.

        A document that is the head already is left as it is, so that a client may repeat a lost request.
        Raises Conflict: `field_immutable` for an id of another scope or kind; `document_changed` (facts kind, id, rev and
        digest of the head; rev 0 for none) unless it is the revision after the head and names it in `prev`;
        `name_taken` (facts kind, id and digest of the holder) where another head of the kind that is not deleted has its
        scope and identifier.
        """
        for document in documents:
            self._publish(account, document)

    def _publish(self, account: str, document: StoredDocument) -> None:
        values = {"account": account, **msgspec.structs.asdict(document)}
        found = self._first(self._sql.head, {k: values[k] for k in ("account", "kind", "id")})
        rev, digest, scope, identifier, deleted = found or (0, "", "", "", True)
        if rev and digest == document.digest:
            return
        if rev and document.kind != "grant" and document.scope != scope:
            # Without facts: what lives in the other scope may not be the caller's to see.
            raise Conflict(
                "field_immutable", f"the {document.kind}'s id belongs to another scope", "ids are made anew, at random"
            )
        if not rev:
            self._check_id(account, document)
        if document.rev != rev + 1 or document.prev != digest:
            raise Conflict(
                "document_changed",
                f"the {document.kind} document is not the revision after the newest one",
                "take the newest revision and sign the change again",
                kind=document.kind,
                id=document.id,
                rev=rev,
                digest=digest,
            )
        named = bool(document.identifier) and not document.deleted
        if named:
            place = {k: values[k] for k in ("account", "kind", "scope", "identifier", "id")}
            holder = self._first(self._sql.named, place)
            if holder is not None:
                raise Conflict(
                    "name_taken",
                    f"another {document.kind} of this scope has the identifier",
                    "choose another identifier, or change the one that exists",
                    kind=document.kind,
                    id=holder[0],
                    digest=holder[1],
                )
        self._run(self._sql.add_document, values)
        head = ("account", "kind", "id", "rev", "digest", "scope", "identifier", "deleted")
        self._run(self._sql.put_head, {k: values[k] for k in head})
        size = len(document.compact)
        if identifier and not deleted:
            self.effects.append((("name", account, document.kind, scope, identifier), None, 0))
        self.effects.append((("head", account, document.kind, document.id), document, size))
        self.effects.append((("digest", account, document.digest), document, size))
        if named:
            self.effects.append((("name", account, document.kind, document.scope, document.identifier), document, size))

    def _check_id(self, account: str, document: StoredDocument) -> None:
        """A grant that is narrowed to one thing names its id and not its kind: no two kinds may share one."""
        other = _OTHERS.get(document.kind)
        if other and self._first(self._sql.head, {"account": account, "kind": other, "id": document.id}) is not None:
            raise Conflict("field_immutable", f"the id belongs to a {other}", "ids are made anew, at random")

    def add_version(self, account: str, version: StoredVersion) -> StoredVersion:
        """Stores the version that follows the newest one; the stored row.

        Storing the same (secret, n, digest) again keeps and returns the first row, deleted or not: two delegates may
        have carried out one store task. Otherwise raises Conflict `version_exists` (facts n and digest of the newest;
        0 and "" for none) unless n is the next number and `prev` the newest one's digest.
        """
        last = self._first(self._sql.last_version, {"account": account, "secret": version.secret})
        n, digest = last or (0, "")
        if version.n != n + 1 or version.prev != digest:
            if 0 < version.n <= n:
                first = self._version(account, version.secret, version.n)
                if first.digest == version.digest:
                    return first
            raise Conflict(
                "version_exists",
                "the version doesn't follow the newest version of the secret",
                "take the newest version and sign the change again",
                n=n,
                digest=digest,
            )
        version = msgspec.structs.replace(version, size=len(version.record or b""), deleted_at=None)
        self._run(self._sql.add_version, {"account": account, **msgspec.structs.asdict(version)})
        size = version.size + len(version.compact)
        self.effects.append((("version", account, version.secret, version.n), version, size))
        self.effects.append((("latest", account, version.secret), version, size))
        return version

    def delete_versions(self, account: str, secret: str, now: int, numbers: Sequence[int] | None = None) -> list[int]:
        """Removes the records of these versions (all for None); the numbers that had one.

        The rows stay without their records, for a number is never given out twice.
        """
        live = [n for (n,) in self._all(self._sql.live_versions, {"account": account, "secret": secret})]
        doomed = sorted(n for n in live if numbers is None or n in numbers)
        for n in doomed:
            self._run(self._sql.delete_version, {"b_account": account, "b_secret": secret, "b_n": n, "now": now})
            self.effects.append((("version", account, secret, n), None, 0))
        self.effects.append((("latest", account, secret), None, 0))
        return doomed

    def put_task(self, account: str, task: TaskRow) -> None:
        """Writes what became of a task, over what was known of it before."""
        self._run(self._sql.put_task, {"account": account, **msgspec.structs.asdict(task)})

    def prune_tasks(self, before: int, limit: int = 1000) -> int:
        """Removes up to `limit` tasks of any account that finished before that second; how many."""
        return self._run(self._sql.prune_tasks, {"before": before, "limit": limit})

    def put_check(self, account: str, check: CheckRow) -> None:
        """Keeps a connector's newest test by that delegate; of other revisions none, and of other delegates the newest."""
        self._run(self._sql.put_check, {"account": account, **msgspec.structs.asdict(check)})
        place = {"account": account, "connector": check.connector, "revision": check.revision, "limit": MOST_CHECKERS}
        self._run(self._sql.thin_checks, place)

    def prune_checks(self, now: int, limit: int = 1000) -> int:
        """Removes up to `limit` tests of any account whose certificate has ended; how many."""
        return self._run(self._sql.prune_checks, {"now": now, "limit": limit})

    def put_queued(self, account: str, queued: QueuedRow) -> None:
        """Keeps a task that waits, over one of the same digest."""
        self._run(self._sql.put_queued, {"account": account, **msgspec.structs.asdict(queued)})

    def end_queued(self, account: str, task: str, state: str, code: str, now: int, outcome: bytes) -> bool:
        """Puts how a task ended in the place of what was submitted; whether it waited until then."""
        values = {"b_account": account, "b_task": task, "state": state, "code": code, "ended_at": now}
        return self._run(self._sql.end_queued, {**values, "size": len(outcome), "outcome": outcome}) == 1

    def drop_queued(self, account: str, tasks: Iterable[str]) -> None:
        """Removes these, ended or not."""
        for task in tasks:
            self._run(self._sql.drop_queued, {"account": account, "task": task})

    def probe(self, now: int) -> None:
        """Writes the one row that shows whether writing works."""
        self._run(self._sql.put_probe, {"id": 1, "at": now})

    def _version(self, account: str, secret: str, n: int) -> StoredVersion:
        found = self._first(self._sql.version, {"account": account, "secret": secret, "n": n})
        return StoredVersion(*found)

    def _run(self, sql: str, values: dict[str, Any]) -> int:
        """How many rows it changed."""
        self._cursor.execute(sql, values)
        return int(self._cursor.rowcount)

    def _all(self, sql: str, values: dict[str, Any]) -> list[Any]:
        self._cursor.execute(sql, values)
        rows: list[Any] = self._cursor.fetchall()
        return rows

    def _first(self, sql: str, values: dict[str, Any]) -> Any:
        rows = self._all(sql, values)
        return rows[0] if rows else None


def token_refused() -> Unauthenticated:
    """The same for a token that is unknown, used or expired."""
    return Unauthenticated(
        "token_refused",
        "the one-time token is unknown, used or expired",
        "ask the manager's operator for a new one (privyseal-manager account add)",
    )
