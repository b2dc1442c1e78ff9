"""The store on SQLite: its contract, and what only a file can show (modes, a full disk, schema)."""

from __future__ import annotations

import asyncio
import errno
import stat
from pathlib import Path

import pytest
import structlog
import structlog.testing
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from manager.database import Database
from manager.migrations import current, upgrade
from manager.rows import TaskRow
from manager.store import Store
from manager.tables import metadata
from shared.audit import verify
from shared.errors import Conflict, Unavailable
from tests.contract.store_contract import ENTRY, A, StoreContract, document, version


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/manager.db"


class TestStoreOnSqlite(StoreContract):
    """The contract that PostgreSQL keeps as well."""


async def _limit_pages(store: Store, pages: int) -> None:
    await store.write(
        lambda transaction: transaction.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}"),
        account=A,
    )


async def test_a_full_disk_fails_every_waiting_write_and_keeps_what_was_acknowledged(url: str) -> None:
    async with Store(url) as store:
        await store.publish(A, [document()], [ENTRY])
        await _limit_pages(store, 1)  # SQLite raises it to what is in use
        kept, failed = 1, 0
        for n in range(1, 200):
            writes = [store.add_version(A, version(1, f"s{n}-{i}", bytes(3000)), [ENTRY]) for i in range(4)]
            results = await asyncio.gather(*writes, return_exceptions=True)
            bad = [result for result in results if isinstance(result, BaseException)]
            assert all(isinstance(error, Unavailable) and error.code == "store_unavailable" for error in bad)
            kept, failed = kept + len(results) - len(bad), failed + len(bad)
            if failed >= 8:
                break
        assert failed >= 8
        assert verify(await store.audit_page(A, limit=500)).seq == kept
        assert await store.head(A, "secret", "one") == document()
        assert store.figures()["failed_batches"] > 0

        # Space returns: the same store goes on by itself, with an unbroken chain.
        await _limit_pages(store, 2**30)
        for n in range(20):
            await store.add_version(A, version(1, f"later{n}", bytes(3000)), [ENTRY])
        await store.check()
        assert verify(await store.audit_page(A, limit=500)).seq == kept + 20
    async with Store(url) as again:
        assert verify(await again.audit_page(A, limit=500)).seq == kept + 20
        assert (await again.versions(A, "later19"))[0].size == 3000


async def test_a_failed_write_is_never_served_from_memory(url: str) -> None:
    async with Store(url) as store:
        await _limit_pages(store, 1)
        with pytest.raises(Unavailable):
            await store.add_version(A, version(record=bytes(10**6)))
        assert store.cached_latest(A, "s") is None
        assert await store.latest(A, "s") is None
        with pytest.raises(Unavailable):
            await store.publish(A, [document(text="x" * 10**6)])
        assert store.cached_head(A, "secret", "one") is None
        assert store.figures()["cache_entries"] == 0


async def test_readiness_notices_by_itself_that_space_returned(url: str) -> None:
    async with Store(url) as store:
        await store.write(lambda transaction: transaction.probe(1), account=A)
        await _limit_pages(store, 1)
        with pytest.raises(Unavailable):
            await store.add_version(A, version(record=bytes(10**6)))
        await store.check()  # rewriting one row needs no page more
        writes = store.figures()["writes"]
        await store.check()
        assert store.figures()["writes"] == writes


async def test_files_are_private_to_their_owner(url: str, tmp_path: Path) -> None:
    async with Store(url) as store:
        await store.publish(A, [document()])
        directory = tmp_path / "data"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        assert set(names) >= {"manager.db", "manager.db-wal", "manager.db.lock"}
        assert set(names.values()) == {0o600}


async def test_something_else_in_the_place_of_the_database_is_told_plainly(url: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manager.db").write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await Store(url).open()
        assert refused.value.code == "store_unavailable"
        assert str(tmp_path) not in str(refused.value.problem())


async def test_a_directory_that_cannot_be_made_is_told_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        await Store(f"sqlite:///{tmp_path}/file/manager.db").open()


async def test_commits_are_synced_and_deleted_records_overwritten(url: str) -> None:
    async with Store(url) as store:

        def ask(pragma: str) -> object:
            return store.write(
                lambda transaction: transaction.connection.exec_driver_sql(f"PRAGMA {pragma}").scalar(),
                account=A,
            )

        assert await ask("journal_mode") == "wal"  # type: ignore[misc]
        assert await ask("synchronous") == 2  # type: ignore[misc]
        assert await ask("secure_delete") == 1  # type: ignore[misc]


async def test_a_deleted_record_is_nowhere_in_the_files(url: str, tmp_path: Path) -> None:
    marker = b"0123456789abcdef" * 400
    async with Store(url) as store:
        await store.add_version(A, version(record=marker))
        await store.delete_versions(A, "s", 9)
    for path in (tmp_path / "data").iterdir():
        assert marker[:64] not in path.read_bytes()


async def test_readers_can_not_write(url: str) -> None:
    async with Store(url) as store:
        await store.check()
        database = Database(url)
        with database.connect_reader() as connection, pytest.raises(Exception, match="readonly"):
            connection.execute(text("DELETE FROM accounts"))
        database.close()


def test_the_migrations_make_the_tables_that_the_code_describes(url: str) -> None:
    database = Database(url)
    with database.open() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        partial = [index for index in inspect(connection).get_indexes("heads") if index["unique"]]
        assert [index["name"] for index in partial] == ["heads_one_by_name"]
    database.close()


def test_upgrading_again_does_nothing(url: str) -> None:
    database = Database(url)
    with database.open() as connection:
        before = connection.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).all()
        connection.rollback()
        with connection.begin():
            assert current(connection)
            upgrade(connection)
        assert connection.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).all() == before
    database.close()


def test_an_upgrade_that_fails_leaves_an_empty_database(url: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = Database(url)
    with database.connect_writer() as connection, connection.begin():
        # The last table of the revision is in its way.
        connection.execute(text("CREATE TABLE probe (x)"))
    with pytest.raises(Unavailable):
        database.open()
    with database.connect_writer() as connection:
        assert inspect(connection).get_table_names() == ["probe"]
    database.close()


async def test_a_token_can_not_be_added_beside_a_running_manager_of_another_version(url: str) -> None:
    from manager.store import add_token

    async with Store(url) as store:
        await store.write(
            lambda transaction: transaction.connection.execute(text("DELETE FROM alembic_version")), account=A
        )
        with pytest.raises(Conflict) as refused:
            add_token(url, "hash", 1, 2)
        assert refused.value.code == "store_locked"


async def test_the_database_is_not_written_for_a_batch_in_which_all_failed(url: str) -> None:
    async with Store(url) as store:
        await store.put_task(A, TaskRow("t", "op", "p", "done"))
        results = await asyncio.gather(*(store.publish(A, [document(5)]) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, Conflict) for result in results)
        assert (await store.tasks(A)).items[0].task == "t"


async def test_the_writer_outlives_a_log_that_can_not_be_written(url: str) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "no space")

    structlog.configure(processors=[full])
    try:
        async with Store(url) as store:
            await _limit_pages(store, 1)
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await store.add_version(A, version(record=bytes(10**6)))
            await _limit_pages(store, 2**30)
            await store.add_version(A, version(record=bytes(10**6)), [ENTRY])
    finally:
        structlog.reset_defaults()


async def test_a_failed_commit_is_logged_by_its_code_alone(url: str) -> None:
    with structlog.testing.capture_logs() as lines:
        async with Store(url) as store:
            await _limit_pages(store, 1)
            with pytest.raises(Unavailable):
                await store.add_version(A, version(record=bytes(10**6)))
    assert lines == [{"event": "store.commit_failed", "error": "SQLITE_FULL", "count": 1, "log_level": "error"}]
