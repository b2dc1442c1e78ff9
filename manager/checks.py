"""Tests of connectors that delegates made by themselves: taken from their streams and kept for who asks.

Promises: only what the stream's own certified identity signed, about a connector that is there, in its newest revision, and
that this delegate may serve; the newest of each delegate and no more. Nobody need believe it for that: clients verify again.
"""

from __future__ import annotations

import asyncio

import structlog

from manager.clock import Clock
from manager.fleet import Delegate
from manager.rows import CheckRow
from manager.store import Store
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as
from shared.errors import PrivySealError, Tampered
from shared.messages import Checked
from shared.trust.checked import unfounded

MOST_A_MINUTE = 2_000
"""Tests that one delegate may tell of; what is more is dropped, since each will be made again."""

_log = structlog.get_logger()


class Checks:
    """All accounts'."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def take(self, delegate: Delegate, message: Checked) -> tuple[ConnectorDocument, CheckedDocument] | None:
        """Keeps it, soon, and gives what it is of; None for what is only of no use, which is dropped.

        Raises Malformed or Tampered for what no honest delegate says.
        """
        if not self._count(delegate):
            return None
        certificate = delegate.certificate
        key = VerifyingKey.of(certificate.document.key)
        checked = parse_as(CheckedDocument, message.document).verified_by(key)
        if checked.document.acct != delegate.account:
            raise Tampered("account_foreign", "a delegate tells of a test in another account")
        row = await self._store.head(delegate.account, "connector", checked.document.connector)
        why = "connector_unknown"
        if row is not None and not row.deleted:
            connector = parse_as(ConnectorDocument, row.compact).document
            why = unfounded(
                checked.document, row.digest, connector, certificate.document, delegate.tags, self._clock.now()
            )
        if why:
            # A delegate hears of a newer revision with the next task alone, so that this is no alarm.
            _log.debug("check.dropped", delegate=delegate.name, code=why, connector=checked.document.connector)
            return None
        self._keep(delegate, checked)
        return connector, checked.document

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
