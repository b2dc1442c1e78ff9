"""Appends to the audit chains: one per account, in the transaction of the write that each entry tells of.

The heads are kept in memory and read from the database where they aren't. After a failed commit they may be ahead of
it: `forget` then. Belongs to the writer's thread; what an entry may say is in `shared.audit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manager.statements import Statements
from shared.audit import Head, entry_hash
from shared.canonical import b64u, unb64u

# Beyond this many accounts the heads are read again.
_HEADS = 10_000


class Chains:
    """The heads of the accounts' chains."""

    def __init__(self, statements: Statements) -> None:
        self._sql = statements
        self._heads: dict[str, Head] = {}

    def append(self, cursor: Any, account: str, entries: Sequence[tuple[int, bytes]]) -> None:
        """Writes entries, (seconds, canonical JSON) each, on the driver's cursor. Raises what the driver raises."""
        head = self._heads.get(account) or self._read(cursor, account)
        for at, entry in entries:
            following = Head(head.seq + 1, entry_hash(head.hash, entry))
            row = {
                "account": account,
                "seq": following.seq,
                "prev": b64u(head.hash),
                "hash": b64u(following.hash),
                "entry": entry.decode("ascii"),
                "at": at,
            }
            cursor.execute(self._sql.add_audit, row)
            head = following
        if len(self._heads) >= _HEADS:
            self._heads.clear()
        self._heads[account] = head

    def forget(self) -> None:
        """Reads every head again before its next use."""
        self._heads.clear()

    def _read(self, cursor: Any, account: str) -> Head:
        cursor.execute(self._sql.audit_head, {"account": account})
        rows = cursor.fetchall()
        return Head(rows[0][0], unb64u(rows[0][1], 32)) if rows else Head()
