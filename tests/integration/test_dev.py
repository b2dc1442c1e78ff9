"""`privyseal dev` and the demonstration: up, down, up again, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client.dev import DevEnvironment
from client.ports import HeldPorts
from shared.crypto.plaintext import Plaintext
from shared.errors import Unavailable
from tests.integration.installation import Desk

ROOT = Path(__file__).resolve().parents[2]


async def test_a_folder_that_was_given_is_used_again(tmp_path: Path) -> None:
    async with DevEnvironment(tmp_path) as environment:
        account = environment.account
        async with environment.client() as client:
            await client.store("account.kept", b"value")
    async with DevEnvironment(tmp_path, delegates=3) as environment:
        assert environment.account == account
        async with environment.client() as client:
            assert await client.reveal("account.kept", selectors=["zone:c"]) == Plaintext(b"value")


async def test_a_temporary_folder_is_gone_afterwards() -> None:
    environment = DevEnvironment(delegates=0)
    async with environment:
        pid = environment.manager.pid
        assert environment.folder.is_dir()
    assert not environment.folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    environment = DevEnvironment(tmp_path, delegates=0, manager_options=["--silence", "nonsense"])
    with pytest.raises(Unavailable, match="silence"):
        await environment.start()
    await environment.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="a port can be held for another on Linux only")
def test_a_port_that_is_held_is_nobody_elses_and_its_own_programs_at_once() -> None:
    with HeldPorts() as held, contextlib.ExitStack() as others:
        (port,) = held.take(1)
        # Nor is it given to whoever asks for any port.
        for _ in range(3):
            taken = {others.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(200)}
            assert port not in taken
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)) as its_own:
                socket.create_connection(its_own.getsockname(), 5).close()
                assert not HeldPorts().hold([port])
    with HeldPorts() as again:
        assert again.hold([port])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux only")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    desk, log = Desk(tmp_path / "home"), tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "client.cli", "dev", "--dir", str(tmp_path / "dev")],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            env={**os.environ, "PRIVYSEAL_HOME": str(desk.home)},
        )
    until = time.monotonic() + 60
    while b"Ctrl-C" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.02)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) == 3
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    while any(map(alive, children)):
        assert time.monotonic() < until, "a child outlived its parent"
        time.sleep(0.02)


@pytest.mark.timeout(600)
def test_the_demonstration_holds() -> None:
    # Three programs and dozens of commands, each a process: minutes where others keep the machine busy.
    done = subprocess.run(
        [sys.executable, "deploy/demo.py"], cwd=ROOT, capture_output=True, check=False, timeout=500, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it held" in done.stdout
    assert "exit status 8 (Tampered)" in done.stdout
    assert re.search(r"values: nowhere in \S+ MB of files", done.stdout)
    assert re.search(r"control .* found [1-9]\d* times in files", done.stdout)
