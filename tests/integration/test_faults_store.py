"""A database that is locked or gone for a while, under load: requests end as unavailable, nothing acknowledged is lost, all goes on."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
import pytest_asyncio

from client.ports import HeldPorts
from shared.errors import Unavailable
from tests.fakes.commanded import allowing
from tests.fakes.faulty_site import FaultySite, faulty_site
from tests.fakes.traffic import Traffic

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS = ["--silence", "2s", "--heartbeat", "400ms"]
PATIENCE_SECONDS = 30.0

LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


@contextmanager
def another_process_has_locked(database: Path) -> Iterator[None]:
    """As a backup or a person's shell does that left a transaction open."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            assert process.stdout.readline() == "locked\n"
            yield
        finally:
            process.stdin.close()


class Postgres:
    """A server of our own on loopback, as an ordinary user; its data on the disk of the test's folder."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.fail("PostgreSQL is not installed: apt-get install -y postgresql")
        self._bin, self._folder, self._data = found[-1].parent, folder, folder / "data"
        password = secrets.token_hex(16)
        self._ports = HeldPorts()
        (self._port,) = self._ports.take(1)
        (folder / "password").write_text(password)
        self.passwords = folder / "pgpass"
        self.passwords.touch(mode=0o600)
        self.passwords.write_text(f"127.0.0.1:{self._port}:*:owner:{password}\n")
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody")
        self._run(
            "initdb",
            "-D",
            self._data,
            "-U",
            "owner",
            "-A",
            "scram-sha-256",
            "--no-sync",
            f"--pwfile={folder / 'password'}",
        )
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://owner@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        # A crash here is the server's, never the machine's: to sync all of its files to the disk before it serves again
        # is of no use, and takes minutes where others write to that.
        options = f"-h 127.0.0.1 -p {self._port} -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "110", "-o", options, "-l", self._folder / "log", "start")

    def stop(self, mode: str) -> None:
        """`immediate` is a crash, `fast` what a person does."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another session holds every table, as a migration or VACUUM FULL by hand does."""
        with psycopg.connect(self.url, passfile=str(self.passwords)) as session:
            tables = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            session.execute(f"LOCK TABLE {', '.join(name for (name,) in tables)} IN ACCESS EXCLUSIVE MODE".encode())
            yield
            session.rollback()

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        # The server inherits what it isn't given, hence no pipe: it would stay open.
        with (self._folder / "output").open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
        assert done.returncode == 0, (self._folder / "output").read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultySite]:
    folder = tmp_path_factory.mktemp("sqlite")
    async with faulty_site(folder / "dev", manager_options=OPTIONS, delegate_options=allowing(folder)) as site:
        yield site


S = TypeVar("S", bound=Postgres)


@contextmanager
def begun(server: Callable[[Path], S]) -> Iterator[S]:
    """That server, in a folder of its own and running."""
    # Not below pytest's folder, which others may not enter.
    with tempfile.TemporaryDirectory(prefix="privyseal-faults-", dir="/tmp") as folder:
        one = server(Path(folder))
        try:
            yield one
        finally:
            one.stop("fast")


@asynccontextmanager
async def site_over(server: Postgres, folder: Path) -> AsyncIterator[FaultySite]:
    """Programs whose manager has its store in that server."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PGPASSFILE", str(server.passwords))
        async with faulty_site(
            folder / "dev", manager_options=OPTIONS, delegate_options=allowing(folder), database=server.url
        ) as site:
            yield site


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with begun(Postgres) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_postgresql(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultySite]:
    async with site_over(postgres, tmp_path_factory.mktemp("postgresql")) as site:
        yield site


async def refusals(traffic: Traffic, code: str, times: int = 1) -> None:
    """Waits until so many more requests ended so."""
    before = [one.code for one in traffic.told.errors].count(code)
    until = time.monotonic() + PATIENCE_SECONDS
    while [one.code for one in traffic.told.errors].count(code) < before + times:
        assert time.monotonic() < until, [one.code for one in traffic.told.errors]
        await asyncio.sleep(0.02)


async def stands_still(traffic: Traffic) -> None:
    """Waits until nothing has gone well for a while: all wait for the database."""
    before: dict[str, int] = {}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (now := traffic.told.counts) != before:
            before = now
            await asyncio.sleep(0.3)


def streams(site: FaultySite) -> dict[str, int]:
    return {name: link.connections for name, link in site.links.items()}


async def test_a_locked_sqlite_refuses_as_unavailable_cuts_nobody_and_loses_nothing(on_sqlite: FaultySite) -> None:
    before = streams(on_sqlite)
    async with Traffic(on_sqlite) as traffic:
        await traffic.goes_on()
        with another_process_has_locked(on_sqlite.database):
            await refusals(traffic, "store_unavailable")
            async with on_sqlite.client() as client:
                assert [one["state"] for one in await client.views.delegates()] == ["connected", "connected"]
        await traffic.goes_on()
    assert {type(one) for one in traffic.told.errors} == {Unavailable}
    assert all(one.hint for one in traffic.told.errors)
    assert streams(on_sqlite) == before
    await traffic.settle()


async def test_a_short_lock_only_delays(on_sqlite: FaultySite) -> None:
    async with Traffic(on_sqlite) as traffic:
        await traffic.goes_on()
        with another_process_has_locked(on_sqlite.database):
            await stands_still(traffic)
        await traffic.goes_on()
    assert traffic.told.errors == []
    await traffic.settle()


async def test_a_manager_that_is_killed_while_its_database_is_locked_loses_nothing(on_sqlite: FaultySite) -> None:
    async with Traffic(on_sqlite) as traffic:
        await traffic.goes_on()
        with another_process_has_locked(on_sqlite.database):
            await stands_still(traffic)
            await on_sqlite.manager.kill()
        await on_sqlite.manager.start()
        await on_sqlite.ready()
        await traffic.goes_on()
    await traffic.settle()


async def test_a_locked_postgresql_refuses_as_unavailable_cuts_nobody_and_loses_nothing(
    on_postgresql: FaultySite, postgres: Postgres
) -> None:
    before = streams(on_postgresql)
    async with Traffic(on_postgresql) as traffic:
        await traffic.goes_on()
        with postgres.locked():
            await refusals(traffic, "store_unavailable")
        await traffic.goes_on()
    assert {type(one) for one in traffic.told.errors} == {Unavailable}
    assert streams(on_postgresql) == before
    await traffic.settle()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_postgresql_that_restarts_under_load_loses_nothing(
    on_postgresql: FaultySite, postgres: Postgres, mode: str
) -> None:
    async with Traffic(on_postgresql) as traffic:
        await traffic.goes_on()
        await asyncio.to_thread(postgres.stop, mode)
        try:
            await refusals(traffic, "store_unavailable")
        finally:
            await asyncio.to_thread(postgres.start)
        await traffic.goes_on()
    assert {type(one) for one in traffic.told.errors} == {Unavailable}
    await traffic.settle()
