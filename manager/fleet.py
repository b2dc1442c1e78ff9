"""The delegates that are connected, and those that were a while ago. Memory only: a restart begins with none."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from math import inf

from manager.probed import Probed
from manager.routing import CLOCK_WRONG, MOST_TOLD, Candidate, Wanted, why
from manager.selection import Selection
from manager.trail import PassedOver, passed_over
from shared.documents.certificate import CertificateDocument
from shared.documents.jws import Verified
from shared.messages import FromManager
from shared.session import Phase, Session
from shared.trust.authority import SKEW_SECONDS
from shared.trust.group import NO_GROUPS, Groups, tags_of

REMEMBERED_SECONDS = 3_600
TELL_SECONDS = 30.0
"""How long a delegate may take to read what it is told; one that doesn't read is cut, so that nobody waits for it."""

MOST_REMEMBERED = 1_000
"""Delegates of an account that are kept after they have gone, so that an explanation can name them."""


@dataclass(slots=True, eq=False)
class Delegate:
    """One connected delegate. `sent` are the documents that went down its stream; times are the manager's clock.

    `tags` are those that it owns by its certificate and its group. `owed` are documents that go before all else that it is sent.
    """

    account: str
    kid: str
    certificate: Verified[CertificateDocument]
    tags: frozenset[str]
    generations: frozenset[int]
    kinds: frozenset[str]
    version: str
    capacity: int
    session: Session
    send: Callable[[FromManager], Awaitable[None]]
    cut: Callable[[], None]
    connected_at: int
    last_seen: int
    heard: float = 0.0
    spoke: float = 0.0
    order: int = 0
    sent: set[str] = field(default_factory=set)
    owed: list[str] = field(default_factory=list)
    probed: dict[str, Probed] = field(default_factory=dict)
    """What came of its tests of connectors, by their documents' digests; of those that still count, as `manager.probes` says."""
    clock: int | None = None
    """By how many seconds its clock was ahead of the manager's when it last said so; None for one that doesn't."""
    clock_told: float = -inf
    """When the log last heard of that, by the manager's monotonic clock."""
    online: bool = True
    checks: int = 0
    checks_since: float = 0.0
    over: frozenset[str] = frozenset()
    """The resources of which it was over its limit when that was last counted."""

    @property
    def name(self) -> str:
        """Its name, as certified."""
        return self.certificate.document.name

    @property
    def group(self) -> str:
        """The group that it is of, as certified; empty for none."""
        return self.certificate.document.group or ""

    @property
    def executing(self) -> int:
        """Tasks that it has and hasn't answered."""
        return len(self.session.outstanding)

    @property
    def load(self) -> float:
        """Executing tasks over capacity."""
        return self.executing / max(1, self.capacity)

    @property
    def is_off(self) -> bool:
        """Whether its clock differs by more than anybody tolerates."""
        return abs(self.clock or 0) > SKEW_SECONDS

    async def tell(self, message: FromManager, seconds: float = TELL_SECONDS) -> None:
        """Sends it; cuts the stream where it isn't taken in time."""
        try:
            async with asyncio.timeout(seconds):
                await self.send(message)
        except TimeoutError:
            self.cut()

    def candidate(self, now: int, task: str = "") -> Candidate:
        """What routing may know of it. One that still owes an answer to an earlier `task` of that id isn't free for it."""
        return Candidate(
            delegate=self.kid,
            name=self.name,
            tags=self.tags,
            keyring=self.certificate.document.keyring,
            generations=self.generations,
            kinds=self.kinds,
            online=self.online,
            draining=self.session.phase is Phase.DRAINING,
            free=self.session.takes_tasks and task not in self.session.outstanding,
            load=self.load,
            order=self.order,
            idle_seconds=max(0, now - self.last_seen),
            scopes=self.certificate.document.scopes,
            cpu=self.session.heartbeat.cpu,
            memory=self.session.heartbeat.memory,
            executing=self.executing,
            capacity=self.capacity,
            group=self.group,
            probed=self.probed,
            now=now,
            clock=self.clock or 0,
        )


class Fleet:
    """Delegates by account and identity."""

    def __init__(self) -> None:
        self._online: dict[str, dict[str, Delegate]] = {}
        self._gone: dict[str, OrderedDict[str, Delegate]] = {}
        self._selections: dict[str, Selection] = {}
        self._turn = 0

    def join(self, delegate: Delegate) -> Delegate | None:
        """It is connected now; gives an older stream of the same identity, which must be cut."""
        account = self._online.setdefault(delegate.account, {})
        before = account.pop(delegate.kid, None)
        account[delegate.kid] = delegate
        selection = self._selections.setdefault(delegate.account, Selection())
        gone = self._gone.get(delegate.account, OrderedDict())
        known = before or gone.get(delegate.kid)
        if known is not None:
            delegate.probed = known.probed
        if before is not None:
            selection.remove(before.kid)
            before.session.watcher = _unwatched
        selection.put(delegate.candidate(delegate.last_seen))
        delegate.session.watcher = partial(_report, selection, delegate)
        gone.pop(delegate.kid, None)
        # A restarted process has a new identity and, as a rule, the old name.
        for kid in [kid for kid, one in gone.items() if one.name == delegate.name]:
            del gone[kid]
        return before

    def leave(self, delegate: Delegate, now: int) -> None:
        """Its stream has ended."""
        delegate.online = False
        delegate.last_seen = now
        delegate.sent.clear()
        delegate.owed.clear()
        # It is remembered for its name alone: what hangs on the stream may be megabytes.
        delegate.send, delegate.cut = _unsent, _uncut
        delegate.session.watcher = _unwatched
        account = self._online.get(delegate.account, {})
        if account.get(delegate.kid) is delegate:
            del account[delegate.kid]
            self._selections[delegate.account].remove(delegate.kid)
            gone = self._gone.setdefault(delegate.account, OrderedDict())
            gone[delegate.kid] = delegate
            if len(gone) > MOST_REMEMBERED:
                gone.popitem(last=False)

    def renew(self, delegate: Delegate, certificate: Verified[CertificateDocument], groups: Groups = NO_GROUPS) -> None:
        """It has a new certificate, and with it perhaps other tags; `groups` are its account's."""
        delegate.certificate = certificate
        delegate.tags = tags_of(certificate.document, groups)
        if self.find(delegate.account, delegate.kid) is delegate:
            self._selections[delegate.account].put(delegate.candidate(delegate.last_seen))

    def regroup(self, account: str, groups: Groups) -> list[Delegate]:
        """The account's groups are these now; the connected delegates whose tags that changes, who are chosen by them at once."""
        return [one for one in self.online(account) if self.regroup_one(one, groups)]

    def regroup_one(self, delegate: Delegate, groups: Groups) -> bool:
        """The same for one of them; whether that changes its tags."""
        if not delegate.group:
            return False
        tags = tags_of(delegate.certificate.document, groups)
        if tags == delegate.tags:
            return False
        delegate.tags = tags
        if self.find(delegate.account, delegate.kid) is delegate:
            self._selections[delegate.account].put(delegate.candidate(delegate.last_seen))
        return True

    def choose(self, account: str, wanted: Wanted, task: str) -> Delegate | None:
        """The one that gets it: the least loaded, the one that waited longest among equals."""
        selection = self._selections.get(account)
        while selection is not None and (chosen := selection.choose(wanted)) is not None:
            delegate = self._online[account][chosen]
            if task not in delegate.session.outstanding:
                return delegate
            # It still owes an answer to an earlier task of that id, so it isn't free for this one.
            wanted = replace(wanted, tried=wanted.tried | {chosen})
        return None

    def mark(self, delegate: Delegate, connector: str, probed: Probed | None) -> None:
        """What came of its newest test of that revision; None where none counts any more."""
        if probed is None:
            delegate.probed.pop(connector, None)
        else:
            delegate.probed[connector] = probed
        if self.find(delegate.account, delegate.kid) is delegate:
            self._selections[delegate.account].mark(delegate.kid, connector, probed is not None and probed.has_failed)

    def clock(self, delegate: Delegate, seconds: int) -> None:
        """By how many seconds its clock is ahead."""
        was, delegate.clock = delegate.is_off, seconds
        if was != delegate.is_off and self.find(delegate.account, delegate.kid) is delegate:
            self._selections[delegate.account].mark(delegate.kid, CLOCK_WRONG, delegate.is_off)

    def doubted(self, account: str, wanted: Wanted, most: int) -> list[Delegate]:
        """Whom failed tests and clocks alone keep from it, at most so many, where at most one other is left; else nobody."""
        selection = self._selections.get(account)
        return [self._online[account][one] for one in selection.doubted(wanted, most)] if selection is not None else []

    def has_sound(self, account: str, wanted: Wanted) -> bool:
        """Whether somebody may have it, now or when he is less busy, against whom neither a failed test nor his clock speaks."""
        selection = self._selections.get(account)
        return selection is not None and selection.has_sound(wanted)

    def why(self, delegate: Delegate) -> str:
        """Why that one was chosen last; to be asked before it has the task."""
        return why(self._selections[delegate.account].standing(), delegate.executing, delegate.capacity)

    def passed_over(self, account: str, wanted: Wanted, now: int, task: str, chosen: str = "") -> PassedOver:
        """Who can't have the task now; of a large fleet only some are looked at, and the others are counted."""
        online = self._online.get(account, {})
        gone: OrderedDict[str, Delegate] = self._gone.get(account, OrderedDict())
        looked_at = islice(chain(online.values(), gone.values()), MOST_TOLD)
        # The chosen one isn't passed over: as a rule it is most of the fleet, or all of it.
        some = [one.candidate(now, task) for one in looked_at if one.kid != chosen]
        counted: dict[str, int] = {}
        if len(online) + len(gone) > MOST_TOLD:
            selection = self._selections.get(account)
            counted = {**(selection.tally(wanted) if selection is not None else {}), "offline": len(gone)}
        return passed_over(some, wanted, counted, chosen)

    def could_wait(self, account: str, wanted: Wanted) -> bool:
        """Whether somebody may have it, now or when he is less busy."""
        selection = self._selections.get(account)
        return selection is not None and selection.could_wait(wanted)

    def online(self, account: str) -> list[Delegate]:
        """Those connected to that account."""
        return list(self._online.get(account, {}).values())

    def find(self, account: str, kid: str) -> Delegate | None:
        """The connected delegate of that identity."""
        return self._online.get(account, {}).get(kid)

    def known(self, account: str, now: int) -> list[Delegate]:
        """Those connected, then those that were within the last hour."""
        gone: OrderedDict[str, Delegate] = self._gone.get(account, OrderedDict())
        while gone:
            kid, oldest = next(iter(gone.items()))
            if now - oldest.last_seen <= REMEMBERED_SECONDS:
                break
            del gone[kid]
        return [*self.online(account), *gone.values()]

    def candidates(self, account: str, now: int, task: str = "") -> list[Candidate]:
        """What routing may know of all that are known, for the task of that id."""
        return [one.candidate(now, task) for one in self.known(account, now)]

    def __len__(self) -> int:
        """How many are connected, of all accounts."""
        return sum(map(len, self._online.values()))

    def __iter__(self) -> Iterator[Delegate]:
        for account in list(self._online.values()):
            yield from list(account.values())

    def take_turn(self, delegate: Delegate) -> None:
        """It was given a task: among equals it is last now."""
        self._turn += 1
        delegate.order = self._turn
        if self.find(delegate.account, delegate.kid) is delegate:
            self._selections[delegate.account].turn(delegate.kid)


def _report(selection: Selection, delegate: Delegate) -> None:
    session = delegate.session
    selection.report(delegate.kid, session.phase is not Phase.DRAINING, delegate.load if session.takes_tasks else None)


async def _unsent(message: FromManager) -> None:
    """To a stream that has ended."""


def _uncut() -> None:
    """Of a stream that has ended."""


def _unwatched() -> None:
    """By whom it doesn't matter any more."""
