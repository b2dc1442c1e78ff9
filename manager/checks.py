"""Tests of connectors that delegates made by themselves: taken from their streams and kept for who asks.

Promises: only what the stream's own certified identity signed, about a connector that is there, in its newest revision, and
that this delegate may serve; the newest of each delegate and no more. Nobody need believe it for that: clients verify again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from manager.clock import Clock
from manager.fleet import Delegate
from manager.rows import CheckRow, StoredDocument
from manager.store import Store
from shared.documents.answer import Code
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as
from shared.errors import PrivySealError, Tampered
from shared.messages import Checked
from shared.trust.checked import unfounded

MOST_A_MINUTE = 2_000
"""Tests that one delegate may tell of; what is more is dropped, since each will be made again."""

MOST_WAITING = 100
"""Tests of one delegate that wait for the database; those that come then are dropped as well."""

Told = Callable[[Delegate, ConnectorDocument, str, Code], None]
"""Called with a delegate, a connector, the digest of its revision, and the test's code."""

_log = structlog.get_logger()


class Checks:
    """All accounts'."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[Delegate, deque[Verified[CheckedDocument]]] = {}
        """What a delegate has told while the database is asked; the first of them is looked up."""
        self._looking: set[asyncio.Task[None]] = set()

    def hear(self, delegate: Delegate, message: Checked, told: Told) -> None:
        """Keeps it, soon, and calls `told` with what it is of; what is only of no use is dropped.

        A delegate's are taken in their order. Where a database that fails or hangs has to be asked, the stream isn't kept waiting
        for that: its delegate would count as silent. Raises Malformed or Tampered for what no honest delegate says.
        """
        if not self._count(delegate):
            return
        key = VerifyingKey.of(delegate.certificate.document.key)
        checked = parse_as(CheckedDocument, message.document).verified_by(key)
        if checked.document.acct != delegate.account:
            raise Tampered("account_foreign", "a delegate tells of a test in another account")
        waiting = self._waiting.get(delegate)
        if waiting is not None:
            if len(waiting) < MOST_WAITING:
                waiting.append(checked)
            return
        row = self._store.cached_head(delegate.account, "connector", checked.document.connector)
        if row is not None:
            self._take(delegate, checked, row, told)
            return
        self._waiting[delegate] = deque([checked])
        looking = asyncio.create_task(self._look_up(delegate, told))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)

    async def _look_up(self, delegate: Delegate, told: Told) -> None:
        waiting = self._waiting[delegate]
        try:
            while waiting:
                checked = waiting[0]
                try:
                    row = await self._store.head(delegate.account, "connector", checked.document.connector)
                    self._take(delegate, checked, row, told)
                except PrivySealError as why:
                    _log.warning("check.unkept", code=why.code, delegate=delegate.name)
                except Exception as bug:  # noqa: BLE001 (those behind it go on)
                    _log.error("check.crashed", exc_info=bug)
                waiting.popleft()
        finally:
            del self._waiting[delegate]

    def _take(
        self, delegate: Delegate, checked: Verified[CheckedDocument], row: StoredDocument | None, told: Told
    ) -> None:
        document, why = checked.document, "connector_unknown"
        if row is not None and not row.deleted:
            connector = parse_as(ConnectorDocument, row.compact).document
            certificate = delegate.certificate.document
            why = unfounded(document, row.digest, connector, certificate, delegate.tags, self._clock.now())
        if why:
            # A delegate hears of a newer revision with the next task alone, so that this is no alarm.
            _log.debug("check.dropped", delegate=delegate.name, code=why, connector=document.connector)
            return
        self._keep(delegate, checked)
        told(delegate, connector, document.revision, document.code)

    def _keep(self, delegate: Delegate, checked: Verified[CheckedDocument]) -> None:
        document, certificate = checked.document, delegate.certificate
        row = CheckRow(
            connector=document.connector,
            delegate=delegate.kid,
            revision=document.revision,
            at=document.iat,
            expires=certificate.document.exp,
            compact=checked.compact,
            certificate=certificate.compact,
        )
        try:
            # Not waited for: answers to tasks come by the same stream.
            asyncio.ensure_future(self._store.put_check(delegate.account, row)).add_done_callback(_tell)
        except PrivySealError as why:
            _log.warning("check.unkept", code=why.code, delegate=delegate.name)

    def _count(self, delegate: Delegate) -> bool:
        now = self._clock.monotonic()
        if now - delegate.checks_since >= 60:
            delegate.checks_since, delegate.checks = now, 0
        delegate.checks += 1
        return delegate.checks <= MOST_A_MINUTE


def _tell(written: asyncio.Future[None]) -> None:
    """A test that isn't kept will be made again, so that nobody is told but the log."""
    why = None if written.cancelled() else written.exception()
    if isinstance(why, PrivySealError):
        _log.warning("check.unkept", code=why.code)
    elif why is not None:
        _log.error("check.crashed", exc_info=why)
