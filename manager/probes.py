"""Probes: which delegate can't use which connector, by the tests that delegates sign, and when they are asked to test again.

Promises: a failed test keeps its delegate from the tasks that go through that very revision of the connector, for a while and no
longer than until a new revision, a new value of a secret that it names, or a test that passes; and it never is the last word: where
hardly another delegate is left, those that failed are asked to test at once, less and less often while they fail, and a task waits for
them a few seconds at most.
Memory only. Must not judge what a delegate says, which `manager.checks` has done: one that lies keeps tasks from itself, or has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import inf

import structlog

from manager.clock import Clock
from manager.conversation import unsent
from manager.fleet import Delegate, Fleet
from manager.lapses import Lapses
from manager.metrics import ManagerMetrics
from manager.named import Named
from manager.probed import Probed, failures
from manager.routing import Wanted
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.errors import PrivySealError
from shared.messages import Documents, Probe
from shared.names import Reference, Scope
from shared.trust.book import Book

SUCCESS_SECONDS = 21_600.0
FAILURE_SECONDS = 300.0

WAIT_SECONDS = 10.0
"""How long a task waits for the tests of those who failed, and they may take to answer."""

FRESH_SECONDS = 5
"""A test that is no older isn't made again: delegates wouldn't. One that failed again, while somebody else is sound, not for twice as
long as the time before, up to a failure's lifetime."""

MOST_ASKED = 16
"""Delegates that are asked to test at once, for one task or one new revision: the provider hears of all of them."""

MOST_TOLD = 64
"""Connectors that one delegate is asked about at once: it takes no more."""

MOST_RESULTS = 100_000

DOUBTFUL = frozenset({"unavailable", "not_ready", "denied", "unauthenticated"})
"""Answers to tasks that may be for what the delegate has to log in with, or for its way to the provider."""

_Name = tuple[str, str, str]
"""Account, delegate, digest of the connector's document."""

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Round:
    """Tests that were asked for at once; `over` is called when all have been made, or have not in time."""

    awaited: set[_Name]
    over: Callable[[], None]
    limit: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Result:
    """A test that counts; `held` are those of its delegate, connected or not.

    While another delegate is sound it isn't made again for `pause` seconds.
    """

    probed: Probed
    held: dict[str, Probed] = field(default_factory=dict)
    pause: float = FRESH_SECONDS


class Probes:
    """All accounts'. A lifetime of 0 is none: such results keep nobody from anything."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        metrics: ManagerMetrics,
        success_seconds: float = SUCCESS_SECONDS,
        failure_seconds: float = FAILURE_SECONDS,
    ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._metrics = metrics
        self._seconds = {True: failure_seconds, False: success_seconds}
        self.mended: Callable[[Delegate], None] = lambda _: None
        """Called with a connected delegate against whom less speaks than before."""
        self.failed: Callable[[str, str], None] = lambda _account, _connector: None
        """Called with an account and the digest of a connector that one delegate less may have tasks of."""
        self._results: dict[_Name, _Result] = {}
        self._lapses: Lapses[_Name] = Lapses()
        self._revisions: dict[tuple[str, str], dict[str, str]] = {}
        """Which revision of a connector (account, id) a delegate's newest test was of."""
        self._named = Named()
        self._rounds: dict[_Name, set[_Round]] = {}
        self._asked: set[_Name] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = inf

    @property
    def failing(self) -> int:
        """Failed tests that count."""
        return sum(one.probed.has_failed for one in self._results.values())

    # What delegates say.

    def told(self, delegate: Delegate, connector: ConnectorDocument, digest: str, code: str) -> None:
        """A delegate's test of a connector, one that says something of it."""
        now, name = self._clock.now(), (delegate.account, delegate.kid, digest)
        seconds = self._seconds[code != "ok"]
        probed = Probed(connector.identifier, code, now, now + int(seconds), connector.id)
        before = self._revisions.get((delegate.account, connector.id), {}).get(delegate.kid)
        last = self._results.get(name)
        pause = last.pause if last is not None and probed.has_failed else FRESH_SECONDS
        doubted = self._drop((*name[:2], before)) if before is not None else None
        if seconds > 0:
            self._named.put(delegate.account, connector, digest)
            self._keep(delegate, name, probed, self._clock.monotonic() + seconds, pause)
        for one in self._rounds.pop(name, ()):
            one.awaited.discard(name)
            if not one.awaited:
                self._end(one)
        has_failed = name in self._results and probed.has_failed
        if doubted is not None and not has_failed:
            # Not the stream that said so, where the same identity has a newer one.
            self.mended(doubted)
        elif has_failed and (doubted is None or before != digest):
            self.failed(delegate.account, digest)

    def answered(
        self, delegate: Delegate, wanted: Wanted, documents: Iterable[Verified[Revisioned]], code: str
    ) -> None:
        """A delegate's answer to a task: what may be for a connector, or contradicts its test, has it test at once."""
        if code in DOUBTFUL or (code == "ok" and failures(delegate.probed, wanted.connectors)):
            self._ask(delegate, wanted.connectors, documents, "answer")

    # What else changes.

    def revised(self, book: Book, documents: Iterable[Verified[Revisioned]]) -> None:
        """These are published now: who tested an older revision of a connector tests this one, where that takes no task."""
        for one in documents:
            connector = one.document
            if not isinstance(connector, ConnectorDocument):
                continue
            tested = self._revisions.get((book.id, connector.id), {})
            older = [(kid, digest) for kid, digest in tested.items() if digest != one.digest]
            for kid, digest in older:
                self._forget((book.id, kid, digest))
            if not connector.needs_no_task or connector.deleted:
                continue
            connected = (self._fleet.find(book.id, kid) for kid, _ in older)
            documents = [*self._vouching(book, one.kid, connector), one]
            for delegate in islice((one for one in connected if one is not None), MOST_ASKED):
                self._ask(delegate, [one.digest], documents, "revised")

    def renewed(self, account: str, secrets: Iterable[SecretDocument]) -> None:
        """These have new values: what failed with the old ones may work now."""
        for one in secrets:
            reference = Reference(Scope.parse(one.scope), one.identifier)
            for connector in self._named.naming(account, str(reference)):
                for kid, digest in list(self._revisions.get((account, connector), {}).items()):
                    if self._results[account, kid, digest].probed.has_failed:
                        self._forget((account, kid, digest))

    def rescue(
        self, account: str, wanted: Wanted, documents: Collection[Verified[Revisioned]], over: Callable[[], None] | None
    ) -> bool:
        """Has those test again whom failed tests alone keep from a task, where hardly another is left; whether any is awaited.

        `over` is called soon: when all have, or in `WAIT_SECONDS`. Who doesn't answer by then is taken for one that wasn't tested.
        """
        doubted = self._fleet.doubted(account, wanted, MOST_ASKED)
        has_sound = bool(doubted) and self._fleet.has_sound(account, wanted)
        awaited: set[_Name] = set()
        for delegate in doubted:
            stale = [
                digest
                for digest in wanted.connectors
                if (one := delegate.probed.get(digest)) is not None
                and one.has_failed
                and (self._is_due((account, delegate.kid, digest)) if has_sound else not self._is_fresh(one))
            ]
            awaited |= self._ask(delegate, stale, documents, "scarce")
        if doubted and over is not None:
            self._await(awaited, over)
        return bool(awaited)

    # The tests that are asked for.

    def _ask(
        self, delegate: Delegate, connectors: Iterable[str], documents: Iterable[Verified[Revisioned]], reason: str
    ) -> set[_Name]:
        """Has a delegate test these, but those that it is asked already or has just tested; with the documents that it lacks.

        Gives those that it is asked about now, or was already.
        """
        asked: list[str] = []
        awaited: set[_Name] = set()
        for digest in connectors:
            name, known = (delegate.account, delegate.kid, digest), delegate.probed.get(digest)
            if name in self._asked:
                awaited.add(name)
            elif len(asked) < MOST_TOLD and (known is None or not self._is_fresh(known)):
                awaited.add(name)
                self._asked.add(name)
                asked.append(digest)
                self._await({name}, partial(self._asked.discard, name))
        if asked:
            self._metrics.probes.labels(reason).inc()
            telling = asyncio.create_task(self._tell(delegate, tuple(asked), unsent(delegate, documents)))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        return awaited

    @staticmethod
    async def _tell(delegate: Delegate, connectors: tuple[str, ...], documents: Sequence[str]) -> None:
        try:
            if documents:
                await delegate.tell(Documents(tuple(documents)))
            await delegate.tell(Probe(connectors))
        except PrivySealError as why:
            _log.warning("probe.untold", delegate=delegate.name, code=why.code)

    def _await(self, awaited: set[_Name], over: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        one = _Round(awaited, over)
        if not awaited:
            loop.call_soon(over)
            return
        for name in awaited:
            self._rounds.setdefault(name, set()).add(one)
        one.limit = loop.call_later(WAIT_SECONDS, self._late, one)

    def _late(self, one: _Round) -> None:
        for name in one.awaited:
            rounds = self._rounds.get(name, set())
            rounds.discard(one)
            if not rounds:
                self._rounds.pop(name, None)
            # What can't be confirmed doesn't keep tasks waiting.
            self._forget(name)
        self._end(one)

    @staticmethod
    def _end(one: _Round) -> None:
        if one.limit is not None:
            one.limit.cancel()
        one.over()

    def _is_due(self, name: _Name) -> bool:
        """Whether a failed test is being made again, or is to be, with twice the pause before the next one."""
        one = self._results[name]
        if name in self._asked:
            return True
        if 0 <= self._clock.now() - one.probed.at < one.pause:
            return False
        one.pause = min(2 * one.pause, self._seconds[True])
        return True

    def _is_fresh(self, one: Probed) -> bool:
        return 0 <= self._clock.now() - one.at < FRESH_SECONDS

    def _vouching(self, book: Book, kid: str, connector: ConnectorDocument) -> list[Verified[Revisioned]]:
        """The grants by which the connector's signer may have signed it; none where he may no longer, which delegates see."""
        try:
            scope = Scope.parse(connector.scope)
            chain = book.authority.chain(kid, "edit", scope, connector.resource, self._clock.now())
        except PrivySealError:
            return []
        return list(reversed(chain.grants))

    # What is remembered.

    def _keep(self, delegate: Delegate, name: _Name, probed: Probed, until: float, pause: float) -> None:
        account, kid, digest = name
        self._results[name] = _Result(probed, delegate.probed, pause)
        self._revisions.setdefault((account, probed.id), {})[kid] = digest
        self._fleet.mark(delegate, digest, probed)
        self._lapses.set(account, name, until)
        while len(self._results) > MOST_RESULTS:
            self._forget(self._lapses.surplus())
        if until < self._alarm:
            self._arm()

    def _forget(self, name: _Name) -> None:
        """It counts no longer, and nothing does in its place: whoever waits for its delegate gets it."""
        delegate = self._drop(name)
        if delegate is not None:
            self.mended(delegate)

    def _drop(self, name: _Name) -> Delegate | None:
        """It counts no longer; its delegate, where it kept a connected one from something."""
        result = self._results.pop(name, None)
        if result is None:
            return None
        account, kid, digest = name
        self._lapses.drop(account, name)
        probed = result.probed
        revisions = self._revisions[account, probed.id]
        del revisions[kid]
        if not revisions:
            del self._revisions[account, probed.id]
            self._named.drop(account, probed.id)
        delegate = self._fleet.find(account, kid)
        if delegate is None:
            result.held.pop(digest, None)
            return None
        self._fleet.mark(delegate, digest, None)
        return delegate if probed.has_failed else None

    def _arm(self) -> None:
        """Sees to it that `tidy` is called when the first one lapses."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._alarm = self._lapses.next()
        if self._alarm < inf:
            seconds = max(0.0, self._alarm - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self.tidy)

    def tidy(self) -> None:
        """Forgets what counts no longer by now; it calls itself when there is something."""
        for name in self._lapses.due(self._clock.monotonic()):
            self._forget(name)
        self._arm()
