"""Reveals: many values in few tasks, each opened here from a delegate's signed answer.

Promises: the newest version that anybody knows of, or an error; an answer that isn't for exactly what was asked is
refused. Must not keep a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from client.account import Account
from client.directory import Directory, Known
from client.dispatch import WAIT_SECONDS, perform
from client.readers import Readers
from client.tasks import SignedTask, Subject, sign_task
from client.versions import version_of
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.documents.usage import TaskUsage
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError, Unauthenticated
from shared.names import Reference

MOST_IN_A_TASK = 1_000
_MOST_TASKS_AT_ONCE = 4


class Reveals:
    """One account's."""

    def __init__(self, account: Account, directory: Directory, readers: Readers) -> None:
        self._account = account
        self._directory = directory
        self._readers = readers

    async def newest(
        self,
        places: Sequence[Reference],
        selectors: Sequence[str],
        *,
        excluded: bool = False,
        usage: TaskUsage | None = None,
    ) -> list[Item]:
        """The newest value of each place, in order; what couldn't be revealed is an error in its place.

        `excluded` accepts records of excluded generations too, which may be forged; `usage` is what the values are for.
        """
        found = await self._find(places)
        items: dict[Reference, Item] = {
            place: one for place, one in zip(places, found, strict=True) if isinstance(one, PrivySealError)
        }
        groups = self._groups(
            {place: one for place, one in zip(places, found, strict=True) if isinstance(one, Known)}, selectors
        )
        if len(groups) == 1:
            items |= await self._reveal_group(groups[0], selectors, excluded, usage)
        else:
            gate = asyncio.Semaphore(_MOST_TASKS_AT_ONCE)

            async def guarded(group: list[Reference]) -> dict[Reference, Item]:
                async with gate:
                    try:
                        return await self._reveal_group(group, selectors, excluded, usage)
                    except PrivySealError as why:
                        return dict.fromkeys(group, why)

            for part in await asyncio.gather(*(guarded(group) for group in groups)):
                items |= part
        return [items[place] for place in places]

    async def _find(self, places: Sequence[Reference]) -> list[Known | PrivySealError]:
        """What the places stand for; trust and places are asked for at once where the trust is known from before."""
        account = self._account
        if account.is_fresh() and (known := self._directory.remembered(places)) is not None:
            return [*known]
        if account.book.status is None:
            await account.sync()
        _, found = await asyncio.gather(account.sync(), self._directory.find(places))
        if not any(isinstance(one, Denied | Unauthenticated) for one in found):
            return found
        # What arrived before the newest grants did may have been refused for want of them.
        return await self._directory.find(places, fresh=True)

    def _groups(self, known: Mapping[Reference, Known], selectors: Sequence[str]) -> list[list[Reference]]:
        groups: dict[tuple[str, tuple[str, ...]], list[list[Reference]]] = {}
        for place, one in known.items():
            own = () if selectors else one.connector.document.selectors
            parts = groups.setdefault((one.connector.document.keyring, own), [[]])
            if len(parts[-1]) == MOST_IN_A_TASK:
                parts.append([])
            parts[-1].append(place)
        return [part for parts in groups.values() for part in parts]

    async def _reveal_group(
        self, places: list[Reference], selectors: Sequence[str], excluded: bool, usage: TaskUsage | None
    ) -> dict[Reference, Item]:
        def make() -> SignedTask:
            subjects = [self._directory.newest(place, excluded=excluded) for place in places]
            account = self._account
            return sign_task(
                account.book,
                account.identity,
                "reveal",
                subjects,
                self._readers.take(),
                account.clock(),
                selectors=selectors,
                credentials=self._directory.credentials(one.connector for one in subjects),
                usage=usage,
            )

        try:
            task, opened = await perform(self._account, make, self._directory.learn, WAIT_SECONDS)
        except Malformed as why:
            if why.code != "records_too_large" or len(places) == 1:
                raise
            half = len(places) // 2
            return {
                **await self._reveal_group(places[:half], selectors, excluded, usage),
                **await self._reveal_group(places[half:], selectors, excluded, usage),
            }
        except (Conflict, NotFound):
            # Deleted, perhaps made anew under its old name: next time it is asked for again.
            self._directory.forget(places)
            raise
        for target, item in zip(task.document.targets, opened.items, strict=True):
            if isinstance(item, Plaintext):
                # The record is bound to number and digest, so that its opening proves both.
                self._account.state.take_version(target.secret or "", target.n, target.version or "")
        return dict(zip(places, opened.items, strict=True))

    async def version(
        self,
        place: Reference,
        n: int,
        selectors: Sequence[str],
        *,
        excluded: bool = False,
        usage: TaskUsage | None = None,
    ) -> Plaintext:
        await self._account.sync()
        known = await self._directory.one(place)
        version = await version_of(self._account, known, n)

        def make() -> SignedTask:
            now_known = self._directory.current(place)
            subject = Subject(now_known.secret, now_known.connector, n, version.digest, excluded=excluded)
            account = self._account
            return sign_task(
                account.book,
                account.identity,
                "reveal",
                [subject],
                self._readers.take(),
                account.clock(),
                selectors=selectors,
                credentials=self._directory.credentials([now_known.connector]),
                usage=usage,
            )

        _, opened = await perform(self._account, make, self._directory.learn, WAIT_SECONDS)
        (item,) = opened.items
        if isinstance(item, PrivySealError):
            raise item
        return item
