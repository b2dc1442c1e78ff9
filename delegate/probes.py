"""Connection tests that the manager asks for: the same as this delegate's own, only sooner.

Promises: nothing is tested for it that the delegate mayn't test by itself, nor more often than its owner can bear, however much a
manager asks: what a task has used within the day (`delegate.checks`), and connectors that need no task, since they name no secret, run
no script and ask nobody what they are used for. A manager is made for those alone. It is answered with a signed test, or not at all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice
from typing import cast

import structlog

from delegate.checks import Checks, Watched
from delegate.clock import Clock
from delegate.trust import Trust
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.errors import PrivySealError

PAUSE_SECONDS = 5.0
"""From the beginning of one test of a connector to that of the next, at least."""

MOST_A_MINUTE = 60
MOST_PENDING = 64
MOST_KNOWN = 1_000

_log = structlog.get_logger()


class Probes:
    """One delegate's."""

    def __init__(self, checks: Checks, trust: Trust, clock: Clock, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._checks = checks
        self._trust = trust
        self._clock = clock
        self._pause_seconds = pause_seconds
        self.pending: dict[str, Watched] = {}
        """What was asked for and hasn't been tested, by the connectors' ids."""
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._known: OrderedDict[str, Watched] = OrderedDict()
        """Connectors that need no task, as they were last tested."""
        self._begun: deque[float] = deque(maxlen=MOST_A_MINUTE)

    def ask(self, connectors: Iterable[str]) -> None:
        """The manager would like to have these tested, by their documents' digests; each is soon, or isn't at all."""
        if not self._checks.seconds:
            return
        for digest in islice(connectors, MOST_PENDING):
            one = self._found(digest)
            if one is None:
                continue
            name = one.connector.document.id
            if name not in self.pending and len(self.pending) < MOST_PENDING:
                self._asked.put_nowait(name)
                self.pending[name] = one
            elif name in self.pending:
                # Of two revisions that which was asked for last: the newer one, from whom means well.
                self.pending[name] = one

    async def run(self) -> None:
        """For ever; returns at once where nothing is to be tested."""
        if not self._checks.seconds:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                name = await self._asked.get()
                group.create_task(self._answer(name))

    def _found(self, digest: str) -> Watched | None:
        """What may be tested now, or may when its signers still may: the delegate's own tests find that out."""
        found = self._trust.book.find(digest)
        if found is None or not isinstance(found.document, ConnectorDocument):
            return None
        connector, document = cast("Verified[ConnectorDocument]", found), found.document
        if document.template is not None or not document.is_tested:
            return None
        return self._checks.watched(connector) or (self._free(connector) if document.needs_no_task else None)

    def _free(self, connector: Verified[ConnectorDocument]) -> Watched:
        """One that needs no task. It isn't watched for that."""
        known = self._known.pop(connector.document.id, None)
        if known is None or known.connector.digest != connector.digest:
            known = Watched(connector, (), 0.0, 0.0)
        self._known[connector.document.id] = known
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    async def _answer(self, name: str) -> None:
        tested: Watched | None = None
        try:
            # A newer revision may be asked for while an older one is tested.
            while tested is not self.pending[name]:
                wait = self._checks.begun(name) + self._pause_seconds - self._clock.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                tested = self.pending[name]
                await self._test(tested)
        finally:
            del self.pending[name]

    async def _test(self, one: Watched) -> None:
        try:
            if self._spend():
                await self._checks.test(one)
        except PrivySealError as why:
            _log.debug("check.skipped", connector=one.connector.document.identifier, code=why.code)
        except Exception as bug:  # noqa: BLE001 (one bad test mustn't end those after it)
            _log.error("check.crashed", exc_info=bug)

    def _spend(self) -> bool:
        """One of those that a minute has."""
        now = self._clock.monotonic()
        if len(self._begun) == MOST_A_MINUTE and now - self._begun[0] < 60:
            return False
        self._begun.append(now)
        return True
