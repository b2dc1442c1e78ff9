"""A PostgreSQL that is lost in the middle of a commit: nobody is told that nothing was kept, and nothing stale is shown afterwards."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import psycopg
import pytest

from manager.postgresql import Bounded
from manager.store import Store
from shared.audit import verify
from shared.errors import Unavailable
from tests.contract.store_contract import ENTRY, A, document
from tests.integration.test_postgresql import DEADLINE_SECONDS, Cluster, cluster, url

__all__ = ["cluster", "url"]


class Silencing:
    """Lets the next commit reach the server and its answer nobody, as a server does that hangs in between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed = threading.Event()
        self.committed = threading.Event()
        usual = Bounded.commit

        def commit(connection: Any) -> None:
            usual(connection)
            if self.armed.is_set() and connection.info.dbname.startswith("store"):
                self.armed.clear()
                self.committed.set()
                connection.pgconn.finish()
                raise psycopg.OperationalError("the server is silent")

        monkeypatch.setattr(Bounded, "commit", commit)


async def _until_writable(store: Store) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await store.audit(A, [ENTRY])
            except Unavailable:
                continue
            return


async def test_a_commit_whose_answer_is_lost_is_neither_denied_nor_forgotten(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(url) as store:
        await store.publish(A, [document()], [ENTRY])
        silencing = Silencing(monkeypatch)
        silencing.armed.set()
        with pytest.raises(Unavailable) as lost:
            await store.publish(A, [document(2)], [ENTRY])
        assert silencing.committed.is_set()
        assert lost.value.code == "store_unavailable"
        assert "isn't known" in lost.value.detail and "nothing" not in lost.value.detail
        await _until_writable(store)
        # It was kept: what was in memory of the time before is not believed.
        assert await store.head(A, "secret", "one") == document(2)
        assert verify(await store.audit_page(A)).seq == 3


async def test_a_statement_that_a_server_does_not_answer_ends_with_its_connection(
    cluster: Cluster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(url) as store:
        await store.audit(A, [ENTRY])
        # The server would take far longer than what it is waited for.
        monkeypatch.setattr(Bounded, "silent_seconds", 0.5)
        with pytest.raises(Unavailable) as refused:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await store.write(
                    lambda transaction: transaction.connection.exec_driver_sql("SELECT pg_sleep(60)"), account=A
                )
        assert "nothing of the request was kept" in refused.value.detail
        monkeypatch.undo()
        name = url.rsplit("/", 1)[1]
        cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        await _until_writable(store)
        assert verify(await store.audit_page(A)).seq == 2
