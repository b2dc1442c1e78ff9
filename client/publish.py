"""Publishing: makes next revisions from what is believed, signs them, and keeps the status from growing old.

Promises: a change is published whole or not at all; after a conflict it is made anew from the newer documents, three times
at most; an administrator's change renews a status that is older than a day. Must not overwrite what it hasn't seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from client.account import Account
from client.drafts import next_status, renewed_status
from shared.canonical import digest
from shared.documents.fields import Payload, Revisioned
from shared.documents.grant import DAY
from shared.documents.jws import Verified, parse
from shared.documents.status import LONGEST_SECONDS, StatusDocument
from shared.errors import Conflict, Denied, Malformed, NotReady, Tampered

ATTEMPTS = 4
_OVERTAKEN = frozenset({"revision_forked", "status_forked"})
"""What a manager says when somebody else's revision came first. Whether there really is a fork, the next sync tells."""

RENEWED_AFTER_SECONDS = DAY

Signable = Payload | str
"""A document for this identity to sign, or one that another key signed already."""

Make = Callable[[int], Sequence[Signable]]
"""Given the time: the documents to publish, made from what the book holds at that moment."""


class Publisher:
    """Publishes as the account's identity."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def publish(self, make: Make) -> list[Verified[Revisioned]]:
        """Signs and publishes what `make` gives; all of it as it is believed then.

        Raises Conflict when others keep changing the same, Denied for what this identity may not sign.
        """
        account = self.account
        await account.sync(force=True)
        for attempt in range(1, ATTEMPTS + 1):
            now = account.clock()
            payloads: list[Signable] = [*make(now), *self._due(now)]
            if sum(isinstance(one, StatusDocument) for one in payloads) > 1:
                # Whoever changes the status also renews it.
                payloads.pop()
            compacts = [one if isinstance(one, str) else account.identity.sign_document(one) for one in payloads]
            for one in compacts:
                parse(one)  # what nobody would take is told here, before anything is sent
            try:
                await account.post(compacts)
            except (Conflict, Tampered) as why:
                if isinstance(why, Tampered) and not (why.code in _OVERTAKEN and why.facts.get("unsigned")):
                    raise
                await account.sync(force=True)
                # A lost reply, asked again, conflicts with itself: then it is published.
                if not all(account.book.find(digest(one)) for one in compacts):
                    if attempt == ATTEMPTS:
                        raise
                    continue
            return [cast(Verified[Revisioned], account.book.find(digest(one))) for one in compacts]
        raise AssertionError

    def status(self) -> Verified[StatusDocument]:
        """The newest status, expired or not. Raises NotReady when there is none."""
        if self.account.book.status is None:
            raise NotReady("status_missing", "no status document is known yet", "sync first")
        return self.account.book.status

    async def renew(self, days: int | None = None) -> Verified[StatusDocument]:
        """Makes the status last `days` more, by default as long as the one before; everything in it is carried over.

        An administrator's is a new one; a principal with `renew` re-signs it unchanged. Raises Malformed, Denied.
        """
        if days is not None and not 1 <= days <= LONGEST_SECONDS // DAY:
            raise Malformed(
                "days_out_of_range", f"a status lasts 1 to {LONGEST_SECONDS // DAY} days", "give fewer days"
            )
        seconds = days * DAY if days else None

        def make(now: int) -> list[Signable]:
            if self.account.is_administrator:
                return [next_status(self.status(), now, seconds=seconds)]
            return [renewed_status(self.status(), now, seconds)]

        await self.publish(make)
        return self.status()

    async def revoke_key(self, kid: str) -> None:
        """Blocks a key by its thumbprint, a delegate's or a principal's. Raises Denied for non-administrators."""
        if not self.account.is_administrator:
            await self.account.sync(force=True)
        if not self.account.is_administrator:
            raise Denied(
                "not_administrator", "only an administrator revokes", "ask one: privyseal account show lists them"
            )
        await self.publish(lambda now: [next_status(self.status(), now, keys=[kid])])

    def _due(self, now: int) -> list[Signable]:
        status = self.status()
        if not self.account.is_administrator or now - status.document.iat < RENEWED_AFTER_SECONDS:
            return []
        return [next_status(status, now)]
