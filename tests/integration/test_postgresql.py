"""The store on a real PostgreSQL: the same contract as on SQLite, and a server that goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from client.ports import HeldPorts
from manager.database import Database
from manager.store import Store
from manager.tables import metadata
from shared.audit import verify
from shared.errors import Conflict, Unavailable
from tests.contract.ledger_contract import LedgerContract
from tests.contract.store_contract import ENTRY, A, StoreContract, document, version

DEADLINE_SECONDS = 60


class Cluster:
    """A PostgreSQL of our own, on loopback and a random port; as an ordinary user, for it refuses root."""

    def __init__(self, directory: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.fail("PostgreSQL is not installed: apt-get install -y postgresql")
        self._bin = found[-1].parent
        self._directory = directory
        self._data = directory / "data"
        self._password = secrets.token_hex(16)
        self._databases = 0
        self._ports = HeldPorts()
        (self._port,) = self._ports.take(1)
        (directory / "password").write_text(self._password)
        if os.geteuid() == 0:
            for path in (directory, directory / "password"):
                shutil.chown(path, "nobody")
        self._run(
            "initdb", "-D", self._data, "-U", "owner", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8",
            "--locale", "C.UTF-8", f"--pwfile={directory / 'password'}",
        )  # fmt: skip

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        # A crash here is the server's, never the machine's: to sync all of its files to the disk before it serves again
        # is of no use, and takes minutes where others write to that.
        options = f"-h 127.0.0.1 -p {self._port} -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "110", "-o", options, "-l", self._directory / "log", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stops it; `immediate` is a crash."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"store{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://owner:{self._password}@127.0.0.1:{self._port}/{name}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Runs a statement beside the manager."""
        with psycopg.connect(
            f"host=127.0.0.1 port={self._port} user=owner password={self._password} dbname={database}",
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        # The server inherits what it isn't given, hence no pipe: it would stay open.
        with (self._directory / "output").open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
        assert done.returncode == 0, (self._directory / "output").read_text()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="privyseal-postgresql-", dir="/tmp") as directory:
        cluster = Cluster(Path(directory))
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("fast")


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.new_database()


class TestStoreOnPostgresql(StoreContract):
    """The contract that SQLite keeps as well."""


class TestLedgerOnPostgresql(LedgerContract):
    """The same of orders."""


async def _until_written(store: Store, name: str) -> int:
    """Writes until it succeeds; how often it was told Unavailable."""
    refused = 0
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await store.add_version(A, version(1, name), [ENTRY])
            except Unavailable:
                refused += 1
            else:
                return refused


async def test_a_server_that_crashes_is_used_again_when_it_is_back(cluster: Cluster, url: str) -> None:
    async with Store(url) as store:
        await store.publish(A, [document()], [ENTRY])
        cluster.stop()
        try:
            for n in range(3):
                with pytest.raises(Unavailable) as refused:
                    await store.add_version(A, version(1, f"s{n}"), [ENTRY])
                assert refused.value.code == "store_unavailable"
            assert store.cached_head(A, "secret", "one") == document()
            with pytest.raises(Unavailable):
                await store.audit_page(A)
            with pytest.raises(Unavailable):
                await store.check()
        finally:
            cluster.start()
        await _until_written(store, "after")
        await store.check()
        assert verify(await store.audit_page(A)).seq == 2


async def test_a_lost_session_is_replaced_and_the_chain_goes_on(cluster: Cluster, url: str) -> None:
    name = url.rsplit("/", 1)[1]
    async with Store(url) as store:
        await store.audit(A, [ENTRY])
        cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        assert await _until_written(store, "after") <= 2
        assert verify(await store.audit_page(A)).seq == 2


async def test_a_manager_that_lost_its_lock_writes_nothing(cluster: Cluster, url: str) -> None:
    name = url.rsplit("/", 1)[1]
    first = Store(url)
    await first.open()
    await first.audit(A, [ENTRY])
    cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    async with Store(url) as second:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await first.audit(A, [ENTRY])
        await second.audit(A, [ENTRY])
        assert verify(await second.audit_page(A)).seq == 2
    # The other one has gone, so the lock is free again.
    await _until_written(first, "after")
    assert verify(await first.audit_page(A)).seq == 3
    await first.close()


async def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(Unavailable) as refused:
            await Store(f"postgresql://owner:PASSWORD@127.0.0.1:{port}/none").open()
    assert "PASSWORD" not in str(refused.value.problem())
    assert refused.value.__cause__ is None


def test_the_migrations_make_the_tables_that_the_code_describes(url: str) -> None:
    database = Database(url)
    with database.open() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert {index["name"] for index in inspect(connection).get_indexes("heads") if index["unique"]} == {
            "heads_one_by_name"
        }
    database.close()


def test_an_upgrade_that_fails_leaves_an_empty_database(cluster: Cluster, url: str) -> None:
    name = url.rsplit("/", 1)[1]
    cluster.execute("CREATE TABLE probe (x int)", name)
    database = Database(url)
    with pytest.raises(Unavailable):
        database.open()
    tables = cluster.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name)
    assert tables == [("probe",)]


def test_two_managers_that_start_at_once_do_not_both_win(url: str) -> None:
    first = Database(url)
    with first.open(), pytest.raises(Conflict):
        Database(url).open()
    first.close()
