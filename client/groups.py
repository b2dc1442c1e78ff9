"""Groups: tags that an administrator gives to all delegates that say they are of the group, without a restart of any.

Promises: a change is one document together with a status that no longer lets the one before count, so that no delegate that has
the status goes by older tags. Must not decide who is of a group: that stands in each delegate's certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from client.account import Account
from client.drafts import next_status
from client.publish import Publisher, Signable
from shared.documents.group import GroupDocument
from shared.documents.jws import Verified
from shared.errors import Denied, NotFound
from shared.selectors import normalise, normalise_all

_Change = Callable[[tuple[str, ...]], tuple[str, ...]]
"""The tags after a change, of those before it."""


class Groups:
    """One account's."""

    def __init__(self, account: Account, publisher: Publisher) -> None:
        self._account = account
        self._publisher = publisher

    async def all(self) -> list[Verified[GroupDocument]]:
        """Every group that has a document and isn't deleted, by name."""
        await self._account.sync(force=True)
        known = self._account.book.groups
        return [known[name] for name in sorted(known) if not known[name].document.deleted]

    async def get(self, name: str) -> Verified[GroupDocument]:
        """One of them. Raises NotFound."""
        name = normalise(name)
        found = next((one for one in await self.all() if one.document.id == name), None)
        if found is None:
            raise NotFound("group_unknown", f"there is no group {name}", "privyseal group list")
        return found

    async def set(
        self, name: str, tags: Iterable[str] | None = None, *, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> Verified[GroupDocument]:
        """Gives the group exactly `tags` (by default those that it has), with `add` and without `remove`; makes it if need be.

        Raises Malformed for what is no selector or more than 64, Denied for who is no administrator.
        """
        name, given = normalise(name), None if tags is None else normalise_all(tags)
        more, less = normalise_all(add), set(normalise_all(remove))

        def change(before: tuple[str, ...]) -> tuple[str, ...]:
            return normalise_all(({*(before if given is None else given), *more}) - less)

        await self._must_administer()
        return await self._publish(name, change)

    async def delete(self, name: str) -> Verified[GroupDocument]:
        """Takes the group's tags from its delegates; its name stays one of theirs. Raises NotFound, Denied."""
        found = await self.get(name)
        await self._must_administer()
        return await self._publish(found.document.id, None)

    async def _publish(self, name: str, change: _Change | None) -> Verified[GroupDocument]:
        account = self._account

        def make(now: int) -> list[Signable]:
            first = GroupDocument(v=1, acct=account.id, id=name, rev=1, iat=now)
            # Of one whose signer is no administrator any more the tags don't count, but it has to be followed all the same.
            rev, prev = account.book.newest(first) or account.unfounded.get(name) or (0, None)
            known = account.book.groups.get(name)
            tags = change(known.document.tags if known is not None else ()) if change is not None else ()
            document = GroupDocument(
                v=1, acct=account.id, id=name, rev=rev + 1, prev=prev, iat=now, tags=tags, deleted=change is None
            )
            return [document, next_status(self._publisher.status(), now, groups={name: document.rev})]

        return cast("Verified[GroupDocument]", (await self._publisher.publish(make))[0])

    async def _must_administer(self) -> None:
        await self._account.sync(force=True)
        if not self._account.is_administrator:
            raise Denied(
                "not_administrator", "only an administrator gives tags to a group", "privyseal account show lists them"
            )
