"""The audit: listed, and verified link by link against what this client saw of it before.

Promises: a change, a gap, a fork or an end that was cut off is found and named. Must not repair anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from client.account import Account, page_of
from shared.audit import Head, Link, verify
from shared.errors import Malformed, Tampered

PAGE = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many entries hold together, up to which head, and how far it had been verified before."""

    entries: int
    head: Head
    before: Head


class Audit:
    """One account's."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def entries(self, after: int = 0, most: int = 0) -> AsyncIterator[Link]:
        """The entries after number `after`, at most `most` of them (0: all). Unverified."""
        given = 0
        while True:
            limit = min(PAGE, most - given) if most else PAGE
            reply = await self._account.ask("GET", "audit", query={"after": after, "limit": limit})
            page, following = page_of(reply, "entries")
            for told in page:
                try:
                    link = msgspec.convert(told, Link)
                except msgspec.ValidationError:
                    raise Malformed(
                        "manager_faulty",
                        "the manager shows an audit entry in a form that is none",
                        "update one of both",
                    ) from None
                yield link
                after, given = link.seq, given + 1
            if following is None or not page or (most and given >= most):
                return

    async def verify(self, *, since_last: bool = False) -> Verdict:
        """Recomputes the chain, from its beginning or from where the last run ended. Raises Tampered."""
        known = self._account.state.audit
        head, count = (known if since_last else Head()), 0
        batch: list[Link] = []
        async for link in self.entries(head.seq):
            batch.append(link)
            if len(batch) == PAGE or link.seq == known.seq:
                head, count, batch = verify(batch, head), count + len(batch), []
                self._compare(head, known)
        head, count = verify(batch, head), count + len(batch)
        if head.seq < known.seq:
            raise Tampered(
                "audit_truncated",
                f"the audit ends at entry {head.seq}; entry {known.seq} was seen before",
                "the manager was restored from an old backup, or somebody cut the audit off",
                seq=head.seq,
                seen=known.seq,
            )
        self._account.state.take_audit(head)
        self._account.state.save()
        return Verdict(count, head, known)

    @staticmethod
    def _compare(head: Head, known: Head) -> None:
        if head.seq == known.seq and head.hash != known.hash:
            raise Tampered(
                "audit_forked",
                f"entry {head.seq} of the audit is another one than was seen before",
                "somebody wrote the audit anew; treat it as changed from the beginning",
                seq=head.seq,
            )
