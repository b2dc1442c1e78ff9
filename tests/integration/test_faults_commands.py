"""Programs that die, hang or are interrupted while a command runs: it ends in its right outcome, and never runs twice."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.program import Program, clean_environment, command
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from tests.fakes.commanded import commanded, whole

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="whether a process lives is read from /proc"),
]

VALUE = b"the value that the command gets"
FAILED, STOPPED = 125, 130
PATIENCE_SECONDS = 45.0

SCRIPT = """
sh -c 'trap "" TERM; echo $$ > "$RAN.deaf"; sleep 300; true' &
sleep 300 & echo $! > "$RAN.child"
echo $$ >> "$RAN"
echo begun
wait
echo over
"""
"""It says when it runs, and has a child that ends when it is told to and one that doesn't."""

AS_AT_A_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A shell's background job, as which these tests may have been started, ignores Ctrl-C with all that it starts."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    """One for all cases; each finds it whole again."""
    async with commanded(tmp_path_factory.mktemp("commands"), VALUE, silence="6s") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def environment(installation: DevEnvironment) -> DevEnvironment:
    return await whole(installation)


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: DevEnvironment) -> AsyncIterator[Client]:
    async with environment.client() as one:
        yield one


@dataclass
class Running:
    """`privyseal exec` as a process, whose command has begun on a delegate."""

    environment: DevEnvironment
    process: Process
    ran: Path
    before: frozenset[str]

    @property
    def pids(self) -> list[int]:
        """Of the command and its children."""
        files = [self.ran, self.ran.with_suffix(".child"), self.ran.with_suffix(".deaf")]
        return [int(pid) for file in files for pid in file.read_text().split()]

    @property
    def times(self) -> int:
        """How often it has begun."""
        return len(self.ran.read_text().split())

    @property
    def delegate(self) -> Program:
        """Where it runs."""
        parent = int(_stat(self.pids[0])[1])
        return next(one for one in self.environment.delegates.values() if one.running and one.pid == parent)

    async def ended(self) -> tuple[int, str, str]:
        """Its exit status, and what more it said."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, errors = await self.process.communicate()
        return self.process.returncode or 0, out.decode(), errors.decode()

    async def task(self, client: Client) -> dict[str, Any]:
        """What the manager says became of it, once it has ended."""
        found: list[dict[str, Any]] = []

        async def is_over() -> bool:
            found[:] = [one for one in await client.views.tasks() if one["op"] == "exec"]
            found[:] = [one for one in found if one["task"] not in self.before and one["finished_at"]]
            return bool(found)

        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_over():
                await asyncio.sleep(0.05)
        (one,) = found
        return one


@asynccontextmanager
async def running(environment: DevEnvironment, client: Client, seconds: int = 120) -> AsyncIterator[Running]:
    """Begun, and gone afterwards with all that it started."""
    ran = environment.folder / f"ran-{secrets.token_hex(6)}"
    before = frozenset(str(one["task"]) for one in await client.views.tasks())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AS_AT_A_TERMINAL),
        *command("privyseal", "client.cli.main"),
        *("exec", "--secret", "TOKEN=account.token", "--env", f"RAN={ran}", "--timeout", str(seconds)),
        *("--", "sh", "-c", SCRIPT),
        stdout=PIPE,
        stderr=PIPE,
        env={
            **clean_environment(os.environ),
            "PRIVYSEAL_HOME": str(environment.home.root),
            "PRIVYSEAL_CONTEXT": environment.name,
        },
    )
    one = Running(environment, process, ran, before)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.stdout.readline() == b"begun\n"
        await until(
            lambda: all(map(is_written, (ran, ran.with_suffix(".child"), ran.with_suffix(".deaf")))), "it to begin"
        )
        yield one
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        if ran.exists():
            for pid in one.pids:
                # Its own group, which nobody else's process is in.
                with suppress(ProcessLookupError, PermissionError):
                    if is_of(pid, ran):
                        os.kill(pid, signal.SIGKILL)


def is_written(file: Path) -> bool:
    """Whether a whole line stands in it: the shell makes it before it writes."""
    with suppress(OSError):
        return file.read_bytes().endswith(b"\n")
    return False


def is_of(pid: int, ran: Path) -> bool:
    """Whether a process is still the command's: its number may be another's by now."""
    with suppress(OSError):
        return f"RAN={ran}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _stat(pid: int) -> list[str]:
    """State, parent and so on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def lives(pid: int) -> bool:
    """Whether that process still runs."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


async def until(happened: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def test_a_command_whose_delegate_is_killed_ends_as_unknown_and_runs_nowhere_else(
    environment: DevEnvironment, client: Client
) -> None:
    async with running(environment, client) as one:
        killed = one.delegate
        await killed.kill()
        status, out, errors = await one.ended()
        assert (status, out) == (FAILED, "")
        assert "unknown" in errors and "hint" in errors
        task = await one.task(client)
        assert (task["state"], task["attempts"]) == ("unknown", 1)
        # The other one takes tasks all the while, and the one that comes back knows nothing of it.
        assert await client.reveal("account.token") == Plaintext(VALUE)
        await killed.start()
        await environment.ready()
        assert one.times == 1


async def test_a_command_whose_delegate_hangs_ends_as_unknown_and_is_ended_when_that_comes_back(
    environment: DevEnvironment, client: Client
) -> None:
    async with running(environment, client) as one:
        hanging = one.delegate
        hanging.suspend()
        try:
            status, out, errors = await one.ended()
        finally:
            hanging.resume()
        assert (status, out) == (FAILED, "") and "unknown" in errors
        await until(lambda: not any(map(lives, one.pids)), "the command to end")
        assert one.times == 1
        assert (await one.task(client))["state"] == "unknown"


async def test_a_manager_that_is_killed_in_mid_command_leaves_it_unknown_and_ended(
    environment: DevEnvironment, client: Client
) -> None:
    async with running(environment, client) as one:
        await environment.manager.kill()
        await environment.manager.start()
        await environment.ready()
        status, out, errors = await one.ended()
        assert (status, out) == (FAILED, "") and "hint" in errors
        # Nobody reads its output any more.
        await until(lambda: not any(map(lives, one.pids)), "the command to end")
        assert one.times == 1
        task = await one.task(client)
        assert (task["state"], task["code"]) == ("unknown", "manager_restarted")
    assert await client.reveal("account.token") == Plaintext(VALUE)


async def test_ctrl_c_ends_the_command_with_its_whole_group(environment: DevEnvironment, client: Client) -> None:
    async with running(environment, client) as one:
        assert all(map(lives, one.pids))
        one.process.send_signal(signal.SIGINT)
        status, out, _ = await one.ended()
        assert (status, out) == (STOPPED, "")
        # Also what doesn't heed SIGTERM.
        await until(lambda: not any(map(lives, one.pids)), "the command's group to end")
        assert one.times == 1
        assert (await one.task(client))["attempts"] == 1
        assert one.process.returncode == STOPPED


async def test_a_command_over_its_time_ends_with_its_whole_group(environment: DevEnvironment, client: Client) -> None:
    async with running(environment, client, seconds=5) as one:
        status, out, errors = await one.ended()
        assert (status, out) == (124, "") and "--timeout" in errors
        await until(lambda: not any(map(lives, one.pids)), "the command's group to end")
        assert one.times == 1


async def test_a_delegate_that_is_told_to_end_ends_its_command_before_it_goes(
    environment: DevEnvironment, client: Client
) -> None:
    async with running(environment, client) as one:
        pids, ending = one.pids, one.delegate
        before = ending.log.read_text().count("delegate.ending")
        stopping = asyncio.create_task(ending.stop(60.0))
        # Asked twice: it waits for nobody then.
        await until(
            lambda: ending.log.read_text().count("delegate.ending") > before, "the delegate to say that it ends"
        )
        ending._signal(signal.SIGTERM)
        status, _, _ = await one.ended()
        assert status in {FAILED, STOPPED}
        assert await stopping == 0
        await until(lambda: not any(map(lives, pids)), "the command to end")
        assert one.times == 1


async def test_a_command_whose_client_is_killed_has_ended_with_its_time(
    environment: DevEnvironment, client: Client
) -> None:
    async with running(environment, client, seconds=5) as one:
        one.process.kill()
        await one.ended()
        await until(lambda: not any(map(lives, one.pids)), "the command to end")
        assert one.times == 1
        task = await one.task(client)
        assert (task["state"], task["attempts"]) == ("done", 1)
