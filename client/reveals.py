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
from client.meanings import Meaning
from client.readers import Readers
from client.sources import Source, sources_of
from client.tasks import SignedTask, Subject, sign_task
from client.versions import version_of
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.documents.usage import TaskUsage
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError, Unauthenticated
from shared.names import Reference

MOST_IN_A_TASK = 1_000
_MOST_TASKS_AT_ONCE = 4
_TOO_MUCH = frozenset({"records_too_large", "targets_too_long"})
"""What halves of a task may pass."""


class Reveals:
    """One account's."""

    def __init__(self, account: Account, directory: Directory, readers: Readers) -> None:
        self._account = account
        self._directory = directory
        self._readers = readers

    async def newest(
        self,
        places: Sequence[Meaning],
        selectors: Sequence[str],
        *,
        excluded: bool = False,
        usage: TaskUsage | None = None,
    ) -> list[Item]:
        """The newest value of each place, in order; what couldn't be revealed is an error in its place.

        `excluded` accepts records of excluded generations too, which may be forged; `usage` is what the values are for.
        """
        found = await self._find(places)
        items: dict[int, Item] = {at: one for at, one in enumerate(found) if isinstance(one, PrivySealError)}
        sources = {at: one for at, one in enumerate(found) if not isinstance(one, PrivySealError)}
        groups = self._groups(sources, selectors)
        if len(groups) == 1:
            items |= await self._reveal_group(groups[0], selectors, excluded, usage)
        else:
            gate = asyncio.Semaphore(_MOST_TASKS_AT_ONCE)

            async def guarded(group: dict[int, Source]) -> dict[int, Item]:
                async with gate:
                    try:
                        return await self._reveal_group(group, selectors, excluded, usage)
                    except PrivySealError as why:
                        return dict.fromkeys(group, why)

            for part in await asyncio.gather(*(guarded(group) for group in groups)):
                items |= part
        return [items[at] for at in range(len(places))]

    async def _find(self, places: Sequence[Meaning]) -> list[Source | PrivySealError]:
        """What the places stand for; trust and places are asked for at once where the trust is known from before."""
        account, directory = self._account, self._directory
        stored = [one for one in places if isinstance(one, Reference)]
        found: Sequence[Known | PrivySealError]
        known = directory.remembered(stored) if account.is_fresh() else None
        if known is not None:
            found = known
        else:
            if account.book.status is None:
                await account.sync()
            _, found = await asyncio.gather(account.sync(), directory.find(stored))
            if any(isinstance(one, Denied | Unauthenticated) for one in found):
                # What arrived before the newest grants did may have been refused for want of them.
                found = await directory.find(stored, fresh=True)
        return await sources_of(directory, places, dict(zip(stored, found, strict=True)))

    def _groups(self, sources: Mapping[int, Source], selectors: Sequence[str]) -> list[dict[int, Source]]:
        groups: dict[tuple[str, tuple[str, ...], str], list[dict[int, Source]]] = {}
        for at, one in sources.items():
            connector = one.connector.document
            # Conditions of one task hold together: two that no delegate meets at once are two tasks.
            own = () if selectors else connector.selectors
            parts = groups.setdefault((connector.keyring, own, connector.where), [{}])
            if len(parts[-1]) == MOST_IN_A_TASK:
                parts.append({})
            parts[-1][at] = one
        return [part for parts in groups.values() for part in parts]

    async def _reveal_group(
        self, group: dict[int, Source], selectors: Sequence[str], excluded: bool, usage: TaskUsage | None
    ) -> dict[int, Item]:
        def make() -> SignedTask:
            subjects = [one.subject(self._directory, excluded=excluded) for one in group.values()]
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
                lasting_seconds=self._account.patience.lasting_seconds,
            )

        try:
            task, opened = await perform(self._account, make, self._directory.learn, WAIT_SECONDS)
        except Malformed as why:
            if why.code not in _TOO_MUCH or len(group) == 1:
                raise
            whole = list(group.items())
            halves = whole[: len(whole) // 2], whole[len(whole) // 2 :]
            return {
                **await self._reveal_group(dict(halves[0]), selectors, excluded, usage),
                **await self._reveal_group(dict(halves[1]), selectors, excluded, usage),
            }
        except (Conflict, NotFound):
            # Deleted, perhaps made anew under its old name: next time it is asked for again.
            self._directory.forget(one.meant for one in group.values() if isinstance(one.meant, Reference))
            raise
        for target, item in zip(task.document.targets, opened.items, strict=True):
            if isinstance(item, Plaintext) and target.secret is not None:
                # The record is bound to number and digest, so that its opening proves both.
                self._account.state.take_version(target.secret, target.n, target.version or "")
        return dict(zip(group, opened.items, strict=True))

    async def version(
        self,
        place: Reference,
        n: int,
        selectors: Sequence[str],
        *,
        excluded: bool = False,
        usage: TaskUsage | None = None,
    ) -> Plaintext:
        """A version of a stored secret by its number. Raises its error."""
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
                lasting_seconds=self._account.patience.lasting_seconds,
            )

        _, opened = await perform(self._account, make, self._directory.learn, WAIT_SECONDS)
        (item,) = opened.items
        if isinstance(item, PrivySealError):
            raise item
        return item
